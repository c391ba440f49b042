//! WebKit's own sandbox: the process that draws the page sees no file of the user's and no network. Ferry's toolkit does not
//! switch it on by itself.
//!
//! It stands on bubblewrap. Where that cannot work (no user namespaces, as in many containers) WebKit would end with a
//! fault instead of going on without: so it is tried first, and the report says why the page is drawn without.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// WebKit's own switches.
const ON: &str = "WEBKIT_FORCE_SANDBOX";
const OFF: &str = "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS";
/// Says why a Ferry that was started anew goes without.
const FAILED: &str = "FERRY_PAGE_SANDBOX_FAILED";

/// Where WebKit looks for them, as distributions build it.
const BUBBLEWRAP: &str = "/usr/bin/bwrap";
const PROXY: &str = "/usr/bin/xdg-dbus-proxy";

static MISSING: OnceLock<Option<String>> = OnceLock::new();

/// Switches it on where it works. Comes before any thread and any window.
pub(crate) fn prepare() {
    let missing = missing();
    if missing.is_none() {
        #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment meanwhile")]
        // SAFETY: `run` calls this before it starts any thread.
        unsafe {
            std::env::set_var(ON, "1");
        }
    }
    // Only this sets it.
    let _ = MISSING.set(missing);
}

/// Why the page is drawn outside of it; `None` = it is not.
pub(crate) fn why_without() -> Option<&'static str> {
    MISSING.get().and_then(Option::as_deref)
}

fn missing() -> Option<String> {
    if std::env::var_os(FAILED).is_some() {
        return Some("the page's process did not start in it".into());
    }
    if std::env::var_os(OFF).is_some() {
        return Some(format!("{OFF} is set"));
    }
    // Its web processes lie in a folder that WebKit does not let into the sandbox.
    if std::env::var_os("APPIMAGE").is_some() {
        return Some("not in an AppImage".into());
    }
    // WebKit asks the portal there for another sandbox, without bubblewrap.
    if Path::new("/.flatpak-info").exists() {
        return None;
    }
    [BUBBLEWRAP, PROXY]
        .iter()
        .find(|program| !Path::new(program).exists())
        .map(|program| format!("{program} is not there"))
        .or_else(|| runtime_folder().and_then(|folder| refusal_of_folder(Path::new(&folder))))
        .or_else(|| refusal_of_bubblewrap(BUBBLEWRAP))
}

fn runtime_folder() -> Option<std::ffi::OsString> {
    std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())
}

/// Why WebKit cannot use the folder for what belongs to a session: it puts the sandbox's sockets there, and ends with a fault
/// where it cannot.
fn refusal_of_folder(folder: &Path) -> Option<String> {
    let tried = folder.join(format!(".ferry-{}", std::process::id()));
    match std::fs::create_dir(&tried).and_then(|()| std::fs::remove_dir(&tried)) {
        Ok(()) => None,
        Err(error) => Some(format!("XDG_RUNTIME_DIR cannot be used: {error}")),
    }
}

/// What bubblewrap says when it cannot do what WebKit will ask of it.
fn refusal_of_bubblewrap(program: &str) -> Option<String> {
    let tried = Command::new(program)
        .args(["--die-with-parent", "--unshare-pid", "--unshare-uts", "--unshare-net", "--unshare-ipc"])
        .args(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/usr/bin/true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(said.lines().next().map_or_else(|| format!("{program}: {}", output.status), str::to_owned))
        }
        Err(error) => Some(format!("{program}: {error}")),
    }
}

/// Starts Ferry anew without it, in place of this process: for a page whose process ends before it has drawn anything. What
/// the trial above did not see is no reason for an empty window. Comes last, when everything is written down.
pub(crate) fn start_without() {
    use std::os::unix::process::CommandExt as _;

    let Ok(program) = std::env::current_exe() else { return };
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env_remove(ON).env(FAILED, "1");
    ferry_engine::hand_on_keys(&mut again);
    // Comes back only when it fails.
    let error = again.exec();
    tracing::warn!(%error, "Ferry could not be started without the page's sandbox");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bubblewrap_that_cannot_work_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bwrap");
        let write = |script: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            refusal_of_bubblewrap(program.to_str().unwrap())
        };
        assert_eq!(write("exit 0"), None);
        let why = "bwrap: No permissions to create new namespace";
        assert_eq!(write(&format!("echo '{why}' >&2; exit 1")).as_deref(), Some(why));
        assert!(write("exit 3").unwrap().contains('3'));
        assert!(refusal_of_bubblewrap("/nowhere/bwrap").is_some());
        assert_eq!(refusal_of_folder(folder.path()), None);
        assert!(refusal_of_folder(&program).is_some(), "it is a file");
    }
}
