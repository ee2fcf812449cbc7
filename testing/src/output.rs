//! What a command in a host said, with assertions that show all of it when they fail.

use std::fmt;

/// The outcome of a finished command.
#[derive(Clone, Debug)]
pub struct Output {
    /// The host and command line, for messages.
    pub command: String,
    /// Exit status; 128 + N where signal N ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Asserts exit status 0 and gives the output back.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status == 0, "expected success of {self}");
        self
    }

    /// Asserts a certain exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert!(
            self.status == status,
            "expected exit status {status} of {self}"
        );
        self
    }

    /// Asserts any exit status but 0.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(self.status != 0, "expected failure of {self}");
        self
    }

    /// Asserts that standard output or error holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.contains(text),
            "expected {text:?} in the output of {self}"
        );
        self
    }

    /// Asserts that neither standard output nor error holds `text`.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(
            !self.contains(text),
            "unexpected {text:?} in the output of {self}"
        );
        self
    }

    /// Whether standard output or error holds `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// The lines of standard output.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (exit status {})\n--- stdout\n{}--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}
