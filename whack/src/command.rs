//! What whack's options mean together: the requests, in the order in which pluto gets them, and
//! what is missing or contradictory. One command line may ask for several things.

use std::{net::IpAddr, path::PathBuf};

use whack::{DebugClass, ListClass, PubkeyAlg, Request, RereadClass, rundir};

use crate::{description::Description, options::Given};

/// A command line understood.
#[derive(Debug)]
pub enum Command {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// Send these.
    Send {
        /// The control socket.
        socket: PathBuf,
        /// The requests in order.
        requests: Vec<Request>,
    },
}

/// A command line that cannot be sent, with the label and connection name for the message.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// `--label`.
    pub label: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// What is wrong.
    pub text: String,
}

/// Options that need `--name`.
const NAMED: [&str; 5] = ["route", "unroute", "initiate", "terminate", "delete"];

/// Understands a command line.
pub fn understand(given: &[Given]) -> Result<Command, Problem> {
    let value = |name: &str| {
        given
            .iter()
            .rfind(|g| g.name == name)
            .map(|g| g.text.clone())
    };
    build(given).map_err(|text| Problem {
        label: value("label"),
        name: value("name"),
        text,
    })
}

fn build(given: &[Given]) -> Result<Command, String> {
    for first in given {
        match first.name {
            "help" => return Ok(Command::Help),
            "version" => return Ok(Command::Version),
            _ => {}
        }
    }
    let options = Options::gather(given)?;
    let requests = options.requests()?;
    if requests.is_empty() {
        return Err("no action specified; try --help for hints".into());
    }
    for request in &requests {
        request.validate().map_err(|e| e.problem)?;
    }
    Ok(Command::Send {
        socket: options.socket(),
        requests,
    })
}

/// The options sorted out.
#[derive(Debug, Default)]
struct Options<'a> {
    simple: Vec<&'a Given>,
    description: Description,
    debug: Option<Vec<DebugClass>>,
}

impl<'a> Options<'a> {
    fn gather(given: &'a [Given]) -> Result<Options<'a>, String> {
        let mut options = Options::default();
        for option in given {
            if let Some(class) = option.name.strip_prefix("debug-") {
                options.debug(class);
            } else if !options.description.take(option)? {
                if option.name != "label" && options.get(option.name).is_some() {
                    return Err(format!("duplicated flag \"{}\"", option.name));
                }
                options.simple.push(option);
            }
        }
        Ok(options)
    }

    fn debug(&mut self, class: &str) {
        let on = self.debug.get_or_insert_default();
        match class {
            "none" => on.clear(),
            "all" => on.extend(
                DebugClass::ALL
                    .into_iter()
                    .filter(|&c| c != DebugClass::Private),
            ),
            one => on.extend(DebugClass::from_name(one)),
        }
        on.sort_unstable();
        on.dedup();
    }

    fn get(&self, name: &str) -> Option<&'a Given> {
        self.simple.iter().copied().find(|g| g.name == name)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|g| g.text.clone())
    }

    fn socket(&self) -> PathBuf {
        match (self.text("ctlbase"), self.text("rundir")) {
            (Some(base), _) => format!("{base}.ctl").into(),
            (None, Some(dir)) => PathBuf::from(dir).join("pluto.ctl"),
            (None, None) => rundir().join("pluto.ctl"),
        }
    }

    /// The requests in the order in which the manual page promises them.
    fn requests(&self) -> Result<Vec<Request>, String> {
        let name = self.name()?;
        let oppo = self.opportunistic()?;
        let mut all = Vec::new();
        if let Some(classes) = &self.debug {
            let name = (!name.is_empty() && !self.description.given()).then(|| name.clone());
            all.push(Request::Debug {
                name,
                classes: classes.clone(),
            });
        }
        all.extend(self.text("myid").map(|id| Request::MyId { id }));
        if self.has("delete") {
            all.push(Request::Delete { name: name.clone() });
        }
        if let Some(state) = self.get("deletestate") {
            all.push(Request::DeleteState {
                number: state.number,
            });
        }
        if let Some(peer) = self.get("crash") {
            all.push(Request::Crash {
                peer: address(peer)?,
            });
        }
        if self.description.given() {
            all.push(Request::Connection(Box::new(
                self.description.finish(&name)?,
            )));
        }
        if self.has("listen") {
            all.push(Request::Listen);
        }
        if self.has("unlisten") {
            all.push(Request::Unlisten);
        }
        self.stores(&mut all)?;
        if self.has("route") {
            all.push(Request::Route { name: name.clone() });
        }
        if self.has("unroute") {
            all.push(Request::Unroute { name: name.clone() });
        }
        if self.has("initiate") {
            let asynchronous = self.has("asynchronous");
            all.push(Request::Initiate {
                name: name.clone(),
                asynchronous,
            });
        }
        all.extend(oppo);
        if self.has("terminate") {
            all.push(Request::Terminate { name });
        }
        if self.has("status") {
            all.push(Request::Status);
        }
        if self.has("shutdown") {
            all.push(Request::Shutdown);
        }
        Ok(all)
    }

    /// Reading, listing and adding of keys and secrets.
    fn stores(&self, all: &mut Vec<Request>) -> Result<(), String> {
        if self.has("rereadall") {
            all.push(Request::Reread {
                class: RereadClass::All,
            });
        } else if self.has("rereadsecrets") {
            all.push(Request::Reread {
                class: RereadClass::Secrets,
            });
        }
        let utc = self.has("utc");
        if self.has("listall") {
            all.push(Request::List {
                class: ListClass::All,
                utc,
            });
        } else if self.has("listpubkeys") {
            all.push(Request::List {
                class: ListClass::PublicKeys,
                utc,
            });
        }
        match self.text("keyid") {
            Some(id) => all.push(Request::PublicKey {
                id,
                add: self.has("addkey"),
                alg: PubkeyAlg::Rsa,
                key: self.text("pubkeyrsa"),
            }),
            None if self.has("addkey") || self.has("pubkeyrsa") => {
                return Err("--addkey and --pubkeyrsa require --keyid".into());
            }
            None => {}
        }
        Ok(())
    }

    /// `--name`, mandatory with some options and out of place without them.
    fn name(&self) -> Result<String, String> {
        let needed = self.description.given() || NAMED.iter().any(|option| self.has(option));
        match self.text("name") {
            None if needed => Err("missing --name <connection_name>".into()),
            None => Ok(String::new()),
            Some(_) if !needed && self.debug.is_none() => Err("no reason for --name".into()),
            Some(name) => Ok(name),
        }
    }

    fn opportunistic(&self) -> Result<Option<Request>, String> {
        match (self.get("oppohere"), self.get("oppothere")) {
            (None, None) => Ok(None),
            (Some(here), Some(there)) => Ok(Some(Request::OpportunisticInitiate {
                here: address(here)?,
                there: address(there)?,
            })),
            _ => Err("--oppohere and --oppothere must be used together".into()),
        }
    }
}

