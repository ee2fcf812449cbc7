//! What the commands share: reading options, naming SAs, asking KLIPS, and saying what went wrong.

use std::fmt::Display;
use std::net::{IpAddr, ToSocketAddrs};

use clap::{Args, Parser};
use ipsec_types::{SaId, SaProto, Spi};
use pfkey::client::{Client, ClientError, Control, Reply, Table};
use pfkey::request::Ids;
use pfkey::{Error, Message};

/// Options that every command takes.
#[derive(Args, Debug, Default)]
pub struct Common {
    /// Put this after the command's name in messages
    #[arg(long, value_name = "label")]
    pub label: Option<String>,
    /// Show the PF_KEY messages on standard output
    #[arg(long)]
    pub debug: bool,
}

/// Why a command failed, as one sentence.
pub type Failure = String;

/// Reads `args` and runs `act`; answers the exit status: 0, or 1 after a message on standard error.
pub fn run<T: Parser>(
    name: &'static str,
    args: Vec<String>,
    common: impl Fn(&T) -> &Common,
    act: impl FnOnce(&T) -> Result<(), Failure>,
) -> u8 {
    let program = format!("ipsec {name}");
    let args = match options_from(args, 0) {
        Ok(args) => args,
        Err(why) => return complain(&program, why),
    };
    let parsed = T::command()
        .name(name)
        .bin_name(&program)
        .infer_long_args(true)
        .version(version())
        .arg(
            // Its words have taken its place by now; it is here for --help.
            clap::Arg::new("optionsfrom")
                .long("optionsfrom")
                .value_name("file")
                .help("Read options from the file, as if its words stood here"),
        )
        .try_get_matches_from(std::iter::once(program.clone()).chain(args))
        .and_then(|matches| T::from_arg_matches(&matches));
    let options = match parsed {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return u8::from(error.use_stderr());
        }
    };
    match act(&options) {
        Ok(()) => 0,
        Err(why) => match &common(&options).label {
            Some(label) => complain(&format!("{program} --label {label}"), why),
            None => complain(&program, why),
        },
    }
}

fn version() -> &'static str {
    // clap keeps the text for the life of the process, which asks once.
    Box::leak(format!("(Linux FreeS/WAN {})", crate::paths::version_code()).into_boxed_str())
}

fn complain(program: &str, why: impl Display) -> u8 {
    eprintln!("{program}: {why}");
    1
}

/// Replaces `--optionsfrom FILE` by the words of the file, which may name further files.
fn options_from(args: Vec<String>, depth: u8) -> Result<Vec<String>, Failure> {
    if depth > 10 {
        return Err("--optionsfrom files name each other more than 10 deep".into());
    }
    let mut out = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let file = match arg.strip_prefix("--optionsfrom=") {
            Some(file) => file.to_owned(),
            None if arg == "--optionsfrom" => args
                .next()
                .ok_or("--optionsfrom needs the name of a file")?,
            None => {
                out.push(arg);
                continue;
            }
        };
        let text =
            std::fs::read_to_string(&file).map_err(|e| format!("--optionsfrom {file}: {e}"))?;
        let words = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split_whitespace().map(str::to_owned))
            .collect();
        out.extend(options_from(words, depth + 1)?);
    }
    Ok(out)
}

/// The `--af`, `--edst`, `--spi`, `--proto` or `--said` that name an SA.
#[derive(Args, Debug)]
pub struct SaOptions {
    /// The SA in one word, such as tun0x1001@192.0.2.1
    #[arg(long, value_name = "said", conflicts_with_all = ["edst", "spi", "proto"])]
    pub said: Option<String>,
    /// Address family of the SA: inet or inet6
    #[arg(long, value_name = "inet|inet6", value_parser = ["inet", "inet6"])]
    pub af: Option<String>,
    /// The SA's effective destination
    #[arg(long, value_name = "address")]
    pub edst: Option<String>,
    /// The SA's security parameters index, 0x100 or more
    #[arg(long, value_name = "spi")]
    pub spi: Option<String>,
    /// The SA's protocol: ah, esp, tun or comp
    #[arg(long, value_name = "proto")]
    pub proto: Option<String>,
}

impl SaOptions {
    /// The SA, if one is named.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn get(&self) -> Result<Option<SaId>, Failure> {
        let said = match (&self.said, &self.edst, &self.spi, &self.proto) {
            (Some(said), ..) => said_of(said, self.af.as_deref())?,
            (None, None, None, None) => return Ok(None),
            (None, Some(edst), Some(spi), Some(proto)) => SaId::new(
                proto_of(proto)?,
                spi_of(spi)?,
                resolve("--edst", edst, self.af.as_deref())?,
            ),
            _ => {
                return Err(
                    "an SA is named by --edst, --spi and --proto together, or by --said".into(),
                );
            }
        };
        if said.spi.is_reserved() && !said.is_passthrough() {
            return Err(format!(
                "SPI {} of {said} is reserved: it must be 0x100 or more",
                said.spi
            ));
        }
        Ok(Some(said))
    }

    /// The SA, which must be named.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn need(&self) -> Result<SaId, Failure> {
        self.get()?
            .ok_or_else(|| "the SA is missing: give --said, or --edst, --spi and --proto".into())
    }
}

