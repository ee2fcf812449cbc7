//! `klips.ctl`: one line from the client, `ok` or `error: …` and then text from klipsd. Stands in for
//! `/proc/net/ipsec_*`, `/proc/sys/net/ipsec` and the ioctls of ipsecN.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use klips::{ProcCursor, ProcFile};

use super::peer;
use crate::host::{AttachError, Host};

/// Longest line taken.
const MAX_LINE: u64 = 256;
/// How long a client may take to write its line, or to read each part of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients served at the same time.
const MAX_CLIENTS: usize = 16;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `get NAME`
    Get(ProcFile),
    /// `attach ipsecN PHYSICAL [MTU]`
    Attach {
        /// ipsecN.
        device: String,
        /// The physical interface.
        physical: String,
        /// `overridemtu`.
        mtu: Option<u16>,
    },
    /// `detach ipsecN`
    Detach(String),
    /// `clear`
    Clear,
    /// `sysctl NAME`
    SysctlGet(String),
    /// `sysctl NAME VALUE`
    SysctlSet(String, u32),
}

/// Why a line was not done.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// No such command, or wrong arguments.
    #[error(
        "`{0}` is no command: get NAME, attach ipsecN INTERFACE [MTU], detach ipsecN, clear, sysctl NAME [VALUE]"
    )]
    Usage(String),
    /// `get` of something unknown.
    #[error(
        "no text `{0}`: there are ipsec_eroute, ipsec_spi, ipsec_spigrp, ipsec_tncfg, ipsec_version, ipsec_klipsdebug"
    )]
    NoText(String),
    /// A number that is none.
    #[error("`{0}` is no number that fits here")]
    Number(String),
    /// Attaching or detaching failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The core's switch table refused.
    #[error("{name}: {error}")]
    Sysctl {
        /// The switch.
        name: String,
        /// Why.
        error: klips::SysctlError,
    },
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// See [`CtlError`].
    pub fn parse(line: &str) -> Result<Self, CtlError> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let owned = |word: &str| word.to_owned();
        Ok(match *words.as_slice() {
            ["get", name] => {
                Self::Get(ProcFile::from_name(name).ok_or_else(|| CtlError::NoText(owned(name)))?)
            }
            ["attach", device, physical] => Self::Attach {
                device: owned(device),
                physical: owned(physical),
                mtu: None,
            },
            ["attach", device, physical, mtu] => Self::Attach {
                device: owned(device),
                physical: owned(physical),
                mtu: Some(number(mtu)?),
            },
            ["detach", device] => Self::Detach(owned(device)),
            ["clear"] => Self::Clear,
            ["sysctl", name] => Self::SysctlGet(owned(name)),
            ["sysctl", name, value] => Self::SysctlSet(owned(name), number(value)?),
            _ => return Err(CtlError::Usage(line.trim_end().to_owned())),
        })
    }
}

fn number<N: std::str::FromStr + TryFrom<u32>>(text: &str) -> Result<N, CtlError> {
    let bad = || CtlError::Number(text.to_owned());
    match text.strip_prefix("0x") {
        Some(digits) => {
            let value = u32::from_str_radix(digits, 16).map_err(|_| bad())?;
            N::try_from(value).map_err(|_| bad())
        }
        None => text.parse().map_err(|_| bad()),
    }
}

/// Serves until the process ends.
pub fn serve(host: &Arc<Host>, listener: &UnixListener) {
    let serving = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors, most likely: let some close.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if !peer::allowed(&stream) || serving.load(Ordering::Acquire) >= MAX_CLIENTS {
            continue;
        }
        serving.fetch_add(1, Ordering::AcqRel);
        let (host, counter) = (host.clone(), serving.clone());
        let spawned = std::thread::Builder::new()
            .name("klips.ctl".into())
            .spawn(move || {
                if let Err(error) = answer(&host, stream) {
                    tracing::debug!("klips.ctl: {error}");
                }
                counter.fetch_sub(1, Ordering::AcqRel);
            });
        if spawned.is_err() {
            serving.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn answer(host: &Arc<Host>, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_LINE)).read_line(&mut line)?;
    let done = Command::parse(&line).and_then(|command| match command {
        Command::Get(file) => Ok(Answer::Text(file)),
        Command::Attach {
            device,
            physical,
            mtu,
        } => {
            host.attach(&device, &physical, mtu)?;
            Ok(Answer::Done)
        }
        Command::Detach(device) => {
            host.detach(&device)?;
            Ok(Answer::Done)
        }
        Command::Clear => {
            host.clear();
            Ok(Answer::Done)
        }
        Command::SysctlGet(name) => match host.read().sysctl_get(&name) {
            Ok(value) => Ok(Answer::Value(value)),
            Err(error) => Err(CtlError::Sysctl { name, error }),
        },
        Command::SysctlSet(name, value) => match host.write().sysctl_set(&name, value) {
            Ok(()) => Ok(Answer::Done),
            Err(error) => Err(CtlError::Sysctl { name, error }),
        },
    });
    match done {
        Ok(Answer::Done) => stream.write_all(b"ok\n"),
        Ok(Answer::Value(value)) => stream.write_all(format!("ok\n{value}\n").as_bytes()),
        Ok(Answer::Text(file)) => text(host, &mut stream, file),
        Err(error) => stream.write_all(format!("error: {error}\n").as_bytes()),
    }
}

enum Answer {
    Done,
    Value(u32),
    Text(ProcFile),
}

/// Writes a table part by part; the tables are unlocked while the client reads.
fn text(host: &Host, stream: &mut UnixStream, file: ProcFile) -> io::Result<()> {
    let mut part = String::new();
    let _ = writeln!(part, "ok");
    let mut cursor = ProcCursor::default();
    let now = host.now();
    loop {
        let more = host
            .read()
            .proc(file, &mut cursor, now, &mut part)
            .map_err(io::Error::other)?;
        stream.write_all(part.as_bytes())?;
        part.clear();
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(
            Command::parse("get ipsec_eroute\n").unwrap(),
            Command::Get(ProcFile::Eroute)
        );
        assert_eq!(
            Command::parse("attach ipsec0 eth0 1400").unwrap(),
            Command::Attach {
                device: "ipsec0".into(),
                physical: "eth0".into(),
                mtu: Some(1400)
            }
        );
        assert_eq!(
            Command::parse("sysctl debug_esp 0xffffffff").unwrap(),
            Command::SysctlSet("debug_esp".into(), u32::MAX)
        );
        assert_eq!(Command::parse("clear").unwrap(), Command::Clear);
    }

    #[test]
    fn wrong_lines_say_what_is_right() {
        for (line, part) in [
            ("", "attach ipsecN"),
            ("get", "get NAME"),
            ("get ipsec_nothing", "ipsec_tncfg"),
            ("attach ipsec0 eth0 65536", "65536"),
            ("attach ipsec0 eth0 -1", "-1"),
            ("sysctl icmp 0xgg", "0xgg"),
        ] {
            let error = Command::parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
