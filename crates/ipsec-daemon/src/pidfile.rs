//! The pid file. It is locked while the daemon lives, so that one left by a crash is told from a running daemon's, whatever
//! process has that number now.
//!
//! A file is its holder's only while it is the one that others find by its name: whoever ends removes it, and a lock on what
//! was removed keeps nobody out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// How long somebody else's lock is waited for. A daemon that was killed takes a moment to vanish with its devices, and
/// `ipsec setup` holds the lock for as long as it looks whether a daemon does.
const DYING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A held pid file; removed when dropped, except by a panic: a file that a crash leaves behind tells `ipsec setup` of it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

/// Why it can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error("{path} is held by process {}", pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Running {
        /// The pid file.
        path: PathBuf,
        /// The process that has it, where the file says so.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("cannot write {path}: {error}; is the run directory writable?")]
    Io {
        /// The pid file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

impl PidFile {
    /// Takes the file and writes this process's id into it.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |error: io::Error| LockError::Io {
            path: path.to_owned(),
            error,
        };
        let end = Instant::now() + DYING;
        loop {
            let file = open(path).map_err(io)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // The one who held it may have removed the file between our open and our lock.
                Ok(file) if !same_file(&file, path) => {}
                Ok(mut file) => {
                    write_pid(&mut file).map_err(io)?;
                    return Ok(Self {
                        path: path.to_owned(),
                        file,
                    });
                }
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() < end => std::thread::sleep(PAUSE),
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    return Err(LockError::Running {
                        path: path.to_owned(),
                        pid: read_pid(&mut file),
                    });
                }
                Err((_, error)) => return Err(io(error.into())),
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !std::thread::panicking() && same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_holder_and_stale_files_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pluto.pid");
        fs::write(&path, "4711\nand a long tail of an older file").unwrap();
        let held = PidFile::take(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));

        let second = PidFile::take(&path).unwrap_err();
        assert!(
            matches!(&second, LockError::Running { pid: Some(pid), .. } if *pid == std::process::id()),
            "{second}"
        );
        drop(held);
        assert!(!path.exists());
        PidFile::take(&path).unwrap();
    }

    #[test]
    fn g7_whoever_waited_for_a_lock_has_the_file_that_others_find() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klipsd.pid");
        let first = PidFile::take(&path).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| PidFile::take(&path));
            // Long enough for it to open the file that is about to go, and to wait for its lock.
            std::thread::sleep(3 * PAUSE);
            drop(first);
            let second = second.join().unwrap().unwrap();
            assert!(same_file(&second.file, &path));
            let third = PidFile::take(&path);
            assert!(matches!(third, Err(LockError::Running { .. })), "{third:?}");
        });
        assert!(!path.exists());
    }

    #[test]
    fn g7_many_that_start_and_end_at_once_never_live_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klipsd.pid");
        let living = AtomicUsize::new(0);
        let lives = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(held) = PidFile::take(&path) else {
                            continue;
                        };
                        assert_eq!(living.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                        assert!(path.exists(), "a daemon's pid file was removed by another");
                        lives.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        living.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!(lives.into_inner() > 50);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = PidFile::take(&dir.path().join("no/pluto.pid"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no/pluto.pid") && error.contains("No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_panic_leaves_the_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pluto.pid");
        let died = std::panic::catch_unwind(|| {
            let _held = PidFile::take(&path).unwrap();
            panic!("on purpose");
        });
        assert!(died.is_err() && path.exists());
        drop(PidFile::take(&path).unwrap());
        assert!(!path.exists());
    }
}
