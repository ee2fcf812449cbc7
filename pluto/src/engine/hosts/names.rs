//! When a name is looked up: at once when a connection names it, again while it has no address (later each time), now and then where it
//! has one, and at once when there is a reason to think that it has changed.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use whack::Rc;

use super::find::names_in;
use crate::engine::connection::ConnId;
use crate::engine::event::{Action, DefaultRoutes, HostLookupId};
use crate::engine::log::About;
use crate::engine::timers::Timer;
use crate::engine::{Engine, Time};

/// Before a name that has no address is looked up again; doubled each time, up to the interval of those that have one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Before a name that has an address is looked up again. The system's resolver does not tell for how long its answer holds; servers and
/// caches that it asks keep to that themselves.
const INTERVAL: Duration = Duration::from_secs(60);
/// An answer that is not older is not asked for again, whatever happens.
const FRESH: Duration = Duration::from_secs(5);
/// Addresses of one name that are of interest.
const MAX_ADDRESSES: usize = 32;

/// A name.
#[derive(Debug, Default)]
pub(super) struct Name {
    users: BTreeSet<ConnId>,
    addresses: Vec<IpAddr>,
    /// Why the last look-up gave none.
    pub(super) why: Option<String>,
    failures: u32,
    lookup: Option<HostLookupId>,
    answered: Option<Time>,
}

impl Name {
    /// Those of the last good answer, in its order.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Whether it has never been answered.
    pub(super) fn is_new(&self) -> bool {
        self.answered.is_none()
    }

    /// Whether it is being looked up.
    pub(super) fn is_asked(&self) -> bool {
        self.lookup.is_some()
    }
}

impl Engine {
    /// A connection needs these names: those that are new are looked up.
    pub(super) fn use_names(&mut self, id: ConnId, request: &whack::Connection) {
        for name in names_in(request) {
            let known = self.hosts.names.entry(name.clone()).or_default();
            known.users.insert(id);
            if known.is_new() {
                self.ask_name(&name);
            }
        }
    }

    /// A connection needs these names no longer.
    pub(super) fn drop_user(&mut self, id: ConnId, request: &whack::Connection) {
        for name in names_in(request) {
            let Some(known) = self.hosts.names.get_mut(&name) else {
                continue;
            };
            known.users.remove(&id);
            if known.users.is_empty() {
                if let Some(lookup) = known.lookup {
                    self.hosts.by_lookup.remove(&lookup);
                }
                self.hosts.names.remove(&name);
                self.timers.cancel(&Timer::HostName(name));
            }
        }
    }

    /// Looks a name up, unless that is being done.
    pub(crate) fn ask_name(&mut self, name: &str) {
        let Some(known) = self.hosts.names.get_mut(name).filter(|n| !n.is_asked()) else {
            return;
        };
        self.hosts.last += 1;
        let id = HostLookupId(self.hosts.last);
        known.lookup = Some(id);
        self.hosts.by_lookup.insert(id, name.to_owned());
        self.timers.cancel(&Timer::HostName(name.to_owned()));
        let name = name.to_owned();
        self.act(Action::FindHost { id, name });
    }

    /// Looks up what a connection names, unless the answer is fresh: its peer may have moved, or somebody wants it now.
    pub(crate) fn ask_names_of(&mut self, now: Time, id: ConnId) {
        for name in self.hosts.names_of(id) {
            let Some(known) = self.hosts.names.get(&name) else {
                continue;
            };
            let fresh = known.answered.is_some_and(|then| now - then < FRESH);
            if !fresh || known.why.is_some() {
                self.ask_name(&name);
            }
        }
    }

    /// The network is another one: what could not be found may be found now.
    pub(crate) fn ask_missing_names(&mut self) {
        let failing = |name: &Name| name.why.is_some();
        let names = self.hosts.names.iter().filter(|(_, name)| failing(name));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.ask_name(&name);
        }
    }

    /// The system's resolver has answered.
    pub(crate) fn host_found(
        &mut self,
        now: Time,
        id: HostLookupId,
        result: Result<Vec<IpAddr>, String>,
    ) {
        let Some(name) = self.hosts.by_lookup.remove(&id) else {
            return;
        };
        let result = result.and_then(usable);
        let Some(known) = self.hosts.names.get_mut(&name) else {
            return;
        };
        known.lookup = None;
        known.answered = Some(now);
        let pause = match result {
            Ok(addresses) => {
                (known.why, known.failures) = (None, 0);
                let old = core::mem::replace(&mut known.addresses, addresses);
                // Secrets may be indexed by the same name.
                if old != known.addresses && self.listening {
                    self.act(Action::RefreshSecrets);
                }
                INTERVAL
            }
            Err(why) => {
                let pause = FIRST_PAUSE * (1 << known.failures.min(8));
                known.failures += 1;
                let old = known.why.replace(why.clone());
                if old.as_ref() != Some(&why) {
                    let goes_on = if known.addresses.is_empty() {
                        "it is looked up again, later each time"
                    } else {
                        "its last address stands"
                    };
                    let text = format!("cannot find the address of \"{name}\": {why}; {goes_on}");
                    self.loglog(About::default(), Rc::LogSerious, text);
                }
                pause.min(INTERVAL)
            }
        };
        self.timers.set(now + pause, Timer::HostName(name.clone()));
        let users = self.hosts.names.get(&name).map(|name| name.users.clone());
        for user in users.unwrap_or_default() {
            self.find_again(now, user);
        }
        self.serve_waiters(now);
    }

    /// The default routes are these now. One that has gone is as good as there for what was found by it: nothing else is known.
    pub(crate) fn default_routes(&mut self, now: Time, routes: DefaultRoutes) {
        let hosts = &mut self.hosts;
        if hosts.routes_now == routes {
            return;
        }
        for (known, new) in [
            (&mut hosts.routes.v4, &routes.v4),
            (&mut hosts.routes.v6, &routes.v6),
        ] {
            if new.is_some() {
                known.clone_from(new);
            }
        }
        hosts.routes_now = routes;
        let all: Vec<ConnId> = self.hosts.followed.keys().copied().collect();
        for id in all {
            self.find_again(now, id);
        }
        // Blocks of IPv6 are for the addresses of its device.
        self.apply_groups(now);
        self.ask_missing_names();
    }
}

/// The addresses that can be a host's: a name server that blocks a name answers 0.0.0.0, which here would mean everybody.
fn usable(mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    let first = addresses.first().copied();
    addresses.retain(|addr| {
        let broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
        !addr.is_unspecified() && !addr.is_multicast() && !broadcast
    });
    addresses.truncate(MAX_ADDRESSES);
    match (addresses.is_empty(), first) {
        (false, _) => Ok(addresses),
        (true, None) => Err("it has no address".to_owned()),
        (true, Some(addr)) => Err(format!("{addr} is no address of a host")),
    }
}
