//! Words to people: the log, and the lines that whack clients see. Also which debug classes are on.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use whack::{DebugClass, Rc};

use super::connection::{ConnId, StateId};
use super::event::{Action, ClientId, LogLevel};
use super::limiter::{Cause, TOLD_EVERY, cut};
use super::{Engine, Timer};

/// Debug classes that are on.
pub type DebugSet = BTreeSet<DebugClass>;

/// What a line is about; put before it as `"conn" #1: `.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The connection.
    pub conn: Option<ConnId>,
    /// The state.
    pub state: Option<StateId>,
    /// The sender of a packet, where there is no connection yet.
    pub from: Option<SocketAddr>,
    /// Who watches.
    pub client: Option<ClientId>,
}

impl About {
    /// Nothing in particular, told to `client`.
    pub fn client(client: ClientId) -> Self {
        Self {
            client: Some(client),
            ..Self::default()
        }
    }

    /// A connection.
    pub fn conn(conn: ConnId) -> Self {
        Self {
            conn: Some(conn),
            ..Self::default()
        }
    }

    /// A packet from `from`.
    pub fn from(from: SocketAddr) -> Self {
        Self {
            from: Some(from),
            ..Self::default()
        }
    }

    /// The same, of a state.
    #[must_use]
    pub fn state(self, state: StateId) -> Self {
        Self {
            state: Some(state),
            ..self
        }
    }

    /// The same, watched by `client`.
    #[must_use]
    pub fn watched_by(self, client: Option<ClientId>) -> Self {
        Self { client, ..self }
    }
}

impl Engine {
    /// Writes to the log only. What a stranger may be behind is cut, and written within its limit (`limiter`).
    pub(crate) fn log(&mut self, about: About, text: impl AsRef<str>) {
        self.write(about, LogLevel::Info, text.as_ref());
    }

    /// Writes to the log, and to whoever watches with `rc` before it.
    pub(crate) fn loglog(&mut self, about: About, rc: Rc, text: impl AsRef<str>) {
        self.whack_log(about, rc, text.as_ref());
        let serious = !matches!(rc, Rc::Comment | Rc::Log | Rc::Success | Rc::NewState(_));
        let level = if serious {
            LogLevel::Warning
        } else {
            LogLevel::Info
        };
        self.write(about, level, text.as_ref());
    }

    /// The same about a message that its peer has proved to have sent, and of which nothing comes: it may send many.
    pub(crate) fn loglog_useless(&mut self, about: About, rc: Rc, text: impl AsRef<str>) {
        let before = self.limiter.blame(Some(Cause::Peer));
        self.loglog(about, rc, text);
        self.limiter.blame(before);
    }

    fn write(&mut self, about: About, level: LogLevel, text: &str) {
        let mut text = self.with_prefix(about, text);
        if let Some(cause) = self.limiter.cause().or_else(|| self.unproved(about)) {
            if !self.limiter.may_be_told(cause) {
                let timer = Timer::LinesLeftOut;
                if self.timers.deadline(&timer).is_none() {
                    self.timers.set(self.limiter.now() + TOLD_EVERY, timer);
                }
                return;
            }
            text = cut(text);
        }
        self.act(Action::Log { level, text });
    }

    /// The cause of lines about a state: a stranger, until it has proved who it is.
    fn unproved(&self, about: About) -> Option<Cause> {
        let stranger = about.state.is_some_and(|id| self.is_stranger(id));
        stranger.then_some(Cause::Exchange)
    }

    /// Time to say how many lines were left out.
    pub(crate) fn tell_lines_left_out(&mut self) {
        for text in self.limiter.left_out() {
            self.act(Action::Log {
                level: LogLevel::Info,
                text,
            });
        }
    }

    /// Tells whoever watches, and nobody else.
    pub(crate) fn whack_log(&mut self, about: About, rc: Rc, text: impl AsRef<str>) {
        if let Some(client) = about.client {
            let text = self.with_prefix(about, text.as_ref());
            self.reply(client, rc, text);
        }
    }

    /// Writes to the log if `class` is on for pluto or for the connection.
    pub(crate) fn debug(&mut self, about: About, class: DebugClass, text: impl FnOnce() -> String) {
        if self.debugging(about, class) {
            let text = format!("| {}", text());
            self.act(Action::Log {
                level: LogLevel::Debug,
                text,
            });
        }
    }

    fn debugging(&self, about: About, class: DebugClass) -> bool {
        let of_conn = |id| {
            self.conns
                .get(id)
                .is_some_and(|conn| conn.live.debug.contains(&class))
        };
        self.config.debug.contains(&class) || about.conn.is_some_and(of_conn)
    }

    fn with_prefix(&self, about: About, text: &str) -> String {
        if let Some(conn) = about.conn.and_then(|id| self.conns.get(id)) {
            let tag = conn.tag();
            return match about.state {
                Some(state) => format!("{tag} {state}: {text}"),
                None => format!("{tag}: {text}"),
            };
        }
        match about.from {
            Some(from) => format!("packet from {}:{}: {text}", from.ip(), from.port()),
            None => text.to_owned(),
        }
    }
}
