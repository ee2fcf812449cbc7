//! `ipsec mailkey`: a mail that asks whoever runs a zone to publish this host's key, as a script that sends it.

use super::showhostkey::default_key;
use crate::dns::Dns;
use crate::options::{self, Usage, Words};
use crate::paths::Paths;
use ipsec_dns::{Gateway, Name, Query, zone};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const USAGE: Usage = Usage {
    command: "ipsec mailkey",
    text: "\
Usage: ipsec mailkey --me my@address.tld --forward hostname.domain.tld
       ipsec mailkey --me my@address.tld --reverse 1.2.3.4
",
};
const PRECEDENCE: u16 = 10;

/// Where the records are to go.
enum Place {
    Forward(Name),
    Reverse(IpAddr),
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    options::run(&USAGE, args, parse, |(me, place)| write(me, place))
}

fn parse(words: &mut Words) -> Result<(String, Place), String> {
    let mut me = None;
    let mut place = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--me" => me = Some(mailbox(&words.value()?)?),
            "--forward" => {
                let name = Name::parse(&words.value()?).map_err(|error| error.to_string())?;
                place = Some(Place::Forward(name));
            }
            "--reverse" => {
                let text = words.value()?;
                let address = text
                    .parse()
                    .map_err(|_| format!("\"{text}\" is no IP address"))?;
                place = Some(Place::Reverse(address));
            }
            _ => return options::unknown(&word),
        }
    }
    match (me, place) {
        (Some(me), Some(place)) => Ok((me, place)),
        (None, _) => Err("--me must say who asks, and where the answer goes".into()),
        (_, None) => Err("one of --forward and --reverse must say where the key is to be".into()),
    }
}

/// A mail address that can't end a line or a shell's word.
fn mailbox(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
    match text.split_once('@') {
        Some((local, domain))
            if !local.is_empty() && !domain.is_empty() && text.chars().all(fine) =>
        {
            Ok(text.into())
        }
        _ => Err(format!("\"{}\" is no mail address", text.escape_default())),
    }
}

fn write(me: &str, place: &Place) -> Result<String, String> {
    let paths = Paths::get();
    let key = default_key(&paths.secrets())?;
    let (gateway, subject, purpose) = match place {
        Place::Forward(name) => (
            Gateway::Name(name.clone()),
            name.to_string(),
            format!(
                "so that I can use the name\n\n\t{name}\n\nfor initiator-only Opportunistic Encryption."
            ),
        ),
        Place::Reverse(address) => (
            Gateway::Address(*address),
            address.to_string(),
            format!("to enable full Opportunistic Encryption with the IP address\n\n\t{address}"),
        ),
    };
    let (name, to) = whom(paths, &gateway);
    let owner = Some(name.as_str());
    let records = [
        zone::key(owner, &key),
        zone::txt(owner, PRECEDENCE, &gateway, &key),
    ];
    let body = body(me, &name, &records, &purpose);
    let file = file(&subject)?;
    match to {
        Ok((zone, to)) => {
            save(&file, &script(me, &to, &subject, &body), 0o700)?;
            Ok(format!(
                "{zone} is run by {to}, says its SOA record.\nExecutable mail file saved to:  {}\nRead it, and run it to send the mail.\n",
                file.display()
            ))
        }
        Err(why) => {
            save(&file, &body, 0o600)?;
            Err(format!(
                "unable to find out who runs {name}: {why}\nNo executable file is made. Sample mail file saved to:  {}",
                file.display()
            ))
        }
    }
}

/// Under which name the records belong, behind aliases if there are any; and its zone, and who runs that.
fn whom(paths: &Paths, gateway: &Gateway) -> (Name, Result<(Name, String), String>) {
    let dns = match Dns::open(paths) {
        Ok(dns) => dns,
        Err(why) => return (gateway.owner(), Err(why)),
    };
    let query = Query::Keys(gateway.clone());
    let name = query.owner(&dns.ask(|resolver| resolver.lookup(query.clone())));
    let to = dns.ask(|resolver| resolver.administrator(&name));
    (name, to.map_err(|error| error.to_string()))
}

fn body(me: &str, name: &Name, records: &[String], purpose: &str) -> String {
    format!(
        "Dear administrator of the zone of {name},

my network security software, Linux FreeS/WAN (IPsec), needs a key to be
published in DNS. Please add these records, each on one line:

--DNS_RESOURCE_RECORDS--

{}

--DNS_RESOURCE_RECORDS--

{purpose}

Please keep blanks and quotation marks as they are: the key does not survive
a change of them. If your zone is signed with DNSSEC, sign it anew; if it is
not, please think about it: others can't be sure of a key that is not signed.

Opportunistic Encryption is described in RFC 4322.

Thank you for your help in securing the 'net!

\t{me}
\t(written by '{}' for {me})
",
        records.join("\n\n"),
        USAGE.command
    )
}

fn script(me: &str, to: &str, subject: &str, body: &str) -> String {
    format!(
        "#!/bin/sh
# Sends the mail below. Change this line to send it to someone else.
contact_email={to}

{{
cat <<HEAD
To: $contact_email
Reply-To: {me}
Subject: DNS records for Opportunistic Encryption ({subject})

HEAD
cat <<'BODY'
{body}BODY
}} | /usr/sbin/sendmail -t
"
    )
}

fn file(subject: &str) -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .ok_or("HOME is not set, so there is no place for the file")?;
    // A name has no slash that leads elsewhere: RFC 2317's stay in the file's name as underscores.
    Ok(PathBuf::from(home).join(format!("OE_mail_{}", subject.replace('/', "_"))))
}

fn save(file: &PathBuf, text: &str, mode: u32) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
    let _ = std::fs::remove_file(file);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .map_err(fail)?;
    out.write_all(text.as_bytes()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_a_shell_would_run_are_refused() {
        assert!(mailbox("me@example.com").is_ok());
        for bad in [
            "me",
            "@example.com",
            "a b@c",
            "a@b;rm",
            "a@b\nTo: x",
            "$(x)@y",
        ] {
            assert!(mailbox(bad).is_err(), "{bad}");
        }
    }
}
