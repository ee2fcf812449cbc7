//! `ipsec newhostkey`: a new RSA key as a whole entry of ipsec.secrets.

use super::{date, hostname, rsasigkey};
use crate::paths::{Paths, VERSION};
use ipsec_keys::DEFAULT_BITS;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const ME: &str = "ipsec newhostkey";
const USAGE: &str = "\
Usage: ipsec newhostkey --output filename [--bits n] [--quiet] [--hostname host]
         or
       ipsec newhostkey --output - [--bits n] [--quiet] [--verbose] [--hostname host] >filename
";

struct Options {
    output: Option<String>,
    bits: usize,
    verbose: bool,
    hostname: Option<String>,
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    let options = match parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => return 0,
        Err(message) => {
            eprintln!("{ME}: {message}");
            return 2;
        }
    };
    match make(&options) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            1
        }
    }
}

fn parse(args: Vec<String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        output: None,
        bits: DEFAULT_BITS,
        verbose: false,
        hostname: None,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("option {arg} needs a value"))
        };
        match arg.as_str() {
            "--output" => options.output = Some(value()?),
            "--bits" => {
                let bits = value()?;
                options.bits = bits
                    .parse()
                    .map_err(|_| format!("invalid bit count ({bits})"))?;
            }
            "--hostname" => options.hostname = Some(value()?),
            "--quiet" => options.verbose = false,
            "--verbose" => options.verbose = true,
            "--help" => {
                crate::print(USAGE);
                return Ok(None);
            }
            "--version" => {
                crate::print(&format!("{ME} {VERSION}\n"));
                return Ok(None);
            }
            _ => return Err(format!("unknown option `{arg}'\n{USAGE}")),
        }
    }
    Ok(Some(options))
}

fn make(options: &Options) -> Result<(), String> {
    let secrets = Paths::get().secrets();
    let output = match &options.output {
        Some(output) => PathBuf::from(output),
        None if !secrets.exists() => secrets,
        None => {
            return Err(format!(
                "{ME}: no --output specification included, and {} exists",
                secrets.display()
            ));
        }
    };
    let key = rsasigkey::generate(options.bits, None, options.verbose)?;
    let host = options.hostname.clone().unwrap_or_else(hostname);
    let entry = ipsec_keys::secrets::secret_entry(&[], &key, &host, &date());
    if output == Path::new("-") {
        crate::print(&entry);
        return Ok(());
    }
    append(&output, &entry).map_err(|e| format!("{ME}: cannot write {}: {e}", output.display()))
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
            "{ME}: WARNING: file `{}' exists, appending to it",
            path.display()
        );
    }
    file.write_all(entry.as_bytes())?;
    file.sync_all()
}
