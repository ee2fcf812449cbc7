//! Which addresses a description has, by what is known of names and default routes. Pure: nothing is asked here.

use core::net::IpAddr;

use whack::{Host, Live};

use super::Hosts;
use crate::engine::connection::{Found, FoundEnd};

/// The names among what a description leaves to be found, each once, in lower case.
pub(super) fn names_in(request: &whack::Connection) -> Vec<String> {
    let ends = [&request.left, &request.right];
    let lives = ends
        .into_iter()
        .flat_map(|end| end.host.live().into_iter().chain(&end.live_nexthop));
    let mut names: Vec<String> = lives
        .filter_map(|live| match live {
            Live::Name(name) => Some(key(name)),
            Live::DefaultRoute => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names are the same in whatever case.
pub(super) fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// What is asked of a default route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Address,
    Router,
}

impl Hosts {
    /// The addresses of a description, and what is missing. Where several would do, those of `before` stay.
    ///
    /// The family of the gateways is that of an address that is given. Where none is, it is IPv4, unless only IPv6 has all that it needs.
    pub(super) fn find(
        &self,
        request: &whack::Connection,
        before: Option<&Found>,
    ) -> (Found, Vec<Live>) {
        let families: &[bool] = match (family(request), before.filter(|found| found.complete)) {
            (Some(true), _) => &[true],
            (Some(false), _) => &[false],
            (None, Some(before)) if before.ipv6 => &[true, false],
            (None, _) => &[false, true],
        };
        let mut first = None;
        for &ipv6 in families {
            let (found, missing) = self.find_in(request, before, ipv6);
            if missing.is_empty() {
                return (found, missing);
            }
            first.get_or_insert((found, missing));
        }
        first.unwrap_or_default()
    }

    fn find_in(
        &self,
        request: &whack::Connection,
        before: Option<&Found>,
        ipv6: bool,
    ) -> (Found, Vec<Live>) {
        let mut missing = Vec::new();
        let old = before.copied().unwrap_or_default();
        let mut end = |end: &whack::End, old: FoundEnd| FoundEnd {
            host: match &end.host {
                Host::Addr(addr) => Some(*addr),
                Host::Live(live) => self.look(live, Part::Address, old.host, ipv6, &mut missing),
                _ => None,
            },
            nexthop: match &end.live_nexthop {
                None => end.nexthop,
                Some(live) => self.look(live, Part::Router, old.nexthop, ipv6, &mut missing),
            },
        };
        let (left, right) = (end(&request.left, old.left), end(&request.right, old.right));
        missing.dedup();
        let clients = [&request.left, &request.right];
        let told = clients
            .iter()
            .any(|end| end.client.is_some() || end.virt.is_some());
        let found = Found {
            left,
            right,
            ipv6,
            tunnel_ipv6: if told { request.tunnel_ipv6 } else { ipv6 },
            complete: missing.is_empty(),
        };
        (found, missing)
    }

    fn look(
        &self,
        live: &Live,
        part: Part,
        old: Option<IpAddr>,
        ipv6: bool,
        missing: &mut Vec<Live>,
    ) -> Option<IpAddr> {
        let known = match live {
            Live::Name(name) => {
                let all = self.names.get(&key(name)).map_or(&[][..], Name::addresses);
                let fit = |addr: &&IpAddr| addr.is_ipv6() == ipv6;
                let kept = old.filter(|old| all.contains(old) && old.is_ipv6() == ipv6);
                kept.or_else(|| all.iter().find(fit).copied()).map(Some)
            }
            Live::DefaultRoute => self.routes.of(ipv6).map(|route| match part {
                Part::Address => Some(route.address),
                Part::Router => route.next_hop,
            }),
        };
        if known.is_none() {
            missing.push(live.clone());
        }
        known.flatten()
    }
}

use super::names::Name;

/// The family that the description itself tells: of an address that is given, or of the clients where the peer is everybody.
fn family(request: &whack::Connection) -> Option<bool> {
    if request.ipv6 {
        return Some(true);
    }
    let ends = [&request.left, &request.right];
    let given = ends
        .iter()
        .flat_map(|end| end.host.addr().into_iter().chain(end.nexthop))
        .map(|addr| addr.is_ipv6())
        .next();
    let everybody = ends.iter().any(|end| {
        matches!(
            end.host,
            Host::Opportunistic | Host::Group | Host::OpportunisticGroup
        )
    });
    given.or_else(|| everybody.then_some(request.tunnel_ipv6))
}
