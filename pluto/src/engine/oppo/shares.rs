//! What one peer may have of this gateway by asking for it: a bounded number of tunnels, and of look-ups at a time. A peer is an address; of
//! IPv6 it is a /64, since whoever has one has them all.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::{HashMap, HashSet};

use crate::engine::connection::{Clients, ConnId, Routing};
use crate::engine::{Connection, Engine};

/// Tunnels that one peer may have begun, and all peers together.
const MAX_TUNNELS: usize = 256;
const MAX_TUNNELS_OF_ALL: usize = 8192;
/// Quick Modes of one peer that wait for DNS at a time.
const MAX_VETTINGS: usize = 32;

/// Instances that peers have begun, by peer.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    of: HashMap<IpAddr, HashSet<ConnId>>,
    by_conn: HashMap<ConnId, IpAddr>,
}

/// Whom an address belongs to.
pub(super) fn peer_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
    }
}

impl Engine {
    /// Whether a peer may have one more tunnel; what it has may be made anew.
    pub(crate) fn within_share(&self, peer: IpAddr, clients: &Clients) -> Result<(), String> {
        let known = self
            .conns
            .opportunistic_between(clients.ours, clients.theirs);
        let shares = &self.oppo.shares;
        let block = peer_of(peer);
        let at = known.and_then(|conn| self.conns.get(conn)?.that.host);
        if at.map(peer_of) == Some(block) {
            return Ok(());
        }
        let has = shares.of.get(&block).map_or(0, HashSet::len);
        if has >= MAX_TUNNELS {
            return Err(format!("{peer} has {has} opportunistic tunnels already"));
        }
        if shares.by_conn.len() >= MAX_TUNNELS_OF_ALL {
            return Err("too many opportunistic tunnels that others have begun".to_owned());
        }
        if self.vettings_of(block) >= MAX_VETTINGS {
            return Err(format!("too many tunnels of {peer} are waiting for DNS"));
        }
        Ok(())
    }

    /// A peer has begun to make a tunnel.
    pub(crate) fn takes_share(&mut self, conn: ConnId) {
        let is_new = |conn: &&Connection| conn.routing() != Routing::Tunnel;
        let conn_there = self.conns.get(conn).filter(is_new);
        let Some(peer) = conn_there.and_then(|conn| conn.that.host) else {
            return;
        };
        self.gives_share_back(conn);
        let peer = peer_of(peer);
        let shares = &mut self.oppo.shares;
        shares.of.entry(peer).or_default().insert(conn);
        shares.by_conn.insert(conn, peer);
    }

    /// An instance is no more.
    pub(super) fn gives_share_back(&mut self, conn: ConnId) {
        let shares = &mut self.oppo.shares;
        let Some(peer) = shares.by_conn.remove(&conn) else {
            return;
        };
        if let Some(of) = shares.of.get_mut(&peer) {
            of.remove(&conn);
            if of.is_empty() {
                shares.of.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::peer_of;

    #[test]
    fn h12_a_64_of_ipv6_is_one_peer() {
        let peer = |text: &str| peer_of(text.parse().unwrap());
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
