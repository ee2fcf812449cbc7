//! `ipsec newhostkey`: a new RSA key as a whole entry of ipsec.secrets.

use super::{date, hostname, rsasigkey};
use crate::options::{self, Usage, Words};
use crate::paths::Paths;
use ipsec_keys::DEFAULT_BITS;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const USAGE: Usage = Usage {
    command: "ipsec newhostkey",
    text: "\
Usage: ipsec newhostkey --output filename [--bits n] [--quiet] [--hostname host]
         or
       ipsec newhostkey --output - [--bits n] [--quiet] [--verbose] [--hostname host] >filename
",
};

struct Options {
    output: Option<String>,
    bits: usize,
    verbose: bool,
    hostname: Option<String>,
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    options::run(&USAGE, args, parse, make)
}

fn parse(words: &mut Words) -> Result<Options, String> {
    let mut options = Options {
        output: None,
        bits: DEFAULT_BITS,
        verbose: false,
        hostname: None,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--output" => options.output = Some(words.value()?),
            "--bits" => {
                let bits = words.value()?;
                options.bits = bits
                    .parse()
                    .map_err(|_| format!("invalid bit count ({bits})"))?;
            }
            "--hostname" => options.hostname = Some(words.value()?),
            "--quiet" => options.verbose = false,
            "--verbose" => options.verbose = true,
            _ => return options::unknown(&word),
        }
    }
    Ok(options)
}

fn make(options: &Options) -> Result<Zeroizing<String>, String> {
    let secrets = Paths::get().secrets();
    let output = match &options.output {
        Some(output) => PathBuf::from(output),
        None if !secrets.exists() => secrets,
        None => {
            return Err(format!(
                "no --output specification included, and {} exists",
                secrets.display()
            ));
        }
    };
    let key = rsasigkey::generate(options.bits, None, options.verbose)?;
    let host = options.hostname.clone().unwrap_or_else(hostname);
    let entry = ipsec_keys::secrets::secret_entry(&[], &key, &host, &date());
    if output == Path::new("-") {
        return Ok(entry);
    }
    let appended = append(&output, &entry);
    appended
        .map(|()| Zeroizing::default())
        .map_err(|e| format!("cannot write {}: {e}", output.display()))
}

/// Appends to a file that none but its owner can read. What was there stays, as a key in use must not be lost.
fn append(path: &Path, entry: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.len() > 0 {
        eprintln!(
            "{}: WARNING: file `{}' exists, appending to it",
            USAGE.command,
            path.display()
        );
    }
    file.write_all(entry.as_bytes())?;
    file.sync_all()
}
