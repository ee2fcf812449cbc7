//! `ipsec tncfg`: shows and changes which physical device an ipsecN stands on. See ipsec_tncfg(8).

use clap::{ArgGroup, Parser};
use pfkey::client::{Control, Table};

use super::common::{self, Common, Failure};

/// Attaches ipsecN devices to physical ones. Without options it lists them.
#[derive(Parser, Debug)]
#[command(group(ArgGroup::new("action").args(["attach", "detach", "clear"])))]
struct Options {
    /// Attach the virtual device to the physical one
    #[arg(long, requires = "virtual", requires = "physical")]
    attach: bool,
    /// Detach the virtual device
    #[arg(long, requires = "virtual")]
    detach: bool,
    /// Detach all virtual devices
    #[arg(long)]
    clear: bool,
    /// Virtual device: ipsec0, ipsec1, ...
    #[arg(long, value_name = "device")]
    r#virtual: Option<String>,
    /// Physical device
    #[arg(long, value_name = "device")]
    physical: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("tncfg", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    match line(options)? {
        None => common::show(Table::TnCfg),
        Some(line) => Control::find()
            .line(&line)
            .map(drop)
            .map_err(|e| e.to_string()),
    }
}

/// What to tell KLIPS; `None` to show the table.
fn line(options: &Options) -> Result<Option<String>, Failure> {
    let device = |option: &str, name: &Option<String>| match name {
        Some(name)
            if !name.is_empty() && name.len() < 16 && !name.contains(['/', ' ', '\n', '\t']) =>
        {
            Ok(name.clone())
        }
        Some(name) => Err(format!("{option} `{name}' is no name of a device")),
        None => Err(format!("{option} is missing")),
    };
    let ipsec = || device("--virtual", &options.r#virtual);
    Ok(match options {
        Options { clear: true, .. } => Some("clear".into()),
        Options { detach: true, .. } => Some(format!("detach {}", ipsec()?)),
        Options {
            attach: true,
            physical,
            ..
        } => Some(format!(
            "attach {} {}",
            ipsec()?,
            device("--physical", physical)?
        )),
        Options {
            r#virtual: None,
            physical: None,
            ..
        } => None,
        _ => return Err("what to do is missing: one of --attach, --detach and --clear".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Option<String>, Failure> {
        line(&Options::try_parse_from(words.split_whitespace()).map_err(|e| e.to_string())?)
    }

    #[test]
    fn lines() {
        assert_eq!(parse("tncfg"), Ok(None));
        assert_eq!(
            parse("tncfg --attach --virtual ipsec0 --physical eth1"),
            Ok(Some("attach ipsec0 eth1".into()))
        );
        assert_eq!(
            parse("tncfg --detach --virtual ipsec0"),
            Ok(Some("detach ipsec0".into()))
        );
        assert_eq!(parse("tncfg --clear"), Ok(Some("clear".into())));
        assert!(parse("tncfg --attach --virtual ipsec0").is_err());
        assert!(
            parse("tncfg --virtual ipsec0")
                .unwrap_err()
                .contains("what to do")
        );
        assert!(
            parse("tncfg --detach --virtual ipsec0/../x")
                .unwrap_err()
                .contains("no name")
        );
    }
}
