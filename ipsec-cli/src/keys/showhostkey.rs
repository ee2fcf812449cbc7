//! `ipsec showhostkey`: the public half of this host's key, as ipsec.conf, DNS and other programs want it.

use super::hostname;
use crate::paths::{Paths, VERSION};
use ipsec_keys::secrets::{Entry, Secret};
use ipsec_keys::{Id, KeyError, PublicKey, Secrets};
use std::path::{Path, PathBuf};

const ME: &str = "ipsec showhostkey";
const USAGE: &str = "\
Usage: ipsec showhostkey [--file secrets] [--left] [--right] [--txt gateway] [--key] [--id id]
                         [--dhclient] [--pem]
";

/// Longest string of a TXT record (RFC 1035 section 3.3).
const TXT_STRING: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Left,
    Right,
    Key,
    Txt(String),
    Dhclient,
    Pem,
}

struct Options {
    format: Format,
    file: PathBuf,
    id: Option<String>,
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
    match show(&options) {
        Ok(text) => {
            crate::print(&text);
            0
        }
        Err(message) => {
            eprintln!("{ME}: {message}");
            1
        }
    }
}

fn parse(args: Vec<String>) -> Result<Option<Options>, String> {
    let mut format = None;
    let mut file = Paths::get().secrets();
    let mut id = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("option {arg} needs a value"))
        };
        let chosen = match arg.as_str() {
            "--left" => Format::Left,
            "--right" => Format::Right,
            "--key" => Format::Key,
            "--txt" => Format::Txt(value()?),
            "--dhclient" => Format::Dhclient,
            "--pem" => Format::Pem,
            "--file" => {
                file = value()?.into();
                continue;
            }
            "--id" => {
                id = Some(value()?);
                continue;
            }
            "--help" => {
                crate::print(USAGE);
                return Ok(None);
            }
            "--version" => {
                crate::print(&format!("{ME} {VERSION}\n"));
                return Ok(None);
            }
            _ => return Err(format!("unknown option `{arg}'")),
        };
        if format.replace(chosen).is_some() {
            return Err(
                "only one of --left, --right, --key, --txt, --dhclient and --pem can be given"
                    .into(),
            );
        }
    }
    let format =
        format.ok_or("must specify --left, --right, --key, --txt gateway, --dhclient or --pem")?;
    if let Format::Txt(gateway) = &format
        && !gateway.starts_with('@')
        && gateway.parse::<std::net::IpAddr>().is_err()
    {
        return Err(format!(
            "gateway must be @FQDN or an IP address, not \"{gateway}\""
        ));
    }
    Ok(Some(Options { format, file, id }))
}

fn show(options: &Options) -> Result<String, String> {
    let file = &options.file;
    if !file.exists() {
        return Err(format!(
            "no file \"{}\": make a key with ipsec newhostkey --output {0}",
            file.display()
        ));
    }
    let (secrets, problems) = Secrets::load(file);
    for problem in problems {
        eprintln!("{ME}: {problem}");
    }
    let (entry, public) = choose(&secrets, options)?;
    let comment = comment_of(Path::new(&*entry.place.file), &public);
    let host = comment
        .as_deref()
        .and_then(|c| c.split_whitespace().nth(4))
        .map_or_else(hostname, str::to_string);
    let head = comment.map_or(String::new(), |c| match options.format {
        Format::Left | Format::Right => format!("\t{c}\n"),
        Format::Pem => String::new(),
        _ => format!("{c}\n"),
    });
    let line = line(&options.format, &public, &host).map_err(|error| error.to_string())?;
    Ok(head + &line)
}

/// The one entry asked for: that of `--id`, else the one without indices, else the only one there is.
fn choose<'a>(secrets: &'a Secrets, options: &Options) -> Result<(&'a Entry, PublicKey), String> {
    let wanted = match &options.id {
        Some(id) => Some(Id::parse(id).map_err(|e| e.to_string())?),
        None => None,
    };
    let keys: Vec<(&Entry, PublicKey)> = secrets
        .entries()
        .iter()
        .filter_map(|e| match &e.secret {
            Secret::Rsa(key) => Some((e, key.public().clone())),
            Secret::Psk(_) => None,
        })
        .collect();
    let (name, mut fitting): (String, Vec<_>) = match &wanted {
        Some(id) => (
            format!("\"{id}\""),
            keys.iter()
                .filter(|(e, _)| e.indices.iter().any(|i| i.same(id)))
                .cloned()
                .collect(),
        ),
        None => (
            "default".into(),
            keys.iter()
                .filter(|(e, _)| e.indices.is_empty())
                .cloned()
                .collect(),
        ),
    };
    if wanted.is_none() && fitting.is_empty() && keys.len() == 1 {
        fitting = keys;
    }
    match fitting.len() {
        1 => fitting.pop().ok_or_else(String::new),
        0 => Err(format!(
            "no {name} RSA key in \"{}\": make one with ipsec newhostkey --output, or name another with --id",
            options.file.display()
        )),
        _ => Err(format!(
            "multiple {name} keys found in \"{}\": remove all but one, or choose with --id",
            options.file.display()
        )),
    }
}

/// The comment `# RSA 2192 bits   host   date` above a key, by its `#pubkey=` line.
fn comment_of(file: &Path, public: &PublicKey) -> Option<String> {
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).ok()?);
    let wanted = format!("#pubkey={}", public.to_text());
    let mut comment = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("# RSA ") {
            comment = Some(line.to_string());
        } else if line == wanted {
            return comment;
        }
    }
    None
}

fn line(format: &Format, public: &PublicKey, host: &str) -> Result<String, KeyError> {
    Ok(match format {
        Format::Left => format!("\tleftrsasigkey={}\n", public.to_text()),
        Format::Right => format!("\trightrsasigkey={}\n", public.to_text()),
        Format::Key => format!("{host}.\tIN\tKEY\t0x4200 4 1 {}\n", public.to_base64()),
        Format::Txt(gateway) => format!("\tIN\tTXT\t{}\n", txt(gateway, public)),
        Format::Pem => public.to_pem()?,
        Format::Dhclient => format!(
            "option oe-key code 159 = string;\noption oe-gateway code 160 = ip-address;\nsend oe-key = \"0x4200 4 1 {}\";\n",
            public.to_base64()
        ),
    })
}

/// `X-IPsec-Server(10)=gateway key` in strings that a TXT record can hold. The gateway stands in one string with the
/// start of the key only if all of it fits.
fn txt(gateway: &str, public: &PublicKey) -> String {
    let head = format!("X-IPsec-Server(10)={gateway}");
    let key = format!(" {}", public.to_base64());
    let strings: Vec<String> = if head.len() + key.len() <= TXT_STRING {
        vec![head + &key]
    } else {
        core::iter::once(head)
            .chain(
                key.as_bytes()
                    .chunks(TXT_STRING)
                    .map(|c| String::from_utf8_lossy(c).into_owned()),
            )
            .collect()
    };
    strings
        .iter()
        .map(|s| format!("\"{s}\""))
        .collect::<Vec<_>>()
        .join(" ")
}
