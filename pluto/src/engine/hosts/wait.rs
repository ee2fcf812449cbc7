//! Clients that wait until names are looked up, and no longer than people like to wait.

use core::time::Duration;

use whack::Rc;

use super::names::Name;
use crate::engine::connection::ConnId;
use crate::engine::event::ClientId;
use crate::engine::log::About;
use crate::engine::timers::Timer;
use crate::engine::{Engine, Time};

/// How long a start waits for the first answers, all names together.
const START: Duration = Duration::from_secs(2);
/// How long `--initiate` waits for an answer that is not known yet.
const INITIATE: Duration = Duration::from_secs(15);
/// How long it waits where an address is known, and may be out of date.
const INITIATE_AGAIN: Duration = Duration::from_secs(2);

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// That each name has been looked up once.
    AllNames,
    /// That the names of a connection are looked up; then it is initiated.
    Initiate(ConnId),
}

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    client: ClientId,
    until: Time,
    what: What,
}

impl Engine {
    /// A client starts to listen: it waits until each name has been looked up once, and hears which connections wait for theirs.
    pub(crate) fn wait_for_names(&mut self, now: Time, client: ClientId) {
        if self.hosts.followed.is_empty() {
            return;
        }
        self.hold_for_names(client, now + START, What::AllNames);
        self.serve_waiters(now);
    }

    /// Somebody wants a connection up: its names are looked up first, and `true` answered if that takes time. It is initiated after that.
    pub(crate) fn looks_names_up(&mut self, now: Time, client: ClientId, id: ConnId) -> bool {
        self.ask_names_of(now, id);
        if !self.asks_names_of(id) {
            return false;
        }
        let patience = if self.waits_for_address(id) {
            INITIATE
        } else {
            INITIATE_AGAIN
        };
        self.hold_for_names(client, now + patience, What::Initiate(id));
        true
    }

    fn asks_names_of(&self, id: ConnId) -> bool {
        let names = self.hosts.names_of(id);
        names
            .iter()
            .any(|name| self.hosts.names.get(name).is_some_and(Name::is_asked))
    }

    fn hold_for_names(&mut self, client: ClientId, until: Time, what: What) {
        self.hold_client(client);
        self.hosts.waiters.push(Waiter {
            client,
            until,
            what,
        });
        let first = self.hosts.waiters.iter().map(|waiter| waiter.until).min();
        if let Some(first) = first {
            self.timers.set(first, Timer::HostWaiters);
        }
    }

    /// Lets go those whose names are looked up, or who have waited long enough.
    pub(crate) fn serve_waiters(&mut self, now: Time) {
        let all = core::mem::take(&mut self.hosts.waiters);
        let (served, waiting): (Vec<Waiter>, Vec<Waiter>) = all.into_iter().partition(|waiter| {
            waiter.until <= now
                || match waiter.what {
                    What::AllNames => !self.hosts.names.values().any(Name::is_new),
                    What::Initiate(id) => !self.asks_names_of(id),
                }
        });
        self.hosts.waiters = waiting;
        match self.hosts.waiters.iter().map(|waiter| waiter.until).min() {
            Some(first) => self.timers.set(first, Timer::HostWaiters),
            None => _ = self.timers.cancel(&Timer::HostWaiters),
        }
        for waiter in served {
            match waiter.what {
                What::AllNames => self.tell_who_waits(now, waiter.client),
                What::Initiate(id) => self.initiate_now(now, waiter.client, id, false),
            }
            self.release_client(waiter.client);
        }
    }

    fn tell_who_waits(&mut self, now: Time, client: ClientId) {
        let waiting: Vec<ConnId> = self
            .hosts
            .followed
            .iter()
            .filter(|(_, followed)| !followed.found.complete)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let about = About::conn(id).watched_by(Some(client));
            for text in self.why_it_waits(now, id) {
                self.loglog(about, Rc::Comment, text);
            }
        }
    }

    /// A client has gone.
    pub(crate) fn forget_waiter(&mut self, client: ClientId) {
        self.hosts.waiters.retain(|waiter| waiter.client != client);
    }
}
