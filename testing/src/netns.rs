//! A network namespace and nothing else, for tests that want many of them or call the system themselves.

use std::fs::File;
use std::panic::resume_unwind;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, which lives as long as this value or anything in it.
pub struct Netns(File);

impl Netns {
    /// A new one, its loopback interface up. For root only, as in a test kernel.
    pub fn new() -> Netns {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made");
            let file = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
            sh("ip link set lo up");
            Netns(file)
        })
    }

    /// Runs `f` in it, on a thread of its own; what `f` starts is in it too.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            f()
        })
    }

    /// Runs a shell script in it, which must succeed, and gives its output.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.enter(|| sh(script))
    }

    /// What `ip link … netns` takes for it.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

impl Default for Netns {
    fn default() -> Self {
        Netns::new()
    }
}

/// Runs a shell script in the calling thread's namespace; it must succeed.
#[track_caller]
pub fn sh(script: &str) -> String {
    let done = Command::new("sh")
        .args(["-c", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("sh(1) can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        done.status.success(),
        "{script}: {}{}",
        text(&done.stdout),
        text(&done.stderr)
    );
    text(&done.stdout)
}

/// A thread may change its namespace and leave all others in theirs.
fn in_thread<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(answer) => answer,
        Err(panic) => resume_unwind(panic),
    })
}