fn address(given: &Given) -> Result<IpAddr, String> {
    let addr: IpAddr = given
        .text
        .parse()
        .map_err(|_| format!("--{}: not an IP address \"{}\"", given.name, given.text))?;
    if addr.is_unspecified() {
        return Err(format!(
            "0.0.0.0 or 0::0 isn't a valid client address \"{}\"",
            given.text
        ));
    }
    Ok(addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn requests(line: &str) -> Result<Vec<Request>, String> {
        let given = options::split(line.split_whitespace().map(String::from))?;
        match understand(&given).map_err(|p| p.text)? {
            Command::Send { requests, .. } => Ok(requests),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn several_requests_go_in_the_manual_order() {
        let name = || "n".to_string();
        assert_eq!(
            requests("--shutdown --status --initiate --asynchronous --listen --name n").unwrap(),
            [
                Request::Listen,
                Request::Initiate {
                    name: name(),
                    asynchronous: true
                },
                Request::Status,
                Request::Shutdown
            ]
        );
        assert_eq!(
            requests("--name n --debug-none --debug-klips --debug-raw").unwrap(),
            [Request::Debug {
                name: Some(name()),
                classes: vec![DebugClass::Raw, DebugClass::Klips]
            }]
        );
        assert_eq!(
            requests("--keyid @a.b --pubkeyrsa 0sAQ==").unwrap(),
            [Request::PublicKey {
                id: "@a.b".into(),
                add: false,
                alg: PubkeyAlg::Rsa,
                key: Some("0sAQ==".into())
            }]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        for (line, text) in [
            ("", "no action specified; try --help for hints"),
            ("--initiate", "missing --name <connection_name>"),
            ("--status --name n", "no reason for --name"),
            (
                "--pubkeyrsa 0sAQ==",
                "--addkey and --pubkeyrsa require --keyid",
            ),
            (
                "--oppohere 10.0.0.1",
                "--oppohere and --oppothere must be used together",
            ),
            ("--listen --listen", "duplicated flag \"listen\""),
            (
                "--crash 0.0.0.0",
                "0.0.0.0 or 0::0 isn't a valid client address \"0.0.0.0\"",
            ),
        ] {
            assert_eq!(requests(line).unwrap_err(), text, "{line}");
        }
    }

    #[test]
    fn the_socket_follows_ctlbase() {
        let given = options::split(["--status", "--ctlbase", "/x/y"].map(String::from)).unwrap();
        let Ok(Command::Send { socket, .. }) = understand(&given) else {
            panic!()
        };
        assert_eq!(socket, PathBuf::from("/x/y.ctl"));
    }
}
