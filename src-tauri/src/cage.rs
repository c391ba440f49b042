//! A cage for programs that take hostile files apart. In it a program reads its own code and one file. It writes nowhere,
//! has no network, starts no other program beside itself, and stands under limits of memory, of time, of open files.
//!
//! Made of Landlock (what may be opened), seccomp (what may be asked of the kernel) and limits of resources: the kernel
//! has them for everybody, also in containers, and none needs a helper program. Where one of them is missing there is no
//! cage, and nothing runs.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Address space, in bytes: the libraries of a decoder take half of it.
const MOST_MEMORY: u64 = 1024 * 1024 * 1024;
/// Time on the processor, in seconds. The time on the wall is for whoever waits.
const MOST_SECONDS: u64 = 10;
const MOST_OPEN: u64 = 64;

/// Where programs and their libraries lie. Nothing of a user's is in these.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/app",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
];

/// On x86-64 some kernels know each call by a second number, with this bit. On others there is nothing there to refuse.
const OTHER_NUMBERS: libc::c_long = 0x4000_0000;

/// Younger than the others, and of one number on every processor.
const FCHMODAT2: libc::c_long = 452;

/// The least that the kernel must be able to forbid: files since 5.13, truncating them since 6.2 (until then a limit of the
/// size of files stands in).
const LEAST: ABI = ABI::V1;

/// Makes a program ready to start in a cage in which it reads `file` and no other.
///
/// # Errors
///
/// When this system has no such cage: its kernel is too old, or was built or started without one of its parts.
pub(crate) fn lock(command: &mut Command, file: &Path) -> Result<(), String> {
    let program = PathBuf::from(command.get_program());
    // Both are made here: between the two programs there is no place for anything that may wait or fail.
    let filters = calls().map_err(|why| why.to_string())?;
    let mut rules = Some(files(&program, file).map_err(|error| error.to_string())?);
    command.env_clear();
    let enter = move || {
        limit()?;
        let entered = rules.take().map(RulesetCreated::restrict_self);
        let Some(Ok(status)) = entered else { return Err(io::ErrorKind::PermissionDenied.into()) };
        if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Last, as the others take calls that it forbids.
        filters.iter().try_for_each(|filter| {
            seccompiler::apply_filter(filter).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))
        })
    };
    #[allow(unsafe_code, reason = "the only way to shut a program in before its first instruction")]
    // SAFETY: between `fork` and `exec` this makes system calls, closes a descriptor and frees what was made before; it
    // allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(())
}

/// Why there is no cage on this system, if there is none: tried on a program that does nothing.
pub(crate) fn missing() -> Option<String> {
    let mut nothing = Command::new("/bin/true");
    if let Err(why) = lock(&mut nothing, Path::new("/dev/null")) {
        return Some(why);
    }
    match nothing.status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(status.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn files(program: &Path, file: &Path) -> Result<RulesetCreated, Box<dyn std::error::Error>> {
    // What a newer kernel can forbid is forbidden as well.
    let newest = ABI::V6;
    let run: BitFlags<AccessFs> = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    let of_program = program.canonicalize().ok();
    for place in PROGRAMS.iter().map(PathBuf::from).chain(of_program) {
        if let Ok(open) = PathFd::new(&place) {
            let rights = if place.is_dir() { run } else { AccessFs::Execute | AccessFs::ReadFile };
            rules = rules.add_rule(PathBeneath::new(open, rights))?;
        }
    }
    Ok(rules.add_rule(PathBeneath::new(PathFd::new(file)?, AccessFs::ReadFile))?)
}

/// What Landlock does not see: sockets, other processes, the marks on files.
fn calls() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let refused = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_io_uring_setup,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_kcmp,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_shmget,
        libc::SYS_msgget,
        libc::SYS_semget,
        libc::SYS_mq_open,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        FCHMODAT2,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_utimensat,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat,
    ];
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        refused.into_iter().map(|call| (call, Vec::new())).collect();
    // A thread is made by the same call as a process.
    let no_thread = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64),
        0,
    )?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
    // The limits of others of the same user; its own may only go down.
    let another = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![another])?]);
    for (call, rule) in rules.clone() {
        rules.insert(call | OTHER_NUMBERS, rule);
    }
    // What it is to do stands in memory, where no filter can look; the C library then takes the older call instead.
    let unreadable = [libc::SYS_clone3, libc::SYS_clone3 | OTHER_NUMBERS].map(|call| (call, Vec::new()));
    let filter = |rules, errno: i32| {
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()), arch)?
            .try_into()
    };
    Ok([filter(rules, libc::EPERM)?, filter(unreadable.into(), libc::ENOSYS)?])
}

/// Limits of the process, which are its children's as well.
fn limit() -> io::Result<()> {
    for (what, most) in [
        (Resource::As, MOST_MEMORY),
        (Resource::Cpu, MOST_SECONDS),
        (Resource::Nofile, MOST_OPEN),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell in the cage says, and whether it ends well.
    fn caged(file: &Path, script: &str) -> (bool, String) {
        let mut shell = Command::new("/bin/bash");
        shell.args(["-c", script]);
        lock(&mut shell, file).unwrap();
        let output = shell.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn a_caged_program_reads_the_one_file_and_nothing_else() {
        if missing().is_some() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (film, secret) = (folder.path().join("film"), folder.path().join("secret"));
        std::fs::write(&film, "a film").unwrap();
        std::fs::write(&secret, "a secret").unwrap();
        // In bash itself, as there can be no other process.
        let read_here = |path: &Path| format!("read -r line < '{}'; printf %s \"$line\"", path.display());
        assert_eq!(caged(&film, &read_here(&film)).1, "a film");
        assert_eq!(caged(&film, &read_here(&secret)).1, "");
        assert_eq!(caged(&film, &read_here(Path::new("/etc/passwd"))).1, "");
        assert_eq!(caged(&film, &read_here(Path::new("/proc/self/environ"))).1, "");
        assert!(!caged(&film, "(exit 0)").0, "another process was started");
        assert!(!caged(&film, "/bin/true & wait $!").0, "another program was started");
        assert!(!caged(&film, &format!("echo x > '{}'", film.display())).0);
        assert!(!caged(&film, &format!("echo x > '{}'", folder.path().join("new").display())).0);
        assert_eq!(std::fs::read_to_string(&film).unwrap(), "a film");
        assert!(!folder.path().join("new").exists());
    }

    #[test]
    fn a_caged_program_reaches_no_network_and_takes_no_end_of_memory_or_time() {
        if missing().is_some() {
            return;
        }
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let call = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        let free = Command::new("/bin/bash").args(["-c", &call]).status().unwrap();
        assert!(free.success(), "outside of the cage it connects");
        assert!(!caged(Path::new("/dev/null"), &call).0);
        let grow = "x=0123456789abcdef; while true; do x=$x$x; done";
        assert!(!caged(Path::new("/dev/null"), grow).0);
        let (_, limit) = caged(Path::new("/dev/null"), "ulimit -t; ulimit -v");
        assert_eq!(limit, format!("{MOST_SECONDS}\n{}\n", MOST_MEMORY / 1024));
        assert!(
            !caged(Path::new("/dev/null"), "ulimit -t unlimited").0 || !rustix::process::geteuid().is_root()
        );
    }

    #[test]
    fn a_caged_program_gets_nothing_of_the_environment() {
        if missing().is_some() {
            return;
        }
        let (_, said) = caged(Path::new("/dev/null"), "printf %s \"$HOME$CARGO_MANIFEST_DIR\"");
        assert_eq!(said, "");
    }
}
