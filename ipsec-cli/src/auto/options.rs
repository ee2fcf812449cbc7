//! The options of `ipsec auto`, in the order and with the mistakes that the reference allows.

use std::path::PathBuf;

/// Shown for `--help`, and after a mistake.
pub const USAGE: &str = "\
Usage:
	ipsec auto [--showonly] [--asynchronous] --up connectionname
	ipsec auto [--showonly] --{add|delete|replace|down} connectionname
	ipsec auto [--showonly] --{route|unroute} connectionname
	ipsec auto [--showonly] --{ready|status|rereadsecrets|rereadgroups|rereadall}
	ipsec auto [--showonly] [--utc] --{listpubkeys|listall}

	other options: [--config ipsecconfigfile] [--verbose] [--show] [--noinclude]
";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Delete,
    Replace,
    Up,
    Down,
    Route,
    Unroute,
    Ready,
    Status,
    RereadSecrets,
    RereadAll,
    ListPubkeys,
    ListAll,
}

use Operation::{
    Add, Delete, Down, ListAll, ListPubkeys, Ready, Replace, RereadAll, RereadSecrets, Route,
    Status, Unroute, Up,
};

/// Operations by name, and whether they take a connection.
const OPERATIONS: [(&str, Operation, bool); 14] = [
    ("add", Add, true),
    ("delete", Delete, true),
    ("replace", Replace, true),
    ("up", Up, true),
    ("down", Down, true),
    ("route", Route, true),
    ("unroute", Unroute, true),
    ("ready", Ready, false),
    ("rereadgroups", Ready, false),
    ("status", Status, false),
    ("rereadsecrets", RereadSecrets, false),
    ("rereadall", RereadAll, false),
    ("listpubkeys", ListPubkeys, false),
    ("listall", ListAll, false),
];

/// The command line.
#[derive(Debug)]
pub struct Options {
    pub operation: Operation,
    pub name: Option<String>,
    pub config: Option<PathBuf>,
    pub showonly: bool,
    pub show: bool,
    pub noinclude: bool,
    pub asynchronous: bool,
    pub verbose: bool,
    pub utc: bool,
}

/// What the command line comes to.
#[derive(Debug)]
pub enum Parsed {
    Run(Options),
    Help,
    Version,
}

fn find(name: &str) -> Option<(Operation, bool)> {
    OPERATIONS
        .iter()
        .find(|(n, ..)| *n == name)
        .map(|(_, op, takes)| (*op, *takes))
}

/// Reads the command line; the error is what to print on standard error.
pub fn parse(args: Vec<String>) -> Result<Parsed, String> {
    let mut chosen = None;
    let mut names = Vec::new();
    let mut options = Options {
        operation: Status,
        name: None,
        config: None,
        showonly: false,
        show: false,
        noinclude: false,
        asynchronous: false,
        verbose: false,
        utc: false,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" => return Ok(Parsed::Help),
            "--version" => return Ok(Parsed::Version),
            "--show" => options.show = true,
            "--showonly" => options.showonly = true,
            "--utc" => options.utc = true,
            "--noinclude" => options.noinclude = true,
            "--asynchronous" => options.asynchronous = true,
            "--verbose" => options.verbose = true,
            "--config" => options.config = Some(args.next().ok_or(USAGE)?.into()),
            "--" => names.extend(args.by_ref()),
            _ => match arg.strip_prefix("--").and_then(find) {
                Some(operation) if chosen.is_none() => chosen = Some(operation),
                Some(_) => return Err(USAGE.into()),
                None if arg.starts_with('-') => {
                    return Err(format!("ipsec auto: unknown option `{arg}'\n"));
                }
                None => names.push(arg),
            },
        }
    }
    let (operation, takes_name) = match chosen {
        Some(chosen) => chosen,
        None => obsolete(&mut names).ok_or(USAGE)?,
    };
    if names.len() != usize::from(takes_name) {
        return Err(USAGE.into());
    }
    Ok(Parsed::Run(Options {
        operation,
        name: names.pop(),
        ..options
    }))
}

/// The oldest form: `ipsec auto NAME up`, `ipsec auto status`.
fn obsolete(names: &mut Vec<String>) -> Option<(Operation, bool)> {
    let found = find(names.last()?)?;
    eprintln!("ipsec auto: warning: obsolete command syntax used");
    names.pop();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Parsed, String> {
        parse(line.split_whitespace().map(str::to_string).collect())
    }

    #[test]
    fn operations_and_names() {
        let Ok(Parsed::Run(o)) = read("--asynchronous --up net --verbose") else {
            panic!("not read")
        };
        assert_eq!(
            (o.operation, o.name.as_deref(), o.asynchronous, o.verbose),
            (Up, Some("net"), true, true)
        );
        let Ok(Parsed::Run(o)) = read("net down") else {
            panic!("not read")
        };
        assert_eq!((o.operation, o.name.as_deref()), (Down, Some("net")));
        assert!(matches!(read("--help"), Ok(Parsed::Help)));
    }

    #[test]
    fn mistakes() {
        for line in [
            "",
            "--up",
            "--up a b",
            "--status a",
            "--up a --down",
            "--config",
        ] {
            assert_eq!(read(line).unwrap_err(), USAGE, "{line}");
        }
        assert!(
            read("--uq a")
                .unwrap_err()
                .contains("unknown option `--uq'")
        );
    }
}