/// Reads an SA id, in which the destination may be a name.
pub fn said_of(text: &str, af: Option<&str>) -> Result<SaId, Failure> {
    let why = match text.parse::<SaId>() {
        Ok(said) if wrong_family(said.dst, af) && said.as_magic().is_none() => {
            return Err(format!(
                "{text}: its address is not of family {}",
                af.unwrap_or_default()
            ));
        }
        Ok(said) => return Ok(said),
        Err(ipsec_types::SaIdError::Address) => {
            "its address is neither numeric nor a known name".to_owned()
        }
        Err(error) => return Err(format!("{text}: {error}")),
    };
    let (head, host) = text.split_once('@').unwrap_or((text, ""));
    let dst = resolve("--said", host, af).map_err(|_| format!("{text}: {why}"))?;
    format!("{head}@{dst}")
        .parse()
        .map_err(|error| format!("{text}: {error}"))
}

/// Reads an SPI.
pub fn spi_of(text: &str) -> Result<Spi, Failure> {
    text.parse().map_err(|e| format!("--spi {text}: {e}"))
}

/// Reads the name of an SA's protocol.
pub fn proto_of(text: &str) -> Result<SaProto, Failure> {
    SaProto::from_name(text)
        .filter(|proto| *proto != SaProto::Int)
        .ok_or_else(|| format!("`{text}' is no protocol of SAs: expected ah, esp, tun or comp"))
}

fn wrong_family(addr: IpAddr, af: Option<&str>) -> bool {
    af.is_some_and(|af| (af == "inet6") != addr.is_ipv6())
}

/// Reads an address or looks a name up, in the family asked for.
pub fn resolve(option: &str, text: &str, af: Option<&str>) -> Result<IpAddr, Failure> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        if wrong_family(addr, af) {
            return Err(format!(
                "{option} {text}: not an address of family {}",
                af.unwrap_or_default()
            ));
        }
        return Ok(addr);
    }
    let found = (text, 0)
        .to_socket_addrs()
        .map_err(|e| format!("{option} {text}: {e}"))?;
    found
        .map(|a| a.ip())
        .find(|a| !wrong_family(*a, af))
        .ok_or_else(|| format!("{option} {text}: the name has no address of the family wanted"))
}

/// Writes one of KLIPS' tables to standard output.
pub fn show(table: Table) -> Result<(), Failure> {
    crate::print(&Control::find().table(table).map_err(|e| e.to_string())?);
    Ok(())
}

/// Connects to KLIPS.
pub fn connect() -> Result<Client, Failure> {
    Client::connect().map_err(|e| e.to_string())
}

/// Asks KLIPS one thing; `explain` puts an errno into words where the system's own say too little.
pub fn ask<F>(
    client: &mut Client,
    common: &Common,
    build: F,
    explain: impl Fn(u8) -> Option<String>,
) -> Result<Reply, Failure>
where
    F: for<'b> FnOnce(&'b mut [u8], Ids) -> Result<&'b [u8], Error>,
{
    let reply = client.call(|buf, ids| {
        let bytes = build(buf, ids)?;
        let message = Message::request(bytes)?;
        if common.debug {
            crate::print(&super::print::message(&message));
        }
        Ok(bytes)
    });
    let reply = reply.map_err(|error| match &error {
        ClientError::Refused { errno, .. } => explain(*errno).unwrap_or_else(|| error.to_string()),
        _ => error.to_string(),
    })?;
    if common.debug {
        crate::print(&super::print::message(
            &reply.message().map_err(|e| e.to_string())?,
        ));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("inner"));
        std::fs::write(&inner, "# not this\n--two\n 2").unwrap();
        std::fs::write(&outer, format!("--one --optionsfrom={}", inner.display())).unwrap();
        let args = [
            "--zero",
            "--optionsfrom",
            outer.to_str().unwrap(),
            "--three",
        ]
        .map(str::to_owned);
        assert_eq!(
            options_from(args.into(), 0).unwrap(),
            ["--zero", "--one", "--two", "2", "--three"]
        );
        std::fs::write(&inner, format!("--optionsfrom {}", inner.display())).unwrap();
        assert!(
            options_from(vec!["--optionsfrom".into(), inner.display().to_string()], 0).is_err()
        );
        assert!(options_from(vec!["--optionsfrom".into()], 0).is_err());
    }

    #[test]
    fn sas_are_named_in_every_form() {
        let want: SaId = "tun0x1001@127.0.0.1".parse().unwrap();
        for text in [
            "tun0x1001@127.0.0.1",
            "tun.1001@127.0.0.1",
            "tun4097@localhost",
        ] {
            assert_eq!(said_of(text, Some("inet")), Ok(want), "{text}");
        }
        assert!(
            said_of("tun:1001@::1", Some("inet"))
                .unwrap_err()
                .contains("family inet")
        );
        assert!(said_of("tun1001", None).unwrap_err().contains("no @"));
        assert!(resolve("--src", "::1", Some("inet")).is_err());
    }
}
