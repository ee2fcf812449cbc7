//! `ipsec showhostkey`: the public half of this host's key, as ipsec.conf, DNS and other programs want it.

use super::hostname;
use crate::options::{self, Usage, Words};
use crate::paths::Paths;
use ipsec_dns::{Gateway, zone};
use ipsec_keys::secrets::{Entry, Secret};
use ipsec_keys::{Id, KeyError, PublicKey, Secrets};
use std::path::{Path, PathBuf};

const USAGE: Usage = Usage {
    command: "ipsec showhostkey",
    text: "\
Usage: ipsec showhostkey [--file secrets] [--left] [--right] [--txt gateway] [--key] [--id id]
                         [--ipseckey [--gateway gateway]] [--precedence number] [--dhclient] [--pem]
",
};

/// Where a record is not told otherwise.
const PRECEDENCE: u16 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Left,
    Right,
    Key,
    Txt(Gateway),
    IpsecKey,
    Dhclient,
    Pem,
}

struct Options {
    format: Format,
    file: PathBuf,
    id: Option<String>,
    /// Of an IPSECKEY record.
    gateway: Option<Gateway>,
    precedence: u16,
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    options::run(&USAGE, args, parse, show)
}

fn parse(words: &mut Words) -> Result<Options, String> {
    let mut format = None;
    let mut file = Paths::get().secrets();
    let mut id = None;
    let mut gateway = None;
    let mut precedence = None;
    while let Some(word) = words.next() {
        let chosen = match word.as_str() {
            "--left" => Format::Left,
            "--right" => Format::Right,
            "--key" => Format::Key,
            "--txt" => Format::Txt(to_gateway(&words.value()?)?),
            "--ipseckey" => Format::IpsecKey,
            "--dhclient" => Format::Dhclient,
            "--pem" => Format::Pem,
            "--file" => {
                file = words.value()?.into();
                continue;
            }
            "--id" => {
                id = Some(words.value()?);
                continue;
            }
            "--gateway" => {
                gateway = Some(to_gateway(&words.value()?)?);
                continue;
            }
            "--precedence" => {
                let text = words.value()?;
                precedence = Some(text.parse::<u16>().map_err(|_| {
                    format!("precedence must be a number from 0 to 65535, not \"{text}\"")
                })?);
                continue;
            }
            _ => return options::unknown(&word),
        };
        if format.replace(chosen).is_some() {
            return Err(
                "only one of --left, --right, --key, --txt, --ipseckey, --dhclient and --pem can be given"
                    .into(),
            );
        }
    }
    let format = format.ok_or(
        "must specify --left, --right, --key, --txt gateway, --ipseckey, --dhclient or --pem",
    )?;
    if gateway.is_some() && format != Format::IpsecKey {
        return Err("--gateway belongs to --ipseckey".into());
    }
    if precedence.is_some() && !matches!(format, Format::IpsecKey | Format::Txt(_)) {
        return Err("--precedence belongs to --ipseckey or --txt".into());
    }
    if format == Format::IpsecKey && precedence.is_some_and(|p| p > u16::from(u8::MAX)) {
        return Err("the precedence of an IPSECKEY record lies between 0 and 255".into());
    }
    Ok(Options {
        format,
        file,
        id,
        gateway,
        precedence: precedence.unwrap_or(PRECEDENCE),
    })
}

fn to_gateway(text: &str) -> Result<Gateway, String> {
    Gateway::parse(text).map_err(|error| format!("gateway must be @FQDN or an IP address: {error}"))
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
        eprintln!("{}: {problem}", USAGE.command);
    }
    let (entry, public) = choose(&secrets, options.id.as_deref(), file)?;
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
    let line = line(options, &public, &host).map_err(|error| error.to_string())?;
    Ok(head + &line)
}

/// The one entry asked for: that of `--id`, else the one without indices, else the only one there is.
fn choose<'a>(
    secrets: &'a Secrets,
    id: Option<&str>,
    file: &Path,
) -> Result<(&'a Entry, PublicKey), String> {
    let wanted = match id {
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
            file.display()
        )),
        _ => Err(format!(
            "multiple {name} keys found in \"{}\": remove all but one, or choose with --id",
            file.display()
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

fn line(options: &Options, public: &PublicKey, host: &str) -> Result<String, KeyError> {
    Ok(match &options.format {
        Format::Left => format!("\tleftrsasigkey={}\n", public.to_text()),
        Format::Right => format!("\trightrsasigkey={}\n", public.to_text()),
        Format::Key => zone::key(Some(host), public) + "\n",
        Format::Txt(gateway) => zone::txt(None, options.precedence, gateway, public) + "\n",
        Format::IpsecKey => {
            let precedence = u8::try_from(options.precedence).unwrap_or(u8::MAX);
            zone::ipseckey(Some(host), precedence, options.gateway.as_ref(), public) + "\n"
        }
        Format::Pem => public.to_pem()?,
        Format::Dhclient => format!(
            "option oe-key code 159 = string;\noption oe-gateway code 160 = ip-address;\nsend oe-key = \"0x4200 4 1 {}\";\n",
            public.to_base64()
        ),
    })
}

/// This host's public key, for other commands: the one that `showhostkey` shows without options.
pub(crate) fn default_key(file: &Path) -> Result<PublicKey, String> {
    if !file.exists() {
        return Err(format!(
            "no file \"{}\": make a key with ipsec newhostkey --output {0}",
            file.display()
        ));
    }
    let (secrets, _) = Secrets::load(file);
    choose(&secrets, None, file).map(|(_, key)| key)
}
