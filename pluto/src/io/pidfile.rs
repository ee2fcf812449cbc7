//! The lock file: says who runs, and keeps a second pluto off the same control socket. The lock is
//! the kernel's, so one left by a crash binds nobody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// The lock, held until dropped, and then removed.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another pluto holds it.
    #[error("lock file \"{}\" already exists: pluto is running{}; stop it with: ipsec setup stop", .0.display(), owner(.1))]
    Running(PathBuf, Option<u32>),
    /// The file cannot be made.
    #[error("unable to create lock file \"{}\" ({})", .0.display(), .1)]
    Create(PathBuf, io::Error),
}

fn owner(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl PidFile {
    /// Takes the lock and writes this process's id.
    pub fn take(path: &Path) -> Result<PidFile, LockError> {
        let create = |e: io::Error| LockError::Create(path.to_path_buf(), e);
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(create)?;
            let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    return Err(LockError::Running(path.to_path_buf(), read_pid(&mut file)));
                }
                Err((_, e)) => return Err(create(e.into())),
            };
            // The one who held it may have removed the file between our open and our lock.
            if !same_file(&file, path) {
                continue;
            }
            write_pid(&mut file).map_err(create)?;
            return Ok(PidFile {
                path: path.to_path_buf(),
                file,
            });
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // What a crash leaves behind tells `ipsec setup' that it was one.
        if !std::thread::panicking() && same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
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

    #[test]
    fn one_holder_and_stale_files_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pluto.pid");
        fs::write(&path, "4711\nand a long tail of an older file").unwrap();
        let held = PidFile::take(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));

        let second = PidFile::take(&path).unwrap_err();
        assert!(matches!(&second, LockError::Running(_, Some(pid)) if *pid == std::process::id()));
        assert!(
            second
                .to_string()
                .contains("already exists: pluto is running (pid ")
        );

        drop(held);
        assert!(!path.exists());
        PidFile::take(&path).unwrap();
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
