//! The connections that are loaded at startup: all added, then pluto listens, then they are routed, then started.

use super::{Context, start};
use crate::auto::{connection, send};
use crate::paths::Paths;
use crate::{diagnose, manual, port_owner};
use ipsec_conf::implicit::{GROUPS, PACKET_DEFAULT_6};
use ipsec_conf::{Auto, Config, Conn, PolicyGroup, Selection, Setup, clashes};
use whack::{Rc, Request};

/// Loads them. A connection that fails is told and left out; the others go on. `devices_wait`: that pluto has no interface yet is known.
///
/// Gives whether all is there that can be there: what waits for a name, an address or a default route comes by itself.
pub fn load(context: &Context, setup: &Setup, devices_wait: bool) -> bool {
    let mut all = true;
    if let Some(id) = &setup.myid {
        all &= ask(context, &Request::MyId { id: id.clone() }).is_done();
    }
    let chosen = choose(context, setup);
    let mut conns: Vec<(Conn, Auto)> = Vec::new();
    for (name, auto) in &chosen {
        match add(context, name) {
            Some(conn) => conns.push((conn, *auto)),
            None => {
                all = false;
                context
                    .messages
                    .say(&format!("...could not add conn \"{name}\""));
            }
        }
    }
    diagnose::show(
        &context.config,
        &clashes(conns.iter().map(|(conn, _)| conn)),
    );
    all &= listen(context, devices_wait);
    start::shell(context, "postpluto", setup.postpluto.as_deref());
    let named = |least: Auto| {
        conns
            .iter()
            .filter(move |(_, auto)| *auto >= least)
            .map(|(conn, _)| conn.name.clone())
    };
    for name in named(Auto::Route) {
        let outcome = ask(context, &Request::Route { name: name.clone() });
        all &= outcome != Outcome::Failed;
        if outcome == Outcome::Failed {
            context
                .messages
                .say(&format!("...could not route conn \"{name}\""));
        }
    }
    for name in named(Auto::Start) {
        let request = Request::Initiate {
            name: name.clone(),
            asynchronous: !setup.plutowait,
        };
        let outcome = ask(context, &request);
        // A peer that does not answer now is no fault of the start.
        all &= outcome != Outcome::Failed || setup.plutowait;
        if outcome == Outcome::Failed {
            context
                .messages
                .say(&format!("...could not start conn \"{name}\""));
        }
    }
    all
}

/// Has pluto listen; shows which connections wait for an address, and what is wrong with ports and secrets. Gives whether nothing is.
fn listen(context: &Context, devices_wait: bool) -> bool {
    let mut fine = true;
    let status = send(&Request::Listen, |code, text| {
        let line = format!("{code:03} {}", port_owner::named(text));
        let expected =
            devices_wait && text.contains("no public interfaces found") || waits_for_ipv6(text);
        let trouble = !matches!(code, 0 | 2 | 4) && !expected;
        // A warning about the secrets, such as who may read them, is no failure.
        fine &= !trouble || text.contains("warning: ");
        if trouble || code == Rc::Comment.code() && !expected {
            context.messages.say(&line);
        } else {
            context.messages.log(&line);
        }
    });
    if let Err(error) = status {
        context.messages.say(&error.to_string());
        return false;
    }
    fine
}

/// A host without IPv6 has nothing to wait for.
fn waits_for_ipv6(text: &str) -> bool {
    text.contains(PACKET_DEFAULT_6) && text.contains("waiting for ")
}

