//! Instances: what a template becomes for one peer.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ipsec_types::Subnet;

use super::orient::{Addresses, orient};
use super::{Clients, ConnId, Connection, Connections, Dpd, Id, Kind, Live, Routing};
use crate::engine::event::Interface;

/// How the peers of opportunistic instances are watched if their policy does not say: a gateway that has forgotten its tunnels does not
/// say so, and nobody is there to take ours down.
const WATCHED: Dpd = Dpd {
    delay: Duration::from_secs(30),
    timeout: Duration::from_secs(75),
    action: whack::DpdAction::Clear,
};

impl Connections {
    /// Makes an instance of `template` for the peer at `peer`; `their_client` fills in a client from a
    /// range, `peer_id` an identity that the template left open. `None` if there is no such template.
    pub fn instantiate(
        &mut self,
        template: ConnId,
        peer: SocketAddr,
        peer_id: Option<&Id>,
        their_client: Option<Subnet>,
    ) -> Option<ConnId> {
        let mut conn = self
            .get(template)
            .filter(|conn| conn.kind == Kind::Template)?
            .clone();
        conn.kind = Kind::Instance;
        conn.template = Some(template);
        conn.instance_serial = self.next_serial(&conn.name);
        conn.routing = Routing::Unrouted;
        conn.live = Live::default();
        if conn.policy.opportunistic {
            conn.dpd.get_or_insert(WATCHED);
        }
        let end = &mut conn.that;
        if end.host.is_none() {
            end.host = Some(peer.ip());
            end.host_port = peer.port();
        }
        if end.id.is_none() {
            end.id = peer_id.cloned().unwrap_or_else(|| Id::from(peer.ip()));
        }
        if conn.policy.opportunistic {
            // Only phase 1 so far: whom it may speak for is still to be proved.
            end.client = None;
        } else if !end.has_client {
            end.client = end.host.map(Subnet::host);
        } else if let Some(client) = their_client {
            end.choose(client);
        }
        // Our next hop to a peer that was unknown is that peer, unless another was given.
        if conn.this.nexthop.is_none() {
            conn.this.nexthop = conn.that.host;
        }
        Some(self.insert(conn))
    }

    /// Makes an instance of an opportunistic template for two hosts, with the peer's gateway. A peer that has not named itself yet is
    /// known by its address.
    pub(crate) fn oppo_instantiate(
        &mut self,
        template: ConnId,
        gateway: SocketAddr,
        peer_id: Option<&Id>,
        ours: Subnet,
        theirs: Subnet,
    ) -> Option<ConnId> {
        self.get(template)
            .filter(|conn| conn.policy.opportunistic)?;
        let id = self.instantiate(template, gateway, peer_id, None)?;
        self.edit(id, |conn| {
            conn.this.client = Some(ours);
            conn.this.has_client = conn.this.host.map(Subnet::host) != Some(ours);
            conn.that.client = Some(theirs);
            conn.that.has_client = conn.that.host.map(Subnet::host) != Some(theirs);
        });
        Some(id)
    }

    /// Makes what a policy group is for one of its blocks: a template, or a connection that is never negotiated. None if it is no
    /// group, or of another address family.
    pub(crate) fn add_group_instance(&mut self, group: ConnId, block: Subnet) -> Option<ConnId> {
        let conn = self
            .get(group)
            .filter(|conn| conn.kind == Kind::Group)?
            .clone();
        let v6 = conn.that.client?.addr().is_ipv6();
        (v6 == block.addr().is_ipv6()).then(|| self.insert_block(conn, group, block))
    }

    /// The same for a block of IPv6, of a group that is for both families: our end is this address, `away` if it has gone for the moment.
    pub(crate) fn add_group_instance_at(
        &mut self,
        group: ConnId,
        block: Subnet,
        end: &Interface,
        router: Option<IpAddr>,
        away: bool,
    ) -> Option<ConnId> {
        let mut conn = self
            .get(group)
            .filter(|conn| conn.kind == Kind::Group)?
            .clone();
        let this = &mut conn.this;
        if this.id.is_none() || this.host.is_some_and(|host| this.id == Id::from(host)) {
            this.id = Id::from(end.addr);
        }
        (this.host, this.nexthop, this.source_ip) =
            (Some(end.addr), router.or(Some(end.addr)), None);
        this.client = Some(Subnet::host(end.addr));
        conn.that.nexthop = Some(end.addr);
        conn.interface = Some(end.clone());
        (conn.waiting, conn.away) = (false, away);
        Some(self.insert_block(conn, group, block))
    }

    fn insert_block(&mut self, mut conn: Connection, group: ConnId, block: Subnet) -> ConnId {
        conn.name = format!("{}#{block}", conn.name);
        conn.that.client = Some(block);
        conn.that.has_client = true;
        conn.policy.group = false;
        conn.policy.grouted = false;
        conn.kind = super::add::kind_of(&conn.policy, &conn.that);
        conn.template = Some(group);
        conn.routing = Routing::Unrouted;
        conn.live = Live::default();
        self.insert(conn)
    }

    /// The packets that a connection is for will be others. Those that it was for stay closed: an instance of it, which drops them, takes its
    /// route and its eroute over. `None` if it is not routed.
    pub(crate) fn leave_closed(&mut self, id: ConnId) -> Option<ConnId> {
        let routed =
            |conn: &&super::Connection| conn.kind == Kind::Permanent && conn.routing.routed();
        let mut conn = self.get(id).filter(routed)?.clone();
        conn.kind = Kind::Instance;
        conn.template = Some(id);
        conn.instance_serial = self.next_serial(&conn.name);
        (conn.policy.psk, conn.policy.rsasig) = (false, false);
        conn.policy.shunt = super::Shunt::Drop;
        conn.policy.failure = super::FailureShunt::None;
        conn.routing = Routing::Prospective;
        conn.live = Live::default();
        self.set_routing(id, Routing::Unrouted);
        Some(self.insert(conn))
    }

    /// Of what a connection has left closed, that which is for the same packets as it is now.
    pub(crate) fn left_closed(&self, id: ConnId) -> Option<ConnId> {
        let pair = self.get(id)?.client_pair();
        self.instances(id).find(|other| {
            self.get(*other)
                .is_some_and(|other| other.policy.never_negotiate() && other.client_pair() == pair)
        })
    }

    /// The peer of an instance that left its client open has chosen one.
    pub(crate) fn choose_client(&mut self, id: ConnId, client: Subnet) {
        if self.get(id).is_some_and(|conn| conn.that.is_open()) {
            self.edit(id, |conn| conn.that.choose(client));
        }
    }

    /// The peer of an instance has named the ports, where the connection left them to it.
    pub(crate) fn choose_ports(&mut self, id: ConnId, clients: &Clients) {
        let ports = (clients.our_protoport, clients.their_protoport);
        let open = |conn: &super::Connection| {
            conn.kind == Kind::Instance && (conn.this.protoport, conn.that.protoport) != ports
        };
        if self.get(id).is_some_and(open) {
            self.edit(id, |conn| {
                (conn.this.protoport, conn.that.protoport) = ports;
            });
        }
    }

    /// Puts a checked connection into the table, oriented if one of its ends is ours.
    ///
    /// # Errors
    /// The orientation's, with the connection added all the same, not oriented.
    pub(super) fn admit(
        &mut self,
        mut conn: super::Connection,
        ours: &Addresses,
    ) -> (ConnId, Result<(), super::orient::OrientError>) {
        let oriented = orient(&mut conn, ours);
        (self.insert(conn), oriented)
    }
}
