//! The steps of a plan: taken one after another, or written as commands for a shell.

use super::plan::{Place, Plan};
use crate::klips::{eroute, spi, spigrp};
use crate::paths::Paths;
use ipsec_types::SaId;
use pfkey::client::Client;
use pfkey::request;
use std::process::{Command, Stdio};

/// What the updown command is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Prepare,
    Route,
    Unroute,
    Up,
    Down,
}

/// A step.
#[derive(Debug)]
pub enum Step {
    /// An `ipsec` command; what takes it back, if a later step fails.
    Ipsec {
        command: &'static str,
        words: Vec<String>,
        undo: Option<Undo>,
    },
    Updown(Verb),
}

/// How to take a step back.
#[derive(Debug)]
pub enum Undo {
    /// Delete an SA, which may have gone with its group by then.
    Sa(SaId),
    /// Delete the eroute.
    Eroute(Box<Step>),
}

impl Step {
    /// `ipsec COMMAND --label CONNECTION WORDS…`
    pub fn new(
        command: &'static str,
        label: &str,
        words: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Self::Ipsec {
            command,
            words: ["--label".to_owned(), label.to_owned()]
                .into_iter()
                .chain(words)
                .collect(),
            undo: None,
        }
    }

    pub fn or_undo(mut self, by: Undo) -> Self {
        if let Self::Ipsec { undo, .. } = &mut self {
            *undo = Some(by);
        }
        self
    }

    /// As a person would type it; without `keys`, dots stand for them.
    fn line(&self, plan: &Plan, keys: bool) -> String {
        match self {
            Self::Updown(verb) => format!("PLUTO_VERB={} {}", verb_name(plan, *verb), plan.updown),
            Self::Ipsec { command, words, .. } => {
                let mut line = format!("ipsec {command}");
                let mut secret = false;
                for word in words {
                    line.push(' ');
                    match secret && !keys {
                        true => line.push_str("..."),
                        false => line.push_str(&quote(word)),
                    }
                    secret = word.ends_with("key");
                }
                line
            }
        }
    }

    /// In this process: its arguments, keys among them, are in no list of processes.
    fn take(&self, plan: &Plan) -> Result<(), String> {
        match self {
            Self::Ipsec { command, words, .. } => {
                let run = match *command {
                    "spi" => spi::run,
                    "spigrp" => spigrp::run,
                    _ => eroute::run,
                };
                match run(words.clone()) {
                    0 => Ok(()),
                    _ => Err(format!("conn \"{}\": `ipsec {command}' failed", plan.name)),
                }
            }
            Self::Updown(verb) => {
                let mut child = Command::new("/bin/sh");
                child.args(["-c", &plan.updown]).stdin(Stdio::null());
                Paths::get().environment(&mut child);
                child
                    .envs(environment(plan))
                    .env("PLUTO_VERB", verb_name(plan, *verb));
                match child.status() {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(format!(
                        "conn \"{}\": `{}' for {}: {status}",
                        plan.name,
                        plan.updown,
                        verb_name(plan, *verb)
                    )),
                    Err(error) => Err(format!("cannot run /bin/sh: {error}")),
                }
            }
        }
    }
}

fn verb_name(plan: &Plan, verb: Verb) -> String {
    let verb = match verb {
        Verb::Prepare => "prepare",
        Verb::Route => "route",
        Verb::Unroute => "unroute",
        Verb::Up => "up",
        Verb::Down => "down",
    };
    let of = if plan.client { "client" } else { "host" };
    let family = if plan.me.client.addr().is_ipv6() {
        "-v6"
    } else {
        ""
    };
    format!("{verb}-{of}{family}")
}

/// As pluto gives it to updown commands: ipsec_pluto(8).
fn environment(plan: &Plan) -> Vec<(String, String)> {
    let mut env = vec![
        ("PLUTO_VERSION".to_owned(), "1.1".to_owned()),
        ("PLUTO_CONNECTION".to_owned(), plan.name.clone()),
        ("PLUTO_NEXT_HOP".to_owned(), plan.next_hop.to_string()),
        ("PLUTO_INTERFACE".to_owned(), plan.interface.clone()),
    ];
    let mut end = |host: &str, prefix: &str, place: &Place| {
        env.push((format!("PLUTO_{host}"), place.address.to_string()));
        for (name, value) in [
            ("ID", place.id.clone()),
            ("CLIENT", place.client.to_string()),
            ("CLIENT_NET", place.client.addr().to_string()),
            ("CLIENT_MASK", place.client.mask().to_string()),
            ("PORT", "0".to_owned()),
            ("PROTOCOL", "0".to_owned()),
        ] {
            env.push((format!("PLUTO_{prefix}_{name}"), value));
        }
    };
    end("ME", "MY", &plan.me);
    end("PEER", "PEER", &plan.peer);
    let source = plan.source_ip.map(|source| source.to_string());
    env.extend(source.map(|source| ("PLUTO_MY_SOURCEIP".to_owned(), source)));
    env
}

/// Takes the steps. When one fails, those before it that can be are taken back; what goes down goes on instead.
pub fn take(plan: &Plan, steps: &[Step], show: bool) -> Result<(), String> {
    let tearing = matches!(steps.first(), Some(Step::Updown(Verb::Down)));
    let mut outcome = Ok(());
    for (number, step) in steps.iter().enumerate() {
        if show {
            eprintln!("+ {}", step.line(plan, false));
        }
        match step.take(plan) {
            Err(_) if tearing && outcome.is_err() => {}
            Err(message) if tearing => outcome = Err(message),
            Err(message) => {
                take_back(plan, &steps[..number]);
                return Err(message);
            }
            Ok(()) => {}
        }
    }
    outcome
}

/// Quietly, since what failed has been told.
fn take_back(plan: &Plan, done: &[Step]) {
    for step in done.iter().rev() {
        match step {
            Step::Ipsec {
                undo: Some(Undo::Eroute(step)),
                ..
            } => drop(step.take(plan)),
            Step::Ipsec {
                undo: Some(Undo::Sa(said)),
                ..
            } => {
                if let Ok(mut client) = Client::connect() {
                    let _ = client.call(|buf, ids| request::delete(buf, ids, said, None));
                }
            }
            _ => {}
        }
    }
}

/// The steps as a shell script.
pub fn script(plan: &Plan, steps: &[Step]) -> String {
    let mut out = String::new();
    for (name, value) in environment(plan) {
        out.push_str(&format!("export {name}={}\n", quote(&value)));
    }
    let tearing = matches!(steps.first(), Some(Step::Updown(Verb::Down)));
    let lines: Vec<String> = steps.iter().map(|step| step.line(plan, true)).collect();
    out.push_str(&lines.join(if tearing { "\n" } else { " &&\n" }));
    out.push('\n');
    out
}

/// One shell word.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
