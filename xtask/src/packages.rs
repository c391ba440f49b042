//! The system's packages: what is missing, why it is needed, and how this system installs it.

use std::io::IsTerminal as _;
use std::process::Command;

use crate::program::{Done, find, has_display, output, program, run};

/// What the packages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Building and starting Ferry.
    Run,
    /// All tests.
    Test,
    /// Making and checking installers.
    Bundle,
    /// Measuring against other programs.
    Bench,
}

impl Purpose {
    /// Whether there is to be a window. Tests bring their own display; to run, there must be one.
    fn has_window(self) -> bool {
        match self {
            Self::Run => has_display(),
            Self::Test | Self::Bundle => true,
            Self::Bench => false,
        }
    }
}

/// One thing that is needed, and its package's name in each kind of system.
struct Need {
    purpose: Purpose,
    why: &'static str,
    /// Only for the window: not needed where none can be shown.
    window: bool,
    apt: &'static [&'static str],
    dnf: &'static [&'static str],
    pacman: &'static [&'static str],
    brew: &'static [&'static str],
    winget: &'static [&'static str],
    /// A program that tells that it is there, however it was installed.
    program: Option<&'static str>,
}

#[rustfmt::skip]
const NEEDS: &[Need] = &[
    Need { purpose: Purpose::Run, why: "a C compiler (SQLite, TLS)", window: false, program: None,
        apt: &["build-essential", "pkg-config"], dnf: &["gcc", "gcc-c++", "make", "pkgconf-pkg-config"],
        pacman: &["base-devel", "pkgconf"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Run, why: "the window's web view and tray", window: true, program: None,
        apt: &["libwebkit2gtk-4.1-dev", "libxdo-dev", "libssl-dev", "libayatana-appindicator3-dev", "librsvg2-dev"],
        dnf: &["webkit2gtk4.1-devel", "libxdo-devel", "openssl-devel", "libappindicator-gtk3-devel", "librsvg2-devel"],
        pacman: &["webkit2gtk-4.1", "xdotool", "openssl", "libappindicator-gtk3", "librsvg"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Run, why: "Node.js, to build the window's page", window: true, program: Some("node"),
        apt: &["nodejs", "npm"], dnf: &["nodejs", "npm"], pacman: &["nodejs", "npm"], brew: &["node"],
        winget: &["OpenJS.NodeJS.LTS"] },
    Need { purpose: Purpose::Test, why: "Python, for the real servers and signers that tests talk to", window: false, program: None,
        apt: &["python3-venv"], dnf: &["python3"], pacman: &["python"], brew: &["python"], winget: &["Python.Python.3.13"] },
    Need { purpose: Purpose::Test, why: "nginx, as a real server with ranges", window: false, program: Some("nginx"),
        apt: &["nginx-light"], dnf: &["nginx"], pacman: &["nginx"], brew: &["nginx"], winget: &[] },
    Need { purpose: Purpose::Test, why: "ffmpeg, to make a real video", window: false, program: Some("ffmpeg"),
        apt: &["ffmpeg"], dnf: &["ffmpeg-free"], pacman: &["ffmpeg"], brew: &["ffmpeg"], winget: &["Gyan.FFmpeg"] },
    Need { purpose: Purpose::Test, why: "strace, to let disks fail and programs die at chosen places", window: false, program: Some("strace"),
        apt: &["strace"], dnf: &["strace"], pacman: &["strace"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Test, why: "jq, for the recipes", window: false, program: Some("jq"),
        apt: &["jq"], dnf: &["jq"], pacman: &["jq"], brew: &["jq"], winget: &[] },
    Need { purpose: Purpose::Test, why: "btrfs, to make a disk with a quota", window: false, program: Some("mkfs.btrfs"),
        apt: &["btrfs-progs"], dnf: &["btrfs-progs"], pacman: &["btrfs-progs"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Test, why: "a keychain, in a session bus of its own", window: false, program: None,
        apt: &["dbus", "gnome-keyring"], dnf: &["dbus-daemon", "gnome-keyring"], pacman: &["dbus", "gnome-keyring"],
        brew: &[], winget: &[] },
    Need { purpose: Purpose::Test, why: "a browser, for the page's tests", window: false, program: Some("chromium"),
        apt: &["chromium"], dnf: &["chromium"], pacman: &["chromium"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Test, why: "a display, a driver and hands for the real window", window: true, program: None,
        apt: &["xvfb", "webkit2gtk-driver", "dbus-x11", "xdotool", "imagemagick", "x11-utils", "openbox",
            "python3-gi", "gir1.2-gtk-3.0"],
        dnf: &["xorg-x11-server-Xvfb", "webkit2gtk4.1", "dbus-x11", "xdotool", "ImageMagick", "xwininfo", "openbox",
            "python3-gobject", "gtk3"],
        pacman: &["xorg-server-xvfb", "webkit2gtk-4.1", "xdotool", "imagemagick", "xorg-xwininfo", "openbox",
            "python-gobject"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Bundle, why: "tools to check packages with", window: false, program: None,
        apt: &["rpm", "desktop-file-utils", "lintian"], dnf: &["rpm-build", "desktop-file-utils"],
        pacman: &["rpm-tools", "desktop-file-utils"], brew: &[], winget: &[] },
    Need { purpose: Purpose::Bench, why: "nginx, to download from", window: false, program: Some("nginx"),
        apt: &["nginx-light"], dnf: &["nginx"], pacman: &["nginx"], brew: &["nginx"], winget: &[] },
    Need { purpose: Purpose::Bench, why: "curl, to be measured against", window: false, program: Some("curl"),
        apt: &["curl"], dnf: &["curl"], pacman: &["curl"], brew: &["curl"], winget: &[] },
    Need { purpose: Purpose::Bench, why: "wget, to be measured against", window: false, program: Some("wget"),
        apt: &["wget"], dnf: &["wget"], pacman: &["wget"], brew: &["wget"], winget: &["JernejSimoncic.Wget"] },
    Need { purpose: Purpose::Bench, why: "aria2, to be measured against", window: false, program: Some("aria2c"),
        apt: &["aria2"], dnf: &["aria2"], pacman: &["aria2"], brew: &["aria2"], winget: &["aria2.aria2"] },
    Need { purpose: Purpose::Bench, why: "rclone, to be measured against", window: false, program: Some("rclone"),
        apt: &["rclone"], dnf: &["rclone"], pacman: &["rclone"], brew: &["rclone"], winget: &["Rclone.Rclone"] },
];

/// How this system installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Pacman,
    Brew,
    Winget,
}

impl Manager {
    fn here() -> Option<Self> {
        let known: &[(&str, Self)] = if cfg!(target_os = "macos") {
            &[("brew", Self::Brew)]
        } else if cfg!(windows) {
            &[("winget", Self::Winget)]
        } else {
            &[("apt-get", Self::Apt), ("dnf", Self::Dnf), ("pacman", Self::Pacman)]
        };
        known.iter().find(|(name, _)| find(name).is_some()).map(|(_, manager)| *manager)
    }

    fn names(self, need: &Need) -> &'static [&'static str] {
        match self {
            Self::Apt => need.apt,
            Self::Dnf => need.dnf,
            Self::Pacman => need.pacman,
            Self::Brew => need.brew,
            Self::Winget => need.winget,
        }
    }

    fn has(self, package: &str) -> bool {
        let asked = match self {
            Self::Apt => output(program("dpkg-query").args(["-W", "-f", "${Status}", package]))
                .map(|status| status == "install ok installed"),
            Self::Dnf => output(program("rpm").args(["-q", "--whatprovides", package])).map(|_| true),
            // A group has no package of its own name, but members.
            Self::Pacman => output(program("pacman").args(["-Q", package]))
                .or_else(|_| output(program("pacman").args(["-Qg", package])))
                .map(|_| true),
            Self::Brew => output(program("brew").args(["list", "--versions", package])).map(|_| true),
            Self::Winget => {
                output(program("winget").args(["list", "--exact", "--id", package])).map(|_| true)
            }
        };
        asked.unwrap_or(false)
    }

    fn install(self, packages: &[&str]) -> Done {
        match self {
            Self::Apt => {
                // Another apt may be at work (a fresh machine updates itself): wait for it.
                const WAIT: [&str; 2] = ["-o", "DPkg::Lock::Timeout=400"];
                run(as_root("apt-get").arg("update").args(WAIT))?;
                run(as_root("apt-get")
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .args(["install", "--yes", "--no-install-recommends"])
                    .args(WAIT)
                    .args(packages))
            }
            Self::Dnf => run(as_root("dnf").args(["install", "--assumeyes"]).args(packages)),
            Self::Pacman => run(as_root("pacman").args(["-Sy", "--needed", "--noconfirm"]).args(packages)),
            Self::Brew => run(program("brew").arg("install").args(packages)),
            Self::Winget => packages.iter().try_for_each(|package| {
                run(program("winget").args([
                    "install",
                    "--exact",
                    "--accept-package-agreements",
                    "--id",
                    package,
                ]))
            }),
        }
    }
}

/// The program with the rights to install: through sudo unless this is root already.
fn as_root(name: &str) -> Command {
    let root = output(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if root || find("sudo").is_none() {
        return program(name);
    }
    let mut command = program("sudo");
    // Without a terminal nobody could type a password: fail at once instead of waiting.
    if !std::io::stdin().is_terminal() {
        command.arg("-n");
    }
    command.arg(name);
    command
}

/// Installs what is missing for a purpose, saying what and why before it does.
pub fn install(purpose: Purpose) -> Done {
    if cfg!(target_os = "macos") && output(program("xcode-select").arg("-p")).is_err() {
        return Err("Apple's compilers are missing: run `xcode-select --install`, then this again".to_owned());
    }
    let Some(manager) = Manager::here() else {
        println!("No package manager that this knows (apt, dnf, pacman, brew, winget). Needed are:");
        for need in wanted(purpose) {
            println!("  {}: {}", need.why, need.apt.join(" "));
        }
        return Ok(());
    };
    let mut missing = Vec::new();
    for need in wanted(purpose) {
        if need.program.is_some_and(|name| find(name).is_some()) {
            continue;
        }
        let packages: Vec<&str> =
            manager.names(need).iter().copied().filter(|package| !manager.has(package)).collect();
        if !packages.is_empty() {
            println!("Missing for {}: {}", need.why, packages.join(" "));
            missing.extend(packages);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing them with {manager:?}.");
    manager.install(&missing)
}

fn wanted(purpose: Purpose) -> impl Iterator<Item = &'static Need> {
    NEEDS
        .iter()
        .filter(move |need| need.purpose == Purpose::Run || need.purpose == purpose)
        .filter(move |need| purpose.has_window() || !need.window)
}
