//! `ipsec rsasigkey`: makes an RSA key for signatures and prints it in the form that ipsec.secrets takes.

use super::{DeviceRng, date, hostname};
use crate::options::{self, Usage, Words};
use ipsec_keys::secrets::Secret;
use ipsec_keys::{DEFAULT_BITS, PrivateKey};
use std::io::Read;
use zeroize::Zeroizing;

const USAGE: Usage = Usage {
    command: "ipsec rsasigkey",
    text: "\
Usage:\trsasigkey [--verbose] [--random device] [--hostname host] [nbits]
\tor
\trsasigkey [--verbose] [--hostname host] --oldkey filename
",
};

#[derive(Default)]
struct Options {
    verbose: bool,
    random: Option<String>,
    oldkey: Option<String>,
    hostname: Option<String>,
    bits: Option<String>,
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    options::run(&USAGE, args, parse, make)
}

fn parse(words: &mut Words) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--verbose" => options.verbose = true,
            "--random" => options.random = Some(words.value()?),
            "--oldkey" => options.oldkey = Some(words.value()?),
            "--hostname" => options.hostname = Some(words.value()?),
            // The number of prime tests and the choice of modulus for d are fixed here.
            "--rounds" => drop(words.value()?),
            "--noopt" => {}
            _ if word.starts_with('-') => return options::unknown(&word),
            _ if options.bits.is_some() => return Err("one number of bits is enough".into()),
            _ => options.bits = Some(word),
        }
    }
    match (&options.bits, &options.oldkey) {
        (Some(_), Some(_)) => Err("an old key has its number of bits already".into()),
        _ => Ok(options),
    }
}

fn make(options: &Options) -> Result<Zeroizing<String>, String> {
    let host = options.hostname.clone().unwrap_or_else(hostname);
    if host.contains(|c: char| c.is_control() || c == ' ') {
        return Err("bad host name".into());
    }
    let key = match (&options.oldkey, &options.bits) {
        (Some(file), _) => old_key(file)?,
        (None, Some(bits)) => {
            let number: usize = bits
                .parse()
                .map_err(|_| format!("invalid bit count ({bits})"))?;
            generate(number, options.random.as_deref(), options.verbose)?
        }
        (None, None) => generate(DEFAULT_BITS, options.random.as_deref(), options.verbose)?,
    };
    Ok(key.to_secret_lines(&host, &date()))
}

/// Makes a key, telling on standard error what goes on if wanted.
pub fn generate(bits: usize, device: Option<&str>, verbose: bool) -> Result<PrivateKey, String> {
    if verbose {
        eprintln!(
            "getting random bytes from {}...",
            device.unwrap_or("the kernel")
        );
        eprintln!(
            "looking for two primes of {} bits (can take a while)...",
            bits / 2
        );
    }
    let made = match device {
        Some(name) => PrivateKey::generate(&mut DeviceRng::open(name, USAGE.command)?, bits),
        None => PrivateKey::generate(&mut rsa::rand_core::UnwrapErr(rand::rngs::SysRng), bits),
    };
    made.map_err(|e| e.to_string())
}

/// Reads a key back: whole entries, or only the lines that this command prints.
fn old_key(file: &str) -> Result<PrivateKey, String> {
    let mut text = Zeroizing::new(String::new());
    let read = match file {
        "-" => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut f| f.read_to_string(&mut text)),
    };
    read.map_err(|e| format!("unable to open file `{file}' ({e})"))?;
    let whole = if text.contains('{') {
        text
    } else {
        Zeroizing::new(format!(": RSA {{\n{}\n\t}}\n", *text))
    };
    let (secrets, problems) = ipsec_keys::Secrets::parse(file, &whole);
    let mut keys = secrets.entries().iter().filter_map(|e| match &e.secret {
        Secret::Rsa(key) => Some((**key).clone()),
        Secret::Psk(_) => None,
    });
    keys.next_back().ok_or_else(|| match problems.first() {
        Some(problem) => format!("{problem}"),
        None => "old key missing or incomplete".into(),
    })
}
