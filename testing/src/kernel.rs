//! Tests inside a test kernel: the same test, run again by the same program, in a user-mode Linux kernel of its own.
//!
//! `testing/kernels/run` boots it and gives the test's output and exit status back; what is written inside stays in its
//! memory. The names of tests come to [`on_both_data_paths`](crate::on_both_data_paths),
//! [`on_klips_ko`](crate::on_klips_ko) and [`in_test_kernel`](crate::in_test_kernel).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

/// Set inside a test kernel.
const INSIDE: &str = "TESTBED_KERNEL";
/// Which of `testing/kernels/build`'s kernels to use; `uml` if unset.
const FLAVOUR: &str = "TESTBED_FLAVOUR";
/// How many seconds a test may take, for tests that were told to take long.
const LIMIT: &str = "TESTBED_SECONDS";
/// The flavour with two processors, which is emulated and slow.
const EMULATED: &str = "x86_64";
/// Kernels that may run at a time, each of [`MEMORY`]; the emulated one runs alone.
const AT_ONCE: usize = 3;
const MEMORY: &str = "768M";
const SECONDS: u64 = 600;
const SECONDS_EMULATED: u64 = 1800;

/// Which KLIPS a test kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Klips {
    /// klipsd only, as on a kernel without the module.
    Daemon,
    /// klips.ko, loaded before the test and taken out after it.
    Module,
}

/// How time passes in a test kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As outside.
    Real,
    /// What nobody has anything to do in is skipped: an hour is over in the seconds that its work takes.
    Skipping,
}

/// Runs `body` in a test kernel; `test` is the running test's path, its crate's name first.
///
/// Panics where the test fails there, where the kernel itself complains, or where there is no kernel to be had.
#[track_caller]
pub fn inside(test: &str, klips: Klips, clock: Clock, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let me = std::env::current_exe().expect("a running program has a name");
    let usual = match flavour() == EMULATED {
        true => SECONDS_EMULATED,
        false => SECONDS,
    };
    let told = std::env::var(LIMIT)
        .ok()
        .and_then(|limit| limit.parse().ok());
    let mut command = command(klips, clock, Duration::from_secs(told.unwrap_or(usual)));
    command
        .arg(me)
        .args(["--exact", name, "--nocapture", "--test-threads=1"]);

    let _turn = Turn::take();
    let done = command.output().expect("testing/kernels/run can be run");
    let said = String::from_utf8_lossy(&done.stdout);
    print!("{said}");
    // A filter that matches nothing is a success to the test program, so ask for the one test.
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{name} in a test kernel:\n{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// The start of a command line that runs a program in a test kernel, for `limit` of this machine's time at most.
pub fn command(klips: Klips, clock: Clock, limit: Duration) -> Command {
    let flavour = flavour();
    let mut command = Command::new(scripts().join("run"));
    let seconds = limit.as_secs().to_string();
    command.args(["-k", &flavour, "-M", MEMORY, "-t", &seconds]);
    if clock == Clock::Skipping {
        command.arg("-T");
    }
    if klips == Klips::Module {
        command.arg("-m").arg(module(&flavour));
    }
    command.env(INSIDE, "1").env_remove("TESTBED_USERNS");
    command
}

fn flavour() -> String {
    std::env::var(FLAVOUR).unwrap_or_else(|_| "uml".to_owned())
}

/// `count` repetitions of something, or a tenth where the kernel is emulated.
pub fn times(count: u32) -> u32 {
    if flavour() == EMULATED {
        count.div_ceil(10)
    } else {
        count
    }
}

/// How long to wait for something that takes up to `limit` on a real machine: ten times as long where the kernel is emulated.
pub fn patience(limit: Duration) -> Duration {
    if flavour() == EMULATED {
        limit * 10
    } else {
        limit
    }
}

/// klips.ko for a kernel, built if need be; asked for once, and every test fails with the reason if it can't be had.
fn module(flavour: &str) -> &'static Path {
    static MODULE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = MODULE.get_or_init(|| {
        let done = Command::new(scripts().join("module"))
            .arg(flavour)
            .output()
            .map_err(|error| format!("testing/kernels/module: {error}"))?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        let said = String::from_utf8_lossy(&done.stdout);
        Ok(PathBuf::from(said.lines().last().unwrap_or_default()))
    });
    built
        .as_deref()
        .unwrap_or_else(|error| panic!("there is no klips.ko to test: {error}"))
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// One of the [`AT_ONCE`] places, held until it is dropped.
struct Turn;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Turn {
        let most = if flavour() == EMULATED { 1 } else { AT_ONCE };
        // A test that panicked with the lock held has done no harm to a number.
        let taken = TAKEN
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut taken = FREED
            .wait_while(taken, |taken| *taken >= most)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *taken += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) -= 1;
        FREED.notify_one();
    }
}

/// Makes tests of functions: `klipsd::NAME` in namespaces of this machine, `klips_ko::NAME` in a test kernel with the module.
#[macro_export]
macro_rules! on_both_data_paths {
    ($($name:ident),+ $(,)?) => {
        mod klipsd {
            $(#[test] fn $name() { super::$name() })+
        }
        $crate::on_klips_ko!($($name),+);
    };
}

/// Makes tests of functions: `klips_ko::NAME`, in a test kernel with the module.
#[macro_export]
macro_rules! on_klips_ko {
    ($($name:ident),+ $(,)?) => {
        mod klips_ko {
            $(#[test] fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                $crate::kernel::inside(test, $crate::kernel::Klips::Module, $crate::kernel::Clock::Real, super::$name)
            })+
        }
    };
}

/// Makes tests of functions: `kernel::NAME`, in a test kernel without the module, which can do what this machine's might not:
/// netem, ESP of its own.
#[macro_export]
macro_rules! in_test_kernel {
    ($($name:ident),+ $(,)?) => {
        mod kernel {
            $(#[test] fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                $crate::kernel::inside(test, $crate::kernel::Klips::Daemon, $crate::kernel::Clock::Real, super::$name)
            })+
        }
    };
}

/// Makes tests of functions: `hours::klipsd::NAME` and `hours::klips_ko::NAME`, in a test kernel that skips idle time.
#[macro_export]
macro_rules! for_hours {
    ($($name:ident),+ $(,)?) => {
        mod hours {
            mod klipsd {
                $(#[test] fn $name() {
                    let test = concat!(module_path!(), "::", stringify!($name));
                    let (klips, clock) = ($crate::kernel::Klips::Daemon, $crate::kernel::Clock::Skipping);
                    $crate::kernel::inside(test, klips, clock, super::super::$name)
                })+
            }
            mod klips_ko {
                $(#[test] fn $name() {
                    let test = concat!(module_path!(), "::", stringify!($name));
                    let (klips, clock) = ($crate::kernel::Klips::Module, $crate::kernel::Clock::Skipping);
                    $crate::kernel::inside(test, klips, clock, super::super::$name)
                })+
            }
        }
    };
}