/// The manually keyed connections that are up while IPsec runs: `manualstart=` and `auto=manual`.
fn manually_keyed<'a>(context: &'a Context, setup: &'a Setup) -> Vec<&'a str> {
    let mut names: Vec<&str> = setup.manualstart.iter().map(String::as_str).collect();
    for (name, auto) in context.config.autos() {
        if auto == Auto::Manual && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Takes manually keyed connections up. One that fails is told and left out; gives whether none was.
pub fn start_manual(context: &Context, setup: &Setup) -> bool {
    let mut all = true;
    for name in manually_keyed(context, setup) {
        if let Err(message) = manual::up(&context.config, name) {
            context.messages.say(&message);
            context
                .messages
                .say(&format!("...could not set up conn \"{name}\""));
            all = false;
        }
    }
    all
}

/// Before KLIPS is emptied: routes and openings of the firewall are taken back.
pub fn stop_manual(context: &Context) {
    let Some(setup) = context.config.setup().value else {
        return;
    };
    for name in manually_keyed(context, &setup) {
        if let Err(message) = manual::leave(&context.config, name) {
            context.messages.log(&message);
        }
    }
}

/// Whether the implicit connections are loaded: as `oe=` says, or else where a policy group is used. All of them then: what the group
/// is not for comes by the route to its blocks too, and would meet no policy.
pub fn implicit_wanted(config: &Config, setup: &Setup) -> bool {
    setup
        .oe
        .unwrap_or_else(|| used_groups(config).next().is_some())
}

/// The groups of version 2 that have a block, and are not done away with.
pub fn used_groups(config: &Config) -> impl Iterator<Item = &'static str> {
    let autos = config.autos();
    let implicit: Vec<&str> = config.implicit_names().collect();
    let wanted: Vec<&'static str> = GROUPS
        .into_iter()
        .filter(|name| {
            implicit.contains(name)
                || autos
                    .iter()
                    .any(|(other, auto)| other == name && *auto != Auto::Ignore)
        })
        .collect();
    wanted.into_iter().filter(|name| {
        std::fs::read_to_string(Paths::get().policies().join(name))
            .is_ok_and(|text| !PolicyGroup::parse(name, &text).blocks.is_empty())
    })
}

fn implicit<'a>(context: &'a Context, setup: &Setup) -> Vec<(&'a str, Auto)> {
    if !implicit_wanted(&context.config, setup) {
        return Vec::new();
    }
    let names = context.config.implicit_names();
    names.map(|name| (name, Auto::Route)).collect()
}

/// Names and what to do with them: by `auto=`, or by `plutoload=` and `plutostart=` of 1.x.
fn choose<'a>(context: &'a Context, setup: &'a Setup) -> Vec<(&'a str, Auto)> {
    let mut autos = context.config.autos();
    autos.extend(implicit(context, setup));
    let mut chosen: Vec<(&str, Auto)> = match &setup.plutoload {
        Selection::Search => autos
            .iter()
            .filter(|(_, a)| matches!(a, Auto::Add | Auto::Route | Auto::Start))
            .copied()
            .collect(),
        Selection::Names(names) => names.iter().map(|n| (n.as_str(), Auto::Add)).collect(),
    };
    if let Selection::Names(names) = &setup.plutostart {
        for (_, auto) in chosen.iter_mut().filter(|(_, auto)| *auto == Auto::Start) {
            *auto = Auto::Route;
        }
        for name in names {
            match chosen.iter_mut().find(|(n, _)| n == name) {
                Some((_, auto)) => *auto = Auto::Start,
                None => chosen.push((name, Auto::Start)),
            }
        }
    }
    chosen
}

fn add(context: &Context, name: &str) -> Option<Conn> {
    let conn = diagnose::usable(&context.config, context.config.conn(name))?;
    let requests = match connection::requests(&conn) {
        Ok(requests) => requests,
        Err(problem) => {
            diagnose::show(&context.config, &[*problem]);
            return None;
        }
    };
    requests
        .iter()
        .all(|request| ask(context, request).is_done())
        .then_some(conn)
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is done, or under way.
    Done,
    /// It is done when an address is there that is not there yet.
    Waits,
    /// It failed.
    Failed,
}

impl Outcome {
    fn is_done(self) -> bool {
        self == Outcome::Done
    }
}

/// Puts a request to pluto. Only trouble is shown, progress goes to the log.
fn ask(context: &Context, request: &Request) -> Outcome {
    let waits = [Rc::Orient, Rc::NoPeerIp].map(Rc::code);
    let status = send(request, |code, text| {
        let quiet = matches!(code, 0 | 2 | 4 | 100..=199) || code == Rc::Retransmission.code();
        let line = format!("{code:03} {text}");
        // Who waits for a name has been told already.
        if quiet || text.contains("waiting for ") {
            context.messages.log(&line)
        } else {
            context.messages.say(&line)
        }
    });
    let in_progress = matches!(
        request,
        Request::Initiate {
            asynchronous: true,
            ..
        }
    );
    match status {
        Ok(0) => Outcome::Done,
        Ok(status) if waits.contains(&u16::from(status)) => {
            let ipv6 = matches!(request, Request::Route { name } if name == PACKET_DEFAULT_6);
            context.waits.set(context.waits.get() || !ipv6);
            Outcome::Waits
        }
        Ok(100..) if in_progress => Outcome::Done,
        Ok(_) => Outcome::Failed,
        Err(error) => {
            context.messages.say(&error.to_string());
            Outcome::Failed
        }
    }
}
