//! A directory with a configuration of its own, in which the built `ipsec` runs.

use std::process::{Command, Output};
use tempfile::TempDir;

/// The directory; everything in it goes with it.
pub struct Place(TempDir);

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// Runs `ipsec`.
    pub fn ipsec(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ipsec"))
            .args(args)
            .env("IPSEC_CONFS", self.0.path())
            .env("IPSEC_RUNDIR", self.path("run"))
            .env("IPSEC_EXECDIR", self.path("libexec"))
            .output()
            .expect("ipsec can be run")
    }
}

/// What a command that succeeds prints.
pub fn ok(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
