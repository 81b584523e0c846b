//! What the child gives up before it reads a byte of its input. Best effort: what a system does not offer is
//! returned, logged by the parent, and the rest still holds.
//!
//! Every Unix: limits on memory, processor time, core dumps, written files. Linux besides: Landlock (files: read what
//! it was given, nothing else; no TCP), a seccomp filter (no sockets, no new processes, no changes to the file system), and
//! death with the parent.

use crate::ingest::Limits;
use std::path::Path;

/// Confines this process to reading files, or folders, at `paths`. `seconds`: processor time. Returns what could not be
/// had.
pub(super) fn confine(paths: &[&Path], limits: &Limits, seconds: u64) -> Vec<String> {
    let mut missing = Vec::new();
    #[cfg(unix)]
    missing.extend(resources(limits, seconds));
    #[cfg(target_os = "linux")]
    {
        missing.extend(linux::die_with_parent());
        missing.extend(linux::landlock(paths));
        missing.extend(linux::seccomp());
    }
    let _ = (paths, limits, seconds);
    missing
}

#[cfg(unix)]
fn resources(limits: &Limits, seconds: u64) -> Vec<String> {
    let wanted = [
        ("memory", libc::RLIMIT_AS, limits.memory_bytes),
        ("processor time", libc::RLIMIT_CPU, seconds.max(1)),
        ("core dumps", libc::RLIMIT_CORE, 0),
        ("written files", libc::RLIMIT_FSIZE, 0),
    ];
    let mut missing = Vec::new();
    for (name, resource, limit) in wanted {
        let limit = libc::rlimit {
            rlim_cur: limit as _,
            rlim_max: limit as _,
        };
        // SAFETY: setrlimit reads one `rlimit`, which outlives the call.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            missing.push(format!(
                "no limit on {name}: {}",
                std::io::Error::last_os_error()
            ));
        }
    }
    missing
}

