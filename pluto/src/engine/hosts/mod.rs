//! Addresses that are not given as such: host names and `%defaultroute`. They may not be known when a connection is loaded, and they may
//! change while it lives; the connection is there all the while. What it is without its addresses is in `connection` (`waiting`), what
//! stays closed when they change in `route`.
//!
//! The parts: `find` (which addresses a description has now), `names` (when a name is looked up), `settle` (connections that get their
//! addresses, or others), `wait` (people who wait for the look-ups), `show` (words).

mod find;
mod names;
mod settle;
mod show;
mod wait;

use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

use super::connection::{ConnId, Found};
use super::event::{DefaultRoutes, HostLookupId};
use names::Name;
use wait::Waiter;

/// A connection whose description leaves addresses to be found.
#[derive(Debug)]
struct Followed {
    request: Box<whack::Connection>,
    found: Found,
    /// What is not known yet.
    missing: Vec<whack::Live>,
    /// It is getting other addresses, and was routed with those before.
    routed: bool,
}

/// All that is followed.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    followed: BTreeMap<ConnId, Followed>,
    /// By name, in lower case.
    names: BTreeMap<String, Name>,
    by_lookup: HashMap<HostLookupId, String>,
    /// The last default route of each family that there was.
    routes: DefaultRoutes,
    /// Those that there are now.
    routes_now: DefaultRoutes,
    waiters: Vec<Waiter>,
    last: u64,
}

impl Hosts {
    /// The device of the last default route of a family.
    pub(super) fn default_device(&self, ipv6: bool) -> Option<&str> {
        self.routes.of(ipv6).map(|route| route.device.as_str())
    }

    /// The router of the last default route of a family.
    pub(super) fn router(&self, ipv6: bool) -> Option<IpAddr> {
        self.routes.of(ipv6).and_then(|route| route.next_hop)
    }

    /// The names that a connection needs.
    fn names_of(&self, id: ConnId) -> Vec<String> {
        let request = self.followed.get(&id).map(|followed| &followed.request);
        request.map(|r| find::names_in(r)).unwrap_or_default()
    }
}
