//! `ipsec auto`: what ipsec.conf says about automatically keyed connections, put to pluto.

pub mod connection;
pub mod ends;
mod options;
mod showonly;

use crate::paths::{Paths, VERSION};
use crate::{diagnose, port_owner};
use ipsec_conf::{Auto, Config, clashes};
use options::{Operation, Options};
use whack::{Client, ClientError, ListClass, Rc, Reply, Request, RereadClass};

const ME: &str = "ipsec auto";

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    match options::parse(args) {
        Ok(options::Parsed::Run(options)) => perform(&options),
        Ok(options::Parsed::Help) => {
            crate::print(options::USAGE);
            0
        }
        Ok(options::Parsed::Version) => {
            crate::print(&format!("{ME} {VERSION}\n"));
            0
        }
        Err(message) => {
            eprint!("{message}");
            2
        }
    }
}

fn perform(options: &Options) -> u8 {
    let Some(requests) = requests(options) else {
        return 1;
    };
    if options.show {
        eprint!("{}", showonly::script(&requests));
    }
    if options.showonly {
        crate::print(&showonly::script(&requests));
        return 0;
    }
    let requests = replacing_groups(requests);
    for (i, request) in requests.iter().enumerate() {
        // A connection that is to be replaced need not be there yet.
        let may_be_missing = matches!(request, Request::Delete { .. }) && i + 1 < requests.len();
        let status = send(request, |code, text| {
            let unknown = may_be_missing && code == Rc::UnknownName.code();
            if (options.verbose || code != Rc::Log.code()) && !unknown {
                crate::print(&format!("{code:03} {}\n", port_owner::named(text)));
            }
        });
        match status {
            Ok(0) => {}
            Ok(status) if may_be_missing && u16::from(status) == Rc::UnknownName.code() => {}
            Ok(status) => return status,
            Err(error) => {
                eprintln!("{ME}: {error}");
                return 1;
            }
        }
    }
    0
}

/// A policy group is not deleted before it is added again: its blocks would stand open.
fn replacing_groups(mut requests: Vec<Request>) -> Vec<Request> {
    if let [Request::Delete { .. }, .., Request::Connection(new)] = &requests[..]
        && new.policy.group
    {
        let new = Request::Replace(new.clone());
        requests.pop();
        requests.remove(0);
        requests.push(new);
    }
    requests
}

/// Puts one request to pluto; gives the exit status of its answer.
pub fn send(request: &Request, mut line: impl FnMut(u16, &str)) -> Result<u8, ClientError> {
    let client = Client::connect(&Paths::get().rundir)?;
    client.send(request)?.finish(|reply| {
        if let Reply::Line { code, text } = reply {
            line(*code, text);
        }
    })
}

/// What to send, in order; none if ipsec.conf has errors, which have been shown then.
fn requests(options: &Options) -> Option<Vec<Request>> {
    let name = || options.name.clone().unwrap_or_default();
    Some(match options.operation {
        Operation::Add => describe(options, &name())?,
        Operation::Replace => {
            let mut all = vec![Request::Delete { name: name() }];
            all.extend(describe(options, &name())?);
            all
        }
        Operation::Delete => vec![Request::Delete { name: name() }],
        Operation::Up => vec![Request::Initiate {
            name: name(),
            asynchronous: options.asynchronous,
        }],
        Operation::Down => vec![Request::Terminate { name: name() }],
        Operation::Route => vec![Request::Route { name: name() }],
        Operation::Unroute => vec![Request::Unroute { name: name() }],
        Operation::Ready => vec![Request::Listen],
        Operation::Status => vec![Request::Status],
        Operation::RereadSecrets => vec![Request::Reread {
            class: RereadClass::Secrets,
        }],
        Operation::RereadAll => vec![Request::Reread {
            class: RereadClass::All,
        }],
        Operation::ListPubkeys => vec![Request::List {
            class: ListClass::PublicKeys,
            utc: options.utc,
        }],
        Operation::ListAll => vec![Request::List {
            class: ListClass::All,
            utc: options.utc,
        }],
    })
}

/// The keys and the description of a connection of ipsec.conf.
fn describe(options: &Options, name: &str) -> Option<Vec<Request>> {
    let path = options
        .config
        .clone()
        .unwrap_or_else(|| Paths::get().conf());
    let config = if options.noinclude {
        Config::load_without_includes(&path)
    } else {
        Config::load(&path)
    };
    diagnose::show(
        &config,
        &config
            .problems()
            .iter()
            .filter(|p| !p.is_error())
            .cloned()
            .collect::<Vec<_>>(),
    );
    let conn = diagnose::usable(&config, config.conn(name))?;
    warn_of_clashes(&config, name);
    match connection::requests(&conn) {
        Ok(requests) => Some(requests),
        Err(problem) => {
            diagnose::show(&config, &[*problem]);
            None
        }
    }
}

/// Tells of other connections that are loaded at startup and are for the same packets.
fn warn_of_clashes(config: &Config, name: &str) {
    let loaded = config
        .autos()
        .into_iter()
        .filter(|(n, auto)| *auto != Auto::Ignore && *n != name);
    let names: Vec<&str> = loaded.map(|(n, _)| n).chain([name]).collect();
    let conns: Vec<_> = names.iter().filter_map(|n| config.conn(n).value).collect();
    let found: Vec<_> = clashes(&conns)
        .into_iter()
        .filter(|d| d.message.contains(&format!("conn \"{name}\" ")))
        .collect();
    diagnose::show(config, &found);
}