#[cfg(target_os = "linux")]
mod linux {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    };
    use std::path::Path;

    pub fn die_with_parent() -> Option<String> {
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        (result != 0).then(|| "it may outlive its parent".to_owned())
    }

    /// Files: only reading beneath `paths`. No TCP, where the kernel can (ABI 4).
    pub fn landlock(paths: &[&Path]) -> Option<String> {
        let restricted = || -> Result<RulesetStatus, Box<dyn std::error::Error>> {
            let abi = ABI::V4;
            let mut rules = Ruleset::default()
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(abi))?
                .handle_access(AccessNet::from_all(abi))?
                .create()?;
            for path in paths {
                let allowed = match path.is_dir() {
                    true => AccessFs::ReadFile | AccessFs::ReadDir,
                    false => AccessFs::ReadFile.into(),
                };
                rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, allowed))?;
            }
            Ok(rules.restrict_self()?.ruleset)
        };
        match restricted() {
            Ok(RulesetStatus::FullyEnforced) => None,
            Ok(RulesetStatus::PartiallyEnforced) => {
                Some("Landlock covers files only in part".into())
            }
            Ok(RulesetStatus::NotEnforced) => Some("this kernel has no Landlock".into()),
            Err(error) => Some(format!("Landlock: {error}")),
        }
    }

    /// Audit architecture of this program, as seccomp reports it.
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn seccomp() -> Option<String> {
        Some("no system call filter for this processor".into())
    }

    /// Refuses sockets, new processes, tracing, and changes to the file system; everything else passes. A list of
    /// what is refused, not of what is allowed: it cannot break with the C library's next version, and what matters
    /// (no way out of the process) is on it.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub fn seccomp() -> Option<String> {
        let program = filter();
        let fprog = libc::sock_fprog {
            len: program.len() as libc::c_ushort,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: PR_SET_NO_NEW_PRIVS takes plain numbers.
        let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the kernel copies `program`, which outlives the call, and does not write to it.
        let filtered = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const fprog,
                0,
                0,
            )
        };
        (privileges != 0 || filtered != 0)
            .then(|| format!("no system call filter: {}", std::io::Error::last_os_error()))
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn filter() -> Vec<libc::sock_filter> {
        // Offsets into `struct seccomp_data`.
        const NUMBER: u32 = 0;
        const ARCH: u32 = 4;
        const FIRST_ARGUMENT: u32 = 16;
        let load = |offset| libc::sock_filter {
            code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
            jt: 0,
            jf: 0,
            k: offset,
        };
        let jump = |test: u32, k, jt, jf| libc::sock_filter {
            code: (libc::BPF_JMP | test | libc::BPF_K) as u16,
            jt,
            jf,
            k,
        };
        let answer = |k| libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let refuse = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno as u32);

        let mut program = vec![
            load(ARCH),
            jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            load(NUMBER),
            // The x32 calls of x86-64 would go around the list.
            jump(libc::BPF_JGE, 0x4000_0000, 0, 1),
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            // glibc falls back to clone, whose flags can be seen.
            jump(libc::BPF_JEQ, libc::SYS_clone3 as u32, 0, 1),
            refuse(libc::ENOSYS),
            jump(libc::BPF_JEQ, libc::SYS_clone as u32, 0, 4),
            load(FIRST_ARGUMENT),
            jump(libc::BPF_JSET, libc::CLONE_THREAD as u32, 0, 1),
            answer(libc::SECCOMP_RET_ALLOW),
            refuse(libc::EPERM),
        ];
        for call in refused_calls() {
            program.push(jump(libc::BPF_JEQ, call as u32, 0, 1));
            program.push(refuse(libc::EPERM));
        }
        program.push(answer(libc::SECCOMP_RET_ALLOW));
        program
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn refused_calls() -> Vec<libc::c_long> {
        let mut calls = vec![
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kill,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_unlinkat,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_mkdirat,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_mknodat,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_truncate,
        ];
        #[cfg(target_arch = "x86_64")]
        calls.extend([
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_unlink,
            libc::SYS_rename,
            libc::SYS_mkdir,
            libc::SYS_rmdir,
            libc::SYS_link,
            libc::SYS_symlink,
            libc::SYS_mknod,
            libc::SYS_chmod,
            libc::SYS_chown,
            libc::SYS_creat,
        ]);
        calls
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    /// Set in the process that confines itself.
    const INSIDE: &str = "LECTERN_TEST_CONFINED";

    /// Runs this very test in a process of its own, which confines itself and tries to get out.
    #[test]
    fn a_confined_process_reaches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input.txt");
        match std::env::var_os(INSIDE) {
            Some(input) => try_to_get_out(Path::new(&input)),
            None => {
                std::fs::write(&input, "words").unwrap();
                let output = Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "ingest::sandbox::confine::tests::a_confined_process_reaches_nothing",
                    ])
                    .args(["--nocapture", "--test-threads=1"])
                    .env(INSIDE, &input)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                print!(
                    "{}",
                    said.lines()
                        .filter(|l| l.starts_with("missing"))
                        .collect::<String>()
                );
                assert!(
                    output.status.success(),
                    "{said}{}",
                    String::from_utf8_lossy(&output.stdout)
                );
                assert_eq!(std::fs::read_to_string(&input).unwrap(), "words");
            }
        }
    }

    fn try_to_get_out(input: &Path) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = input.with_file_name("other.txt");
        std::fs::write(&other, "other").unwrap();
        let limits = Limits {
            memory_bytes: 1 << 30,
            ..Limits::default()
        };
        let missing = confine(&[input], &limits, 20);
        eprintln!("missing: {missing:?}");
        let landlocked = !missing.iter().any(|m| m.contains("Landlock"));

        assert_eq!(std::fs::read_to_string(input).unwrap(), "words");
        assert!(std::net::TcpStream::connect(address).is_err(), "TCP");
        assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err(), "UDP");
        assert!(
            std::os::unix::net::UnixStream::connect("/run/any.sock").is_err(),
            "Unix socket"
        );
        assert!(Command::new("/bin/true").spawn().is_err(), "a new process");
        assert!(std::fs::remove_file(&other).is_err(), "removing a file");
        assert!(std::fs::rename(&other, input).is_err(), "renaming a file");
        assert!(
            Vec::<u8>::new().try_reserve_exact(2 << 30).is_err(),
            "memory"
        );
        assert!(
            std::thread::spawn(|| 1).join().is_ok(),
            "threads stay possible"
        );
        if landlocked {
            assert!(std::fs::read(&other).is_err(), "another file");
            assert!(
                std::fs::write(input, "changed").is_err(),
                "writing its input"
            );
        }
    }
}
