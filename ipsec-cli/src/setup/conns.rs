//! The connections that are loaded at startup: all added, then pluto listens, then they are routed, then started.

use super::{Context, start};
use crate::auto::connection;
use crate::auto::ends::Routes;
use crate::auto::send;
use crate::paths::Paths;
use crate::{diagnose, manual, net};
use ipsec_conf::implicit::GROUPS;
use ipsec_conf::{Auto, Conn, PolicyGroup, Selection, Setup, clashes};
use whack::{Rc, Request};

/// Loads them. A connection that fails is told and left out; the others go on.
pub fn load(context: &Context, setup: &Setup) {
    if let Some(id) = &setup.myid {
        ask(context, &Request::MyId { id: id.clone() });
    }
    let chosen = choose(context, setup);
    let mut routes = Routes::new(net::default_route);
    let mut conns: Vec<(Conn, Auto)> = Vec::new();
    for (name, auto) in &chosen {
        match add(context, name, &mut routes) {
            Some(conn) => conns.push((conn, *auto)),
            None => context
                .messages
                .say(&format!("...could not add conn \"{name}\"")),
        }
    }
    diagnose::show(
        &context.config,
        &clashes(conns.iter().map(|(conn, _)| conn)),
    );
    ask(context, &Request::Listen);
    start::shell(context, "postpluto", setup.postpluto.as_deref());
    let named = |least: Auto| {
        conns
            .iter()
            .filter(move |(_, auto)| *auto >= least)
            .map(|(conn, _)| conn.name.clone())
    };
    for name in named(Auto::Route) {
        if !ask(context, &Request::Route { name: name.clone() }) {
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
        if !ask(context, &request) {
            context
                .messages
                .say(&format!("...could not start conn \"{name}\""));
        }
    }
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

/// Takes manually keyed connections up. One that fails is told and left out.
pub fn start_manual(context: &Context, setup: &Setup) {
    for name in manually_keyed(context, setup) {
        if let Err(message) = manual::up(&context.config, name) {
            context.messages.say(&message);
            context
                .messages
                .say(&format!("...could not set up conn \"{name}\""));
        }
    }
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

/// The implicit connections that are loaded: all, none, or those policy groups whose file has a block.
fn implicit<'a>(context: &'a Context, setup: &Setup) -> Vec<(&'a str, Auto)> {
    let wanted = |name: &str| match setup.oe {
        Some(oe) => oe,
        None => {
            GROUPS.contains(&name)
                && std::fs::read_to_string(Paths::get().policies().join(name))
                    .is_ok_and(|text| !PolicyGroup::parse(name, &text).blocks.is_empty())
        }
    };
    let names = context.config.implicit_names();
    names
        .filter(|name| wanted(name))
        .map(|name| (name, Auto::Route))
        .collect()
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

fn add(context: &Context, name: &str, routes: &mut Routes) -> Option<Conn> {
    let conn = diagnose::usable(&context.config, context.config.conn(name))?;
    let requests = match connection::requests(&conn, routes) {
        Ok(requests) => requests,
        Err(problem) => {
            diagnose::show(&context.config, &[*problem]);
            return None;
        }
    };
    requests
        .iter()
        .all(|request| ask(context, request))
        .then_some(conn)
}

/// Puts a request to pluto. Only trouble is shown, progress goes to the log.
fn ask(context: &Context, request: &Request) -> bool {
    let status = send(request, |code, text| {
        let quiet = matches!(code, 0 | 2 | 4 | 100..=199) || code == Rc::Retransmission.code();
        let line = format!("{code:03} {text}");
        if quiet {
            context.messages.log(&line)
        } else {
            context.messages.say(&line)
        }
    });
    match status {
        Ok(status) => {
            status == 0
                || matches!(
                    request,
                    Request::Initiate {
                        asynchronous: true,
                        ..
                    }
                ) && status >= 100
        }
        Err(error) => {
            context.messages.say(&error.to_string());
            false
        }
    }
}
