//! `ipsec rsasigkey`: makes an RSA key for signatures and prints it in the form that ipsec.secrets takes.

use super::{DeviceRng, date, hostname};
use crate::paths::VERSION;
use ipsec_keys::PrivateKey;
use ipsec_keys::secrets::Secret;
use std::io::Read;
use zeroize::Zeroizing;

const ME: &str = "ipsec rsasigkey";
const USAGE: &str = "\
Usage:\trsasigkey [--verbose] [--random device] [--hostname host] nbits
\tor
\trsasigkey [--verbose] [--hostname host] --oldkey filename
";

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
    let options = match parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => return 0,
        Err(message) => {
            eprint!("{message}{USAGE}");
            return 2;
        }
    };
    match make(&options) {
        Ok(text) => {
            crate::print(&text);
            0
        }
        Err(message) => {
            eprintln!("{message}");
            1
        }
    }
}

fn parse(args: Vec<String>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    let needs = |option: &str| format!("{ME}: {option} needs a value\n");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--verbose" => options.verbose = true,
            "--random" => options.random = Some(args.next().ok_or_else(|| needs(&arg))?),
            "--oldkey" => options.oldkey = Some(args.next().ok_or_else(|| needs(&arg))?),
            "--hostname" => options.hostname = Some(args.next().ok_or_else(|| needs(&arg))?),
            // The number of prime tests and the choice of modulus for d are fixed here.
            "--rounds" => drop(args.next().ok_or_else(|| needs(&arg))?),
            "--noopt" => {}
            "--help" => {
                crate::print(USAGE);
                return Ok(None);
            }
            "--version" => {
                crate::print(&format!("{ME} {VERSION}\n"));
                return Ok(None);
            }
            _ if arg.starts_with('-') => return Err(format!("{ME}: unknown option `{arg}'\n")),
            _ if options.bits.is_some() => return Err(String::new()),
            _ => options.bits = Some(arg),
        }
    }
    if options.bits.is_some() == options.oldkey.is_some() {
        Err(String::new())
    } else {
        Ok(Some(options))
    }
}

fn make(options: &Options) -> Result<Zeroizing<String>, String> {
    let host = options.hostname.clone().unwrap_or_else(hostname);
    if host.contains(|c: char| c.is_control() || c == ' ') {
        return Err(format!("{ME}: bad host name"));
    }
    let key = match (&options.oldkey, &options.bits) {
        (Some(file), _) => old_key(file)?,
        (None, Some(bits)) => {
            let number: usize = bits
                .parse()
                .map_err(|_| format!("{ME}: invalid bit count ({bits})"))?;
            generate(number, options.random.as_deref(), options.verbose)?
        }
        (None, None) => return Err(USAGE.into()),
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
        Some(name) => PrivateKey::generate(&mut DeviceRng::open(name, ME)?, bits),
        None => PrivateKey::generate(&mut rsa::rand_core::UnwrapErr(rand::rngs::SysRng), bits),
    };
    made.map_err(|e| format!("{ME}: {e}"))
}

/// Reads a key back: whole entries, or only the lines that this command prints.
fn old_key(file: &str) -> Result<PrivateKey, String> {
    let mut text = Zeroizing::new(String::new());
    let read = match file {
        "-" => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut f| f.read_to_string(&mut text)),
    };
    read.map_err(|e| format!("{ME}: unable to open file `{file}' ({e})"))?;
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
        Some(problem) => format!("{ME}: {problem}"),
        None => format!("{ME}: old key missing or incomplete"),
    })
}
