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
    let control = Control::find();
    let done = match action(options)? {
        Action::Show => return common::show(Table::TnCfg),
        Action::Attach(device, physical) => control.attach(&device, &physical, None),
        Action::Detach(device) => control.detach(&device),
        Action::Clear => control.clear(),
    };
    done.map_err(|e| e.to_string())
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Show,
    Attach(String, String),
    Detach(String),
    Clear,
}

fn action(options: &Options) -> Result<Action, Failure> {
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
        Options { clear: true, .. } => Action::Clear,
        Options { detach: true, .. } => Action::Detach(ipsec()?),
        Options {
            attach: true,
            physical,
            ..
        } => Action::Attach(ipsec()?, device("--physical", physical)?),
        Options {
            r#virtual: None,
            physical: None,
            ..
        } => Action::Show,
        _ => return Err("what to do is missing: one of --attach, --detach and --clear".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Action, Failure> {
        action(&Options::try_parse_from(words.split_whitespace()).map_err(|e| e.to_string())?)
    }

    #[test]
    fn lines() {
        assert_eq!(parse("tncfg"), Ok(Action::Show));
        assert_eq!(
            parse("tncfg --attach --virtual ipsec0 --physical eth1"),
            Ok(Action::Attach("ipsec0".into(), "eth1".into()))
        );
        assert_eq!(
            parse("tncfg --detach --virtual ipsec0"),
            Ok(Action::Detach("ipsec0".into()))
        );
        assert_eq!(parse("tncfg --clear"), Ok(Action::Clear));
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
