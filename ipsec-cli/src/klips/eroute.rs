//! `ipsec eroute`: shows and changes the eroutes, and the inbound policy of SAs. See ipsec_eroute(8).

use clap::{ArgGroup, Parser};
use ipsec_types::{Selector, Subnet};
use pfkey::client::Table;
use pfkey::{SaFlags, errno, request};

use super::common::{self, Common, Failure, SaOptions};

/// Shows and changes what is to be done with which packets. Without options it lists all eroutes.
#[derive(Parser, Debug)]
#[command(group(ArgGroup::new("action").args(["add", "addin", "replace", "del", "clear"])))]
struct Options {
    /// Add an eroute
    #[arg(long)]
    add: bool,
    /// Set the inbound policy of an SA: what may come out of it
    #[arg(long)]
    addin: bool,
    /// Add an eroute, in the place of one that exists
    #[arg(long)]
    replace: bool,
    /// Delete an eroute
    #[arg(long)]
    del: bool,
    /// Delete all eroutes
    #[arg(long)]
    clear: bool,
    /// Address family of --src and --dst: inet or inet6
    #[arg(long, value_name = "inet|inet6", value_parser = ["inet", "inet6"])]
    eraf: Option<String>,
    /// Source net
    #[arg(long, value_name = "net/bits|net/mask")]
    src: Option<String>,
    /// Destination net
    #[arg(long, value_name = "net/bits|net/mask")]
    dst: Option<String>,
    /// Protocol, by number or name; all without
    #[arg(long, value_name = "protocol")]
    transport_proto: Option<String>,
    /// Source port, by number or name; all without
    #[arg(long, value_name = "port")]
    src_port: Option<String>,
    /// Destination port, by number or name; all without
    #[arg(long, value_name = "port")]
    dst_port: Option<String>,
    #[command(flatten)]
    sa: SaOptions,
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("eroute", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    if options.clear {
        let mut client = common::connect()?;
        return common::ask(&mut client, &options.common, request::clear_flows, |_| None).map(drop);
    }
    if !(options.add || options.addin || options.replace || options.del) {
        if options.src.is_none() && options.dst.is_none() && options.sa.get()?.is_none() {
            return common::show(Table::Eroute);
        }
        return Err(
            "what to do is missing: one of --add, --addin, --replace, --del and --clear".into(),
        );
    }
    let flow = flow(options)?;
    if options.del {
        let mut client = common::connect()?;
        let gone = |e| (e == errno::ENOENT).then(|| format!("there is no eroute {flow} to delete"));
        return common::ask(
            &mut client,
            &options.common,
            |b, ids| request::del_flow(b, ids, &flow),
            gone,
        )
        .map(drop);
    }
    let said = options.sa.need()?;
    let flags = match () {
        () if options.addin => SaFlags::INFLOW,
        () if options.replace => SaFlags::REPLACEFLOW,
        () => SaFlags::NONE,
    };
    let explain = |e| match e {
        errno::EEXIST => Some(format!(
            "an eroute {flow} exists: delete it first, or use --replace"
        )),
        errno::ENOENT | errno::ESRCH => Some(format!(
            "there is no SA {said}: make it first with `ipsec spi'"
        )),
        errno::ENOKEY => Some(format!(
            "the group of {said} has neither ESP nor AH, so packets would leave in the clear: \
             add one with `ipsec spi' and `ipsec spigrp' first"
        )),
        _ => None,
    };
    let mut client = common::connect()?;
    common::ask(
        &mut client,
        &options.common,
        |b, ids| request::add_flow(b, ids, &flow, said, flags),
        explain,
    )
    .map(drop)
}

fn flow(options: &Options) -> Result<Selector, Failure> {
    let proto = match &options.transport_proto {
        Some(text) => protocol(text)?,
        None => 0,
    };
    let (sport, dport) = (
        port("--src-port", options.src_port.as_deref())?,
        port("--dst-port", options.dst_port.as_deref())?,
    );
    let flow = Selector {
        src: net("--src", options.src.as_deref(), options.eraf.as_deref())?,
        dst: net("--dst", options.dst.as_deref(), options.eraf.as_deref())?,
        proto,
        sport,
        dport,
    };
    if (sport != 0 || dport != 0) && !ipsec_types::ProtoPort::has_ports(proto) {
        return Err(
            "--src-port and --dst-port need a --transport-proto that has ports, such as tcp or udp"
                .into(),
        );
    }
    if !flow.is_sane() {
        return Err("--src and --dst must be of one address family".into());
    }
    Ok(flow)
}

fn net(option: &str, text: Option<&str>, af: Option<&str>) -> Result<Subnet, Failure> {
    let text = text.ok_or_else(|| format!("{option} is missing"))?;
    let net: Subnet = match (text.parse(), text.split_once('/')) {
        (Ok(net), _) => net,
        (Err(ipsec_types::SubnetError::Address), None) => {
            Subnet::host(common::resolve(option, text, af)?)
        }
        (Err(e), _) => return Err(format!("{option} {text}: {e}")),
    };
    if af.is_some_and(|af| (af == "inet6") != net.addr().is_ipv6()) {
        return Err(format!(
            "{option} {text}: not of the family that --eraf says"
        ));
    }
    Ok(net)
}

/// A number: decimal, `0x` hexadecimal, or octal with a leading zero.
fn number(text: &str) -> Option<u32> {
    text.parse::<ipsec_types::Spi>().ok().map(|n| n.0)
}

fn protocol(text: &str) -> Result<u8, Failure> {
    ipsec_types::port::protocol_number(text)
        .or_else(|| listed("/etc/protocols", text).and_then(|n| n.parse().ok()))
        .or_else(|| number(text).and_then(|n| u8::try_from(n).ok()))
        .ok_or_else(|| format!("--transport-proto {text}: neither a number from 0 to 255 nor a name in /etc/protocols"))
}

fn port(option: &str, text: Option<&str>) -> Result<u16, Failure> {
    let Some(text) = text else { return Ok(0) };
    number(text)
        .and_then(|n| u16::try_from(n).ok())
        .or_else(|| {
            listed("/etc/services", text)?
                .split('/')
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| {
            format!("{option} {text}: neither a number from 0 to 65535 nor a name in /etc/services")
        })
}

/// The second word of the line of `file` that begins with `name`.
fn listed(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Selector, Failure> {
        flow(&Options::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?)
    }

    #[test]
    fn flows() {
        let got = parse(
            "eroute --add --eraf inet --src 10.0.1.0/24 --dst 10.2.0.0/255.255.0.0 --transport-proto udp --src-port 0x1f4 --dst-port 1701",
        );
        assert_eq!(
            got.unwrap().to_string(),
            "10.0.1.0/24:500 -> 10.2.0.0/16:1701:17"
        );
        assert_eq!(
            parse("eroute --del --src 0/0 --dst 10/8")
                .unwrap()
                .to_string(),
            "0.0.0.0/0 -> 10.0.0.0/8"
        );
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (line, want) in [
            ("eroute --del --src 10/8", "--dst is missing"),
            ("eroute --del --src 10/8 --dst ::/0", "one address family"),
            ("eroute --del --eraf inet6 --src 10/8 --dst ::/0", "--eraf"),
            ("eroute --del --src 10/33 --dst 0/0", "too long"),
            (
                "eroute --del --src 0/0 --dst 0/0 --dst-port 80",
                "need a --transport-proto",
            ),
            (
                "eroute --del --src 0/0 --dst 0/0 --transport-proto 256",
                "0 to 255",
            ),
            (
                "eroute --del --src 0/0 --dst 0/0 --transport-proto tcp --dst-port 65536",
                "65535",
            ),
            ("eroute --add --del", "cannot be used with"),
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(want), "{line}: {why}");
        }
    }
}
