//! The files of the key log: one for each of Wireshark's tables, for root alone.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::engine::keylog::{KeyLine, KeyTable};

/// What the table of ESP SAs has behind the file's name.
const ESP: &str = ".esp_sa";

/// Both files, open.
#[derive(Debug)]
pub struct KeyLog {
    ike: File,
    esp: File,
}

impl KeyLog {
    /// Opens `path`, and beside it the file for ESP, to append to them; makes them, mode 0600, where they are not.
    ///
    /// # Errors
    /// What is wrong with which file, for people to read.
    pub fn open(path: &Path) -> Result<KeyLog, String> {
        let mut esp = OsString::from(path);
        esp.push(ESP);
        Ok(KeyLog {
            ike: open(path)?,
            esp: open(&PathBuf::from(esp))?,
        })
    }

    /// Appends a line, at once: it may be the last one.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, line: &KeyLine) -> io::Result<()> {
        let mut whole = Zeroizing::new(Vec::with_capacity(line.text.len() + 1));
        whole.extend_from_slice(line.text.as_bytes());
        whole.push(b'\n');
        match line.table {
            KeyTable::Ike => self.ike.write_all(&whole),
            KeyTable::Esp => self.esp.write_all(&whole),
        }
    }
}

/// No link is followed, and nothing taken that others can read or have made: they would get the keys.
fn open(path: &Path) -> Result<File, String> {
    let bad = |what: &str| format!("key log {}: {what}", path.display());
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| match e.raw_os_error() {
            Some(libc::ELOOP) => bad("is a symbolic link; name the file itself"),
            _ => bad(&e.to_string()),
        })?;
    let about = file.metadata().map_err(|e| bad(&e.to_string()))?;
    if !about.is_file() {
        return Err(bad("is no regular file"));
    }
    if about.uid() != nix::unistd::geteuid().as_raw() {
        return Err(bad("belongs to somebody else; remove it"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(bad(
            "others may read or write it; chmod 600 it, or remove it",
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(table: KeyTable, text: &str) -> KeyLine {
        let text = Zeroizing::new(text.to_owned());
        KeyLine { table, text }
    }

    #[test]
    fn files_are_for_their_owner_and_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for n in ["1", "2"] {
            let mut log = KeyLog::open(&path).unwrap();
            log.write(&line(KeyTable::Ike, n)).unwrap();
            log.write(&line(KeyTable::Esp, &format!("e{n}"))).unwrap();
        }
        let esp = dir.path().join("keys.esp_sa");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
        assert_eq!(fs::read_to_string(&esp).unwrap(), "e1\ne2\n");
        for file in [&path, &esp] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_others_could_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path, why: &str| {
            let error = KeyLog::open(path).unwrap_err();
            assert!(
                error.contains(why) && error.contains("key log /"),
                "{error}"
            );
        };
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        refused(&file, "chmod 600");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        refused(&link, "symbolic link");
        refused(dir.path(), "directory");
        refused(&dir.path().join("no/where"), "No such file");
        // The file for ESP is looked at as well.
        let path = dir.path().join("keys");
        fs::create_dir(dir.path().join("keys.esp_sa")).unwrap();
        refused(&path, "keys.esp_sa");
    }
}
