//! The gateways of a connection: for pluto, which finds names and `%defaultroute` itself and again and again, and for keys that are not
//! negotiated, where they are found once.

use super::connection::{Outcome, complain};
use crate::net::{DefaultRoute, NetError};
use crate::paths::Paths;
use ipsec_conf::{Conn, End, Host, NextHop, Side};
use std::net::{IpAddr, ToSocketAddrs};
use whack::Live;

/// The default route, found when first asked for: what the system says now, else what setup noted in ipsec.info.
pub struct Routes {
    find: fn() -> Result<DefaultRoute, NetError>,
    found: Option<DefaultRoute>,
}

impl Routes {
    /// With a way to find it.
    pub fn new(find: fn() -> Result<DefaultRoute, NetError>) -> Self {
        Self { find, found: None }
    }

    fn get(&mut self) -> Result<DefaultRoute, String> {
        if self.found.is_none() {
            let noted = || from_info(&std::fs::read_to_string(Paths::get().info()).ok()?);
            self.found = Some(match (self.find)() {
                Ok(route) => route,
                Err(error) => noted().ok_or_else(|| error.to_string())?,
            });
        }
        self.found.clone().ok_or_else(|| "no default route".into())
    }
}

fn from_info(text: &str) -> Option<DefaultRoute> {
    let value = |name: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
    };
    Some(DefaultRoute {
        device: value("defaultroutephys")?.to_string(),
        address: value("defaultrouteaddr")?.parse().ok()?,
        next_hop: value("defaultroutenexthop").and_then(|hop| hop.parse().ok()),
    })
}

/// A gateway whose address is known.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// The next hop to the other one, if that is not the other one itself.
    pub next_hop: Option<IpAddr>,
}

/// Both gateways, left first, of a connection that leaves neither open.
pub fn ends(conn: &Conn, routes: &mut Routes) -> Outcome<[Gateway; 2]> {
    Ok([
        gateway(conn, Side::Left, &conn.left, routes)?,
        gateway(conn, Side::Right, &conn.right, routes)?,
    ])
}

/// A gateway and its next hop as pluto is told them: names and `%defaultroute` are its to find.
pub(super) fn host(end: &End) -> (whack::Host, Option<IpAddr>, Option<Live>) {
    let host = match &end.host {
        // It brings its router along.
        Host::DefaultRoute => {
            let host = whack::Host::Live(Live::DefaultRoute);
            return (host, None, Some(Live::DefaultRoute));
        }
        Host::Address(address) => whack::Host::Addr(*address),
        Host::Name(name) => whack::Host::Live(Live::Name(name.clone())),
        Host::Any => whack::Host::Any,
        Host::Opportunistic => whack::Host::Opportunistic,
        Host::Group => whack::Host::Group,
        Host::OpportunisticGroup => whack::Host::OpportunisticGroup,
    };
    match &end.next_hop {
        NextHop::Direct => (host, None, None),
        NextHop::Address(address) => (host, Some(*address), None),
        NextHop::Name(name) => (host, None, Some(Live::Name(name.clone()))),
        NextHop::DefaultRoute => (host, None, Some(Live::DefaultRoute)),
    }
}

/// What a gateway and its next hop are now, of one that has an address.
fn gateway(conn: &Conn, side: Side, end: &End, routes: &mut Routes) -> Outcome<Gateway> {
    let hop_key = format!("{}nexthop", side.name());
    let known = "start IPsec on a host that has one, or give the address";
    let fail = |key: &str, error: String| {
        complain(
            conn,
            key,
            format!("%defaultroute requested but not known: {error}"),
            known,
        )
    };
    let address = match &end.host {
        Host::DefaultRoute => {
            let route = routes.get().map_err(|e| fail(side.name(), e))?;
            return Ok(Gateway {
                address: route.address,
                next_hop: route.next_hop,
            });
        }
        Host::Address(address) => *address,
        Host::Name(name) => look_up(conn, side.name(), name)?,
        Host::Any | Host::Opportunistic | Host::Group | Host::OpportunisticGroup => {
            return Err(complain(
                conn,
                side.name(),
                format!(
                    "{} must be an address where keys are not negotiated",
                    side.name()
                ),
                "road warriors and opportunism need ipsec auto",
            ));
        }
    };
    let next_hop = match &end.next_hop {
        NextHop::Direct => None,
        NextHop::Address(address) => Some(*address),
        NextHop::Name(name) => Some(look_up(conn, &hop_key, name)?),
        NextHop::DefaultRoute => {
            let route = routes.get().map_err(|e| fail(&hop_key, e))?;
            route.next_hop
        }
    };
    Ok(Gateway { address, next_hop })
}

fn look_up(conn: &Conn, key: &str, name: &str) -> Outcome<IpAddr> {
    let help = "give the address itself, or a name that is in DNS or /etc/hosts";
    let addresses = (name, 0).to_socket_addrs().map_err(|e| {
        complain(
            conn,
            key,
            format!("cannot find the address of \"{name}\": {e}"),
            help,
        )
    })?;
    let mut all: Vec<IpAddr> = addresses.map(|a| a.ip()).collect();
    all.sort_by_key(IpAddr::is_ipv6);
    all.first()
        .copied()
        .ok_or_else(|| complain(conn, key, format!("\"{name}\" has no address"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_of_setup_is_read() {
        let text = "defaultroutephys=eth1\ndefaultroutevirt=ipsec0\ndefaultrouteaddr=192.0.2.1\ndefaultroutenexthop=192.0.2.254\n";
        let route = from_info(text).unwrap();
        assert_eq!(
            (
                route.device.as_str(),
                route.next_hop.unwrap().to_string().as_str()
            ),
            ("eth1", "192.0.2.254")
        );
        assert_eq!(from_info("#dr: no default route\n"), None);
    }
}
