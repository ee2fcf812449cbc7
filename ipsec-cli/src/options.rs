//! Commands with few options: their words read one after the other, values behind options, `--help` and `--version`, exit status.

use crate::paths::VERSION;

/// What a command is called in messages, and how it is used.
pub struct Usage {
    pub command: &'static str,
    pub text: &'static str,
}

/// The words of a command line.
pub struct Words {
    words: std::vec::IntoIter<String>,
    last: String,
}

impl Words {
    /// What stands behind the word that came last, which is an option.
    pub fn value(&mut self) -> Result<String, String> {
        self.words
            .next()
            .ok_or_else(|| format!("option {} needs a value", self.last))
    }
}

impl Iterator for Words {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.last = self.words.next()?;
        Some(self.last.clone())
    }
}

/// The message about a word that no command knows.
pub fn unknown<T>(word: &str) -> Result<T, String> {
    Err(format!("unknown option `{word}'"))
}

/// Reads the words, acts, and prints what comes of it. Answers the exit status: 1 if the act failed, 2 for a mistake in the words.
pub fn run<T, S: AsRef<str>>(
    usage: &Usage,
    args: Vec<String>,
    parse: impl FnOnce(&mut Words) -> Result<T, String>,
    act: impl FnOnce(&T) -> Result<S, String>,
) -> u8 {
    let Usage { command, text } = usage;
    if args.iter().any(|arg| arg == "--help") {
        crate::print(text);
        return 0;
    }
    if args.iter().any(|arg| arg == "--version") {
        crate::print(&format!("{command} {VERSION}\n"));
        return 0;
    }
    let mut words = Words {
        words: args.into_iter(),
        last: String::new(),
    };
    let options = match parse(&mut words) {
        Ok(options) => options,
        Err(message) => {
            eprint!("{command}: {message}\n{text}");
            return 2;
        }
    };
    match act(&options) {
        Ok(said) => {
            crate::print(said.as_ref());
            0
        }
        Err(message) => {
            eprintln!("{command}: {message}");
            1
        }
    }
}
