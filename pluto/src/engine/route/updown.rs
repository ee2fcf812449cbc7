//! The updown command: what it is told, and what becomes of its answer.

use std::collections::HashMap;

use ipsec_types::Subnet;
use whack::{DebugClass, Rc};

use super::lane::LaneKey;
use crate::engine::Engine;
use crate::engine::connection::{ConnId, Connection, End};
use crate::engine::event::{Action, UpdownId, UpdownStatus};
use crate::engine::kernel::InstallError;
use crate::engine::log::About;
use crate::engine::time::Time;

/// The version of the interface, `PLUTO_VERSION`.
const INTERFACE_VERSION: &str = "1.1";

/// What the command is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Remove what may be in the way of a route.
    Prepare,
    /// Let nothing pass until there is a route.
    Close,
    /// Make the route.
    Route,
    /// Remove the route.
    Unroute,
    /// A tunnel has come up.
    Up,
    /// A tunnel has gone down.
    Down,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Close => "close",
            Self::Route => "route",
            Self::Unroute => "unroute",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// `route-client`, `up-host-v6`.
    fn for_connection(self, conn: &Connection) -> String {
        let whom = if conn.this.client_is_host() {
            "host"
        } else {
            "client"
        };
        let family = if conn.this.host.is_some_and(|host| host.is_ipv6()) {
            "-v6"
        } else {
            ""
        };
        format!("{}-{whom}{family}", self.name())
    }
}

/// What a connection does with packets for which there is no tunnel and will be none. What was made by opportunism leaves that to its
/// policy: nobody would take away what it left in a crash.
pub(super) fn without_tunnel(conn: &Connection) -> &'static str {
    if conn.policy.opportunistic && conn.instance_serial != 0 {
        return "policy";
    }
    if conn.policy.goes_in_the_clear() {
        "pass"
    } else {
        "drop"
    }
}

#[derive(Debug)]
struct Command {
    lane: LaneKey,
    conn: ConnId,
    verb: String,
}

/// Commands that run. A lane has one at a time.
#[derive(Debug, Default)]
pub(crate) struct Updowns {
    running: HashMap<UpdownId, Command>,
    next: u64,
}

impl Engine {
    /// Starts the command of a connection; over at once if it has none.
    pub(super) fn run_updown(
        &mut self,
        lane: LaneKey,
        id: ConnId,
        verb: Verb,
    ) -> Option<Result<(), InstallError>> {
        if self.config.no_klips {
            return Some(Ok(()));
        }
        let Some(conn) = self.conns.get(id) else {
            return Some(Err(InstallError::Gone));
        };
        let Some(command) = conn.this.updown.clone() else {
            return Some(Ok(()));
        };
        let verb = verb.for_connection(conn);
        let env = self.updown_env(conn, &verb);
        self.updowns.next += 1;
        let updown = UpdownId(self.updowns.next);
        self.debug(About::conn(id), DebugClass::Control, || {
            format!("executing {verb}: {command}")
        });
        self.updowns.running.insert(
            updown,
            Command {
                lane,
                conn: id,
                verb,
            },
        );
        self.act(Action::RunUpdown {
            id: updown,
            command,
            env,
        });
        None
    }

    /// The command has ended.
    pub(crate) fn updown_done(
        &mut self,
        now: Time,
        id: UpdownId,
        output: &[String],
        status: &UpdownStatus,
    ) {
        let Some(Command { lane, conn, verb }) = self.updowns.running.remove(&id) else {
            return;
        };
        let about = About::conn(conn);
        for line in output {
            let line: String = line
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            self.log(about, format!("{verb} output: {line}"));
        }
        let problem = match status {
            UpdownStatus::Exited(0) => None,
            UpdownStatus::Exited(status) => {
                Some(format!("{verb} command exited with status {status}"))
            }
            UpdownStatus::Signalled(signal) => {
                Some(format!("{verb} command exited with signal {signal}"))
            }
            UpdownStatus::NotStarted(why) => Some(format!("unable to run {verb} command: {why}")),
        };
        if let Some(problem) = &problem {
            self.loglog(about, Rc::LogSerious, problem);
        }
        self.step_done(
            now,
            lane,
            problem.map_or(Ok(()), |problem| Err(InstallError::Updown(problem))),
        );
    }

    fn updown_env(&self, conn: &Connection, verb: &str) -> Vec<(String, String)> {
        let text = |value: Option<String>| value.unwrap_or_default();
        let mut env = vec![
            ("PLUTO_VERSION".to_owned(), INTERFACE_VERSION.to_owned()),
            ("PLUTO_VERB".to_owned(), verb.to_owned()),
            ("PLUTO_CONNECTION".to_owned(), conn.name.clone()),
            (
                "PLUTO_NEXT_HOP".to_owned(),
                text(conn.this.nexthop.map(|hop| hop.to_string())),
            ),
            (
                "PLUTO_WITHOUT_TUNNEL".to_owned(),
                without_tunnel(conn).to_owned(),
            ),
            (
                "PLUTO_INTERFACE".to_owned(),
                text(conn.interface.as_ref().map(|i| i.virt.clone())),
            ),
        ];
        self.end_env(&mut env, "ME", "MY", &conn.this);
        self.end_env(&mut env, "PEER", "PEER", &conn.that);
        let source = conn.this.source_ip.map(|source| source.to_string());
        env.extend(source.map(|source| ("PLUTO_MY_SOURCEIP".to_owned(), source)));
        env
    }

    fn end_env(&self, env: &mut Vec<(String, String)>, host: &str, prefix: &str, end: &End) {
        let client = end.client.or(end.host.map(Subnet::host));
        let of_client = |form: fn(&Subnet) -> String| client.as_ref().map(form).unwrap_or_default();
        let id = match self.resolve_id(&end.id) {
            Some(known) => super::super::Id::from(known).to_string(),
            None => end.id.to_string(),
        };
        // A template's peer is everybody.
        let v6 = end.client.is_some_and(|client| client.addr().is_ipv6());
        let anyone = if v6 { "::" } else { "0.0.0.0" };
        let host_addr = end
            .host
            .map_or_else(|| anyone.to_owned(), |addr| addr.to_string());
        env.push((format!("PLUTO_{host}"), host_addr));
        for (name, value) in [
            ("ID", id),
            ("CLIENT", of_client(Subnet::to_string)),
            ("CLIENT_NET", of_client(|client| client.addr().to_string())),
            ("CLIENT_MASK", of_client(|client| client.mask().to_string())),
            ("PORT", end.protoport.port.0.to_string()),
            ("PROTOCOL", end.protoport.proto.to_string()),
        ] {
            env.push((format!("PLUTO_{prefix}_{name}"), value));
        }
    }
}
