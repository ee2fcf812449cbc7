//! `ipsec pf_key`: prints what KLIPS says on PF_KEY. See ipsec_pf_key(8).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use pfkey::client::Client;
use pfkey::{Direction, Header, Message, SaType, request};

use super::common::{self, Common, Failure};

/// Listens on PF_KEY and prints every message. Without a choice it registers for AH, ESP, IPIP and IPCOMP.
#[derive(Parser, Debug)]
struct Options {
    /// Register for AH
    #[arg(long)]
    ah: bool,
    /// Register for ESP
    #[arg(long)]
    esp: bool,
    /// Register for IPIP
    #[arg(long)]
    ipip: bool,
    /// Register for IPCOMP
    #[arg(long)]
    ipcomp: bool,
    /// Go to the background once registered, and write the process id into the file
    #[arg(long, value_name = "pidfile")]
    daemon: Option<String>,
    /// Print the messages in a file instead of listening
    #[arg(long, value_name = "file", conflicts_with = "daemon")]
    dumpfile: Option<String>,
    /// Listen on the registered socket that standard input is
    #[arg(long, hide = true)]
    inherit: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("pf_key", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    if let Some(file) = &options.dumpfile {
        let bytes = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
        return dump(&bytes);
    }
    if options.inherit {
        let stdin = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| e.to_string())?;
        return listen(&Client::from(stdin));
    }
    let mut client = common::connect()?;
    let chosen = [
        (SaType::Ah, options.ah),
        (SaType::Esp, options.esp),
        (SaType::IpIp, options.ipip),
        (SaType::Comp, options.ipcomp),
    ];
    let none = chosen.iter().all(|(_, on)| !on);
    for (satype, _) in chosen.into_iter().filter(|(_, on)| *on || none) {
        let reply = common::ask(
            &mut client,
            &options.common,
            |b, ids| request::register(b, ids, satype),
            |_| None,
        )?;
        print(reply.bytes());
    }
    match &options.daemon {
        Some(pidfile) => background(client, pidfile),
        None => listen(&client),
    }
}

/// Starts this command anew with the registered socket as its standard input.
fn background(client: Client, pidfile: &str) -> Result<(), Failure> {
    let me = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let child = Command::new(me)
        .args(["pf_key", "--inherit"])
        .stdin(Stdio::from(OwnedFd::from(client)))
        // Whoever started us may wait for the end of our standard error.
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot go to the background: {e}"))?;
    std::fs::write(pidfile, child.id().to_string()).map_err(|e| format!("{pidfile}: {e}"))
}

/// Prints what comes, until KLIPS stops or a signal ends us.
fn listen(client: &Client) -> Result<(), Failure> {
    loop {
        match client.recv_within(Duration::from_secs(3600)) {
            Ok(Some(reply)) => print(reply.bytes()),
            Ok(None) => {}
            Err(pfkey::client::ClientError::Closed) => {
                crate::print("ipsec pf_key: exited normally\n");
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn print(bytes: &[u8]) {
    crate::print(&text(bytes));
}

/// A message from KLIPS, or at least a request; else its header and what is wrong.
fn text(bytes: &[u8]) -> String {
    let error = match Message::new_checked(bytes, Direction::FromKlips) {
        Ok(message) => return super::print::message(&message),
        Err(error) => error,
    };
    match (Message::request(bytes), Header::parse(bytes)) {
        (Ok(message), _) => super::print::message(&message),
        (_, Ok(header)) => format!(
            "{} not decoded: {error}\n",
            super::print::header_line(&header)
        ),
        _ => format!(
            "ipsec pf_key: {} octets not decoded: {error}\n",
            bytes.len()
        ),
    }
}

/// Prints messages that follow one another.
fn dump(mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let header = Header::parse(bytes).map_err(|e| e.to_string())?;
        let len = usize::from(header.len) * 8;
        let message = bytes
            .get(..len)
            .filter(|m| !m.is_empty())
            .ok_or("the file ends amid a message")?;
        print(message);
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_text() {
        let mut buf = [0; 64];
        let bytes =
            request::register(&mut buf, request::Ids { seq: 5, pid: 6 }, SaType::Comp).unwrap();
        assert_eq!(
            text(bytes),
            "\npfkey v2 msg. type=7(register) seq=5 len=2 pid=6 errno=0 satype=10(ipcomp)\n"
        );
        assert!(text(&bytes[..8]).contains("8 octets not decoded"));
        let mut bad = bytes.to_vec();
        bad.extend([1, 0, 99, 0, 0, 0, 0, 0]);
        bad[4] = 3;
        assert!(
            text(&bad).contains("extension type 99 is unknown"),
            "{}",
            text(&bad)
        );
        assert!(dump(&bytes[..15]).is_err());
        assert!(dump(&[bytes, bytes].concat()).is_ok());
    }
}
