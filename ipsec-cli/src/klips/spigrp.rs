//! `ipsec spigrp`: shows, makes and dissolves groups of SAs. See ipsec_spigrp(8).

use clap::Parser;
use ipsec_types::SaId;
use pfkey::client::Table;
use pfkey::{errno, request};

use super::common::{self, Common, Failure};

/// Most SAs that one group may have.
const MAX_GROUP: usize = 4;

/// Groups SAs, from the innermost to the outermost; with one SA, dissolves its group. Without arguments it lists all.
#[derive(Parser, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Each SA is one word, such as tun0x113@192.0.2.1
    #[arg(long)]
    said: bool,
    /// af dst spi proto for each SA, or with --said one word each
    #[arg(value_name = "SA")]
    words: Vec<String>,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("spigrp", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    if options.words.is_empty() && !options.said {
        return common::show(Table::SpiGrp);
    }
    let sas = sas(options)?;
    let mut client = common::connect()?;
    let explain = |e| match e {
        errno::ENOENT | errno::ESRCH => {
            Some("one of the SAs does not exist: make it first with `ipsec spi'".into())
        }
        errno::EEXIST => Some("one of the SAs is in a group already".into()),
        _ => None,
    };
    if let [only] = sas.as_slice() {
        return common::ask(
            &mut client,
            &options.common,
            |b, ids| request::group(b, ids, only, None),
            explain,
        )
        .map(drop);
    }
    for pair in sas.windows(2) {
        if let [inner, outer] = pair {
            common::ask(
                &mut client,
                &options.common,
                |b, ids| request::group(b, ids, inner, Some(outer)),
                explain,
            )
            .map_err(|why| format!("{inner} with {outer}: {why}"))?;
        }
    }
    Ok(())
}

fn sas(options: &Options) -> Result<Vec<SaId>, Failure> {
    let words = &options.words;
    let sas = if options.said {
        words
            .iter()
            .map(|text| common::said_of(text, None))
            .collect::<Result<Vec<_>, _>>()?
    } else if words.len().is_multiple_of(4) {
        words.chunks(4).map(four).collect::<Result<Vec<_>, _>>()?
    } else {
        return Err(format!(
            "{} words: every SA has four, af dst spi proto, or one after --said",
            words.len()
        ));
    };
    match sas.len() {
        1..=MAX_GROUP => Ok(sas),
        n => Err(format!(
            "{n} SAs: a group has 2 to {MAX_GROUP}, and one SA dissolves its group"
        )),
    }
}

fn four(words: &[String]) -> Result<SaId, Failure> {
    let [af, dst, spi, proto] = words else {
        return Err("an SA has four words: af dst spi proto".into());
    };
    if !matches!(af.as_str(), "inet" | "inet6") {
        return Err(format!(
            "`{af}' is no address family: expected inet or inet6"
        ));
    }
    Ok(SaId::new(
        common::proto_of(proto)?,
        common::spi_of(spi)?,
        common::resolve("dst", dst, Some(af))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<String, Failure> {
        let options =
            Options::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        Ok(sas(&options)?.iter().map(|sa| format!("{sa} ")).collect())
    }

    #[test]
    fn groups() {
        let want = "tun0x113@192.0.2.1 esp0x115@192.0.2.1 ";
        assert_eq!(
            parse("spigrp inet 192.0.2.1 0x113 tun inet 192.0.2.1 0x115 esp").unwrap(),
            want
        );
        assert_eq!(
            parse("spigrp --said tun.113@192.0.2.1 esp.115@192.0.2.1").unwrap(),
            want
        );
        assert_eq!(parse("spigrp --said esp:115@::1").unwrap(), "esp0x115@::1 ");
        for (line, want) in [
            ("spigrp inet 192.0.2.1 0x113", "3 words"),
            ("spigrp inet4 192.0.2.1 0x113 tun", "inet or inet6"),
            ("spigrp inet ::1 0x113 tun", "family inet"),
            ("spigrp inet 192.0.2.1 0x113 ipip", "ah, esp, tun or comp"),
            ("spigrp inet 192.0.2.1 x113 tun", "not a number"),
            ("spigrp --said", "0 SAs"),
            ("spigrp --said a b c", "no @"),
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(want), "{line}: {why}");
        }
    }
}
