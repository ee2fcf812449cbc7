//! What a process that gave up its privileges can no longer do, and what it still can. Each trial is in a process of its own.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use ipsec_daemon::confine::Capabilities;
use ipsec_daemon::{Needs, confine};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// What one trial comes to: an empty text, or what went wrong.
type Trial = fn(&Path) -> Result<(), String>;

fn needs(dir: &Path) -> Needs {
    Needs {
        capabilities: Capabilities::NET_ADMIN | Capabilities::NET_BIND_SERVICE,
        reads: vec![PathBuf::from("/etc"), PathBuf::from("/proc")],
        writes: vec![dir.join("run")],
        families: vec![libc::AF_INET],
        core_files: false,
    }
}

/// Confines a child and runs the trial in it.
fn confined(trial: Trial) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("run")).unwrap();
    fs::write(dir.path().join("run/old"), "").unwrap();
    fs::write(dir.path().join("beside"), "").unwrap();
    // SAFETY: the child has one thread, does not come back, and takes no lock that a thread of the parent may have held.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).unwrap();
            assert_eq!(status, WaitStatus::Exited(child, 0));
        }
        ForkResult::Child => {
            let done = confine(&needs(dir.path()))
                .map_err(|e| e.to_string())
                .and_then(|_| trial(dir.path()));
            if let Err(why) = &done {
                eprintln!("{why}");
            }
            // SAFETY: ends the process at once, without the test harness' way out.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
    }
}

fn is_seccomp_there() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Seccomp:"))
}

fn is_landlock_there() -> bool {
    fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|all| all.contains("landlock"))
}

fn must(ok: bool, what: &str) -> Result<(), String> {
    ok.then_some(()).ok_or_else(|| what.to_owned())
}

#[test]
fn g11_the_kernel_shows_what_was_given_up() {
    confined(|_| {
        let status = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.map_or("", |line| line[name.len() + 1..].trim())
                .to_owned()
        };
        let kept = (1 << 12) | (1 << 10);
        for name in ["CapEff", "CapPrm", "CapBnd"] {
            let set = u64::from_str_radix(&field(name), 16).map_err(|e| e.to_string())?;
            must(set & !kept == 0, &format!("{name} {set:x}"))?;
        }
        for name in ["CapInh", "CapAmb"] {
            must(field(name).chars().all(|c| c == '0'), name)?;
        }
        must(field("NoNewPrivs") == "1", "NoNewPrivs")?;
        must(field("Seccomp") == "2" || !is_seccomp_there(), "Seccomp")?;
        let limits = fs::read_to_string("/proc/self/limits").map_err(|e| e.to_string())?;
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core = core.unwrap_or_default().split_whitespace();
        must(core.filter(|word| *word == "0").count() == 2, "core files")
    });
}

#[test]
fn g11_no_program_process_or_tracing() {
    if !is_seccomp_there() {
        return;
    }
    confined(|_| {
        must(Command::new("/bin/true").status().is_err(), "a program ran")?;
        // SAFETY: a child would end at once.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        must(forked < 0, "a process was made")?;
        // SAFETY: calls that touch no memory of this process.
        let calls = unsafe {
            [
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0),
                libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
                libc::syscall(libc::SYS_kill, 1, 0),
                libc::syscall(libc::SYS_memfd_create, c"x".as_ptr(), 0),
                libc::prctl(libc::PR_SET_DUMPABLE, 1).into(),
                libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0).into(),
                libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).into(),
            ]
        };
        for (number, answer) in calls.iter().enumerate() {
            must(*answer == -1, &format!("call {number} was let through"))?;
        }
        // SAFETY: asks for memory at a place of the kernel's choice.
        let code = unsafe {
            let (rights, how) = (
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            libc::mmap(std::ptr::null_mut(), 4096, rights, how, -1, 0)
        };
        must(code == libc::MAP_FAILED, "memory to run code in")
    });
}

#[test]
fn g11_threads_sockets_and_its_own_files_go_on_working() {
    confined(|dir| {
        let text = |e: std::io::Error| e.to_string();
        let run = dir.join("run");
        fs::write(run.join("new"), "text").map_err(text)?;
        fs::remove_file(run.join("old")).map_err(text)?;
        UnixListener::bind(run.join("socket")).map_err(text)?;
        UnixDatagram::pair().map_err(text)?;
        UdpSocket::bind("127.0.0.1:0").map_err(text)?;
        fs::read_to_string("/etc/passwd").map_err(text)?;
        let sum = std::thread::spawn(|| (1..=10).sum::<i32>()).join();
        must(sum.is_ok_and(|sum| sum == 55), "a thread")
    });
}

#[test]
fn g11_no_other_files() {
    if !is_landlock_there() {
        return;
    }
    confined(|dir| {
        must(fs::read(dir.join("beside")).is_err(), "a file was read")?;
        let written = fs::write(dir.join("beside"), "x");
        let denied = written.is_err_and(|e| e.raw_os_error() == Some(Errno::EACCES as i32));
        must(denied, "a file was written")?;
        must(
            fs::write("/etc/ipsec-test", "x").is_err(),
            "/etc was written",
        )?;
        must(fs::read_dir("/root").is_err(), "a directory was read")
    });
}
