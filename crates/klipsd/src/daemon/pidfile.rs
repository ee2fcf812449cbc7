//! The pid file. It is locked while klipsd lives, so that one left by a crash is told from a running daemon's
//! whatever process has that number now.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// How long a killed klipsd may take to vanish with its devices, and so to give up its lock.
const DYING: Duration = Duration::from_secs(1);

/// A held pid file; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

/// Why it can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another klipsd holds it.
    #[error(
        "another klipsd (pid {pid}) is running with {path}: stop it first (ipsec setup stop, or kill {pid}), or use another --rundir"
    )]
    Running {
        /// Its process id, or `unknown`.
        pid: String,
        /// The pid file.
        path: PathBuf,
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
    /// See [`PidFileError`].
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let io = |error: io::Error| PidFileError::Io {
            path: path.to_owned(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(io)?;
        let mut lock = lock_within(file, DYING).map_err(|(mut file, error)| match error {
            nix::errno::Errno::EWOULDBLOCK => PidFileError::Running {
                pid: read_pid(&mut file),
                path: path.to_owned(),
            },
            error => io(error.into()),
        })?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut lock).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

/// Locks the file, trying again for a while when somebody holds it.
fn lock_within(mut file: File, time: Duration) -> Result<Flock<File>, (File, nix::errno::Errno)> {
    let end = Instant::now() + time;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((back, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < end => file = back,
            done => return done,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read_pid(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    text.trim()
        .parse::<u32>()
        .map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klipsd.pid");
        let held = PidFile::take(&path).unwrap();
        let error = PidFile::take(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("kill {}", std::process::id())),
            "{error}"
        );
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_one_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klipsd.pid");
        std::fs::write(&path, "1\n").unwrap();
        let _held = PidFile::take(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().trim(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = PidFile::take(Path::new("/nonexistent/klipsd.pid"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/klipsd.pid"), "{error}");
    }
}
