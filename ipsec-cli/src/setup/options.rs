//! The options of `ipsec setup`.

use std::path::PathBuf;

/// Shown for `--help`, and after a mistake.
pub const USAGE: &str =
    "Usage: ipsec setup [--config ipsecconfigfile] {--start|--stop|--restart|--status}\n";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    Restart,
    Status,
}

/// The command line.
#[derive(Debug)]
pub struct Options {
    pub action: Action,
    pub config: Option<PathBuf>,
}

/// What the command line comes to.
#[derive(Debug)]
pub enum Parsed {
    Run(Options),
    Help,
    Version,
}

/// Reads the command line; the error is what to print on standard error.
pub fn parse(args: Vec<String>) -> Result<Parsed, String> {
    let mut config = None;
    let mut action = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let chosen = match arg.as_str() {
            "--config" => {
                config = Some(args.next().ok_or(USAGE)?.into());
                continue;
            }
            "start" | "--start" => Action::Start,
            "stop" | "--stop" => Action::Stop,
            "restart" | "--restart" | "force-reload" => Action::Restart,
            "status" | "--status" => Action::Status,
            "--help" => return Ok(Parsed::Help),
            "--version" => return Ok(Parsed::Version),
            other => {
                return Err(format!(
                    "ipsec setup: unknown action or option `{other}'\n{USAGE}"
                ));
            }
        };
        if action.replace(chosen).is_some() {
            return Err(USAGE.into());
        }
    }
    Ok(Parsed::Run(Options {
        action: action.ok_or(USAGE)?,
        config,
    }))
}
