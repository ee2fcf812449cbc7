//! `ipsec klipsdebug`: shows and switches what KLIPS logs. See ipsec_klipsdebug(8).

use clap::{ArgGroup, Parser};
use pfkey::client::Table;
use pfkey::{DebugFlags, request};

use super::common::{self, Common, Failure};

/// The flag of `tunnel` that logs transmitting only.
const TUNNEL_XMIT: u32 = 0x10;

/// Switches KLIPS' debugging messages on and off. Without options it shows the flags.
#[derive(Parser, Debug)]
#[command(group(ArgGroup::new("action").args(["set", "clear", "all", "none"])))]
struct Options {
    /// Switch one part on: tunnel, tunnel-xmit, netlink, xform, eroute, spi, radij, esp, ah, rcv, pfkey, ipcomp, verbose
    #[arg(long, value_name = "part")]
    set: Option<String>,
    /// Switch one part off
    #[arg(long, value_name = "part")]
    clear: Option<String>,
    /// Switch everything on but verbose
    #[arg(long)]
    all: bool,
    /// Switch everything off
    #[arg(long)]
    none: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("klipsdebug", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    let Some(flags) = flags(options)? else {
        return common::show(Table::KlipsDebug);
    };
    let mut client = common::connect()?;
    common::ask(
        &mut client,
        &options.common,
        |b, ids| request::debug(b, ids, &flags),
        |_| None,
    )
    .map(drop)
}

/// Which word and which bits a part's name means.
fn part(name: &str) -> Result<(&str, u32), Failure> {
    match name {
        "tunnel-xmit" => Ok(("tunnel", TUNNEL_XMIT)),
        "comp" => Ok(("ipcomp", u32::MAX)),
        _ if DebugFlags::NAMES.contains(&name) => Ok((name, u32::MAX)),
        _ => Err(format!(
            "`{name}' is no part of KLIPS: expected one of tunnel-xmit, {}",
            DebugFlags::NAMES.join(", ")
        )),
    }
}

fn flags(options: &Options) -> Result<Option<DebugFlags>, Failure> {
    Ok(Some(match options {
        Options {
            set: Some(name), ..
        } => part(name).map(|(name, bits)| DebugFlags::switch_on(name, bits))?,
        Options {
            clear: Some(name), ..
        } => part(name).map(|(name, bits)| DebugFlags::switch_off(name, bits))?,
        Options { all: true, .. } => {
            let mut flags = DebugFlags::ALL;
            flags
                .get_mut("verbose")
                .map(|word| *word = 0)
                .ok_or("no part `verbose'")?;
            flags
        }
        Options { none: true, .. } => DebugFlags::default(),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        let parse =
            |words: &str| flags(&Options::try_parse_from(words.split_whitespace()).unwrap());
        let apply =
            |words: &str, before: [u32; 12]| parse(words).unwrap().unwrap().applied_to(before);
        let tunnel_only = apply("klipsdebug --set tunnel-xmit", [0; 12]);
        assert_eq!((tunnel_only[0], tunnel_only[3]), (0x10, 0));
        let both = apply("klipsdebug --set eroute", tunnel_only);
        assert_eq!((both[0], both[3]), (0x10, u32::MAX));
        assert_eq!(apply("klipsdebug --clear tunnel", both)[0], 0);
        assert_eq!(apply("klipsdebug --clear tunnel", both)[3], u32::MAX);
        assert_eq!(apply("klipsdebug --all", [0; 12])[11], 0);
        assert_eq!(apply("klipsdebug --none", both), [0; 12]);
        assert_eq!(parse("klipsdebug").unwrap(), None);
        assert!(
            parse("klipsdebug --set everything")
                .unwrap_err()
                .contains("expected one of")
        );
    }
}
