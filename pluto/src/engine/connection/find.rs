//! Searches for the connection that something is about: a first message, a peer's identity, the
//! clients of a Quick Mode, a packet that hit a trap.

use core::net::SocketAddr;

use ipsec_types::{Port, ProtoPort, Subnet};

use super::store::{Client, HostPair};
use super::{ConnId, Connection, Connections, Id, Kind};

/// What a Quick Mode is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clients {
    /// Behind us.
    pub ours: Subnet,
    /// Protocol and port at our side.
    pub our_protoport: ProtoPort,
    /// Behind the peer.
    pub theirs: Subnet,
    /// Protocol and port at the peer's side.
    pub their_protoport: ProtoPort,
}

impl Clients {
    /// The protocols and ports by which a connection for these clients may be known: the ports themselves, and then `%any` for one or both.
    fn ports_as_connections_have_them(&self) -> Vec<(ProtoPort, ProtoPort)> {
        let (ours, theirs) = (self.our_protoport, self.their_protoport);
        let (our_any, their_any) = (ours.with_any_port(), theirs.with_any_port());
        let mut all = vec![(ours, theirs)];
        for other in [(ours, their_any), (our_any, theirs), (our_any, their_any)] {
            if !all.contains(&other) {
                all.push(other);
            }
        }
        all
    }
}

impl Connection {
    /// Whether it has the protocol and the ports of these clients, or leaves a port to the peer: `%any` of a connection for road warriors is
    /// the port that the peer names (ipsec.conf(5), `leftprotoport`), unless SAs for all ports are there already.
    fn ports_fit(&self, clients: &Clients) -> bool {
        let left_to_peer = match self.kind {
            Kind::Template => true,
            Kind::Instance => self.live.newest_ipsec.is_none(),
            Kind::Permanent | Kind::Group | Kind::GoingAway => false,
        };
        let fits = |own: ProtoPort, asked: ProtoPort| {
            own == asked || (left_to_peer && own.proto != 0 && own == asked.with_any_port())
        };
        fits(self.this.protoport, clients.our_protoport)
            && fits(self.that.protoport, clients.their_protoport)
    }
}

fn pair_of(local: SocketAddr, remote: SocketAddr) -> HostPair {
    (local.ip(), local.port(), Some(remote.ip()), remote.port())
}

/// The pair itself, and where the peer's port is another than IKE's the one with that: a NAT may have changed it.
fn pairs_of(pair: HostPair) -> impl Iterator<Item = HostPair> {
    let usual = (pair.0, pair.1, pair.2, super::IKE_PORT);
    core::iter::once(pair).chain((usual != pair).then_some(usual))
}

impl Connections {
    /// Those between these two gateways, oldest first; no templates for `%any`.
    pub fn between(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = &Connection> {
        pairs_of(pair_of(local, remote)).flat_map(|pair| self.in_pair(pair))
    }

    /// Those at our gateway for a peer of any address, oldest first.
    pub fn for_any_peer(&self, local: SocketAddr) -> impl Iterator<Item = &Connection> {
        // A road warrior's port is as unknown as its address, so templates are kept under any.
        self.in_any(local).flat_map(|pair| self.in_pair(pair))
    }

    /// For a first message: a connection between the gateways, else one for any peer, that can
    /// authenticate as `auth` says. Only something to start with; see [`Connections::refine`].
    pub fn for_first_message(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        acceptable: impl Fn(&Connection) -> bool,
    ) -> Option<&Connection> {
        let fits = |conn: &&Connection| {
            !conn.policy.never_negotiate() && conn.kind != Kind::Group && acceptable(conn)
        };
        self.between(local, remote)
            .find(fits)
            .or_else(|| self.for_any_peer(local).find(fits))
    }

    /// The connection for a peer that has shown its identity, when the exchange has been carried
    /// out under `current`: `current` itself if it fits, else another with the same gateways, else one for any
    /// peer; an exact identity before none. Only those that are `acceptable` (they accept what has been proved so far). A
    /// template in the answer is to be instantiated.
    pub fn refine(
        &self,
        current: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
        peer_id: &Id,
        acceptable: impl Fn(&Connection) -> bool,
    ) -> Option<&Connection> {
        let started = self.get(current)?;
        if started.that.id.same(peer_id) && acceptable(started) {
            return Some(started);
        }
        let fits = |conn: &&Connection| {
            !conn.policy.never_negotiate() && conn.kind != Kind::Group && acceptable(conn)
        };
        let normal = peer_id.normal();
        for wanted in [normal, Id::None] {
            let pairs = pairs_of(pair_of(local, remote)).chain(self.in_any(local));
            for pair in pairs {
                let found = self
                    .by_hosts_and_peer_id
                    .get(&(pair, wanted.clone()))
                    .into_iter()
                    .flatten()
                    .filter_map(|id| self.get(*id))
                    .find(fits);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// Those between these gateways, or at ours for any peer, that name this identity of the peer.
    pub(crate) fn named(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        peer_id: &Id,
    ) -> impl Iterator<Item = &Connection> {
        let normal = peer_id.normal();
        let pairs = pairs_of(pair_of(local, remote)).chain(self.in_any(local));
        pairs.flat_map(move |pair| {
            let named = self.by_hosts_and_peer_id.get(&(pair, normal.clone()));
            let named = named.into_iter().flatten().filter_map(|id| self.get(*id));
            named.filter(|conn| !conn.policy.never_negotiate() && conn.kind != Kind::Group)
        })
    }

    /// The connection for a Quick Mode of these clients under the ISAKMP SA of `phase1`, among those that `serves` lets through:
    /// same gateways first, then templates for any peer or any client within a range. A template in the answer is to be
    /// instantiated.
    pub fn for_clients(
        &self,
        phase1: ConnId,
        clients: &Clients,
        serves: impl Fn(&Connection) -> bool,
    ) -> Option<&Connection> {
        let base = self.get(phase1)?;
        let pair = base.host_pair()?;
        let peer = pair.2?;
        let fits = |conn: &&Connection| {
            !conn.policy.never_negotiate() && conn.kind != Kind::Group && serves(conn)
        };
        // A road warrior without a subnet is its own client, at whatever address it has.
        let itself = clients.theirs == Subnet::host(peer);
        let local = SocketAddr::new(pair.0, pair.1);
        let with = |pair: HostPair, ours: Client, theirs: Client| {
            let mut found: Vec<&Connection> = self
                .by_hosts_and_clients
                .get(&(pair, (ours, theirs)))
                .into_iter()
                .flatten()
                .filter_map(|id| self.get(*id))
                .filter(|conn| !conn.that.is_open())
                .filter(|conn| conn.ports_fit(clients))
                .filter(&fits)
                .collect();
            // The one that is already negotiating, then complete ones, then templates.
            found.sort_by_key(|conn| (conn.id != phase1, conn.kind == Kind::Template, conn.id));
            found.into_iter().next()
        };
        let pairs = || pairs_of(pair).chain(self.in_any(local));
        // The ports themselves before those that a connection leaves to the peer.
        let ports = clients.ports_as_connections_have_them();
        ports
            .into_iter()
            .find_map(|(our_port, their_port)| {
                let ours = (Some(clients.ours), our_port);
                pairs().find_map(|pair| {
                    let named = with(pair, ours, (Some(clients.theirs), their_port));
                    named.or_else(|| with(pair, ours, (None, their_port)).filter(|_| itself))
                })
            })
            .or_else(|| pairs().find_map(|pair| self.within_range(pair, peer, clients, fits)))
    }

    /// An instance for another identity that has a tunnel to a part of `clients.theirs`, or to a net around it. Two of them can't
    /// both have what each may choose within a range.
    pub(crate) fn held_by_another(&self, peer_id: &Id, clients: &Clients) -> Option<&Connection> {
        let theirs = clients.theirs;
        let around =
            (0..=theirs.prefix()).filter_map(|prefix| Subnet::new(theirs.addr(), prefix).ok());
        let last = Subnet::host(theirs.last());
        let within = self.routed_by_peer_client.range(Some(theirs)..=Some(last));
        let around = around.filter_map(|net| self.routed_by_peer_client.get(&Some(net)));
        let both = |ours: ProtoPort, other: ProtoPort| {
            let protocol = ours.proto == 0 || other.proto == 0 || ours.proto == other.proto;
            protocol
                && (ours.port == Port::ANY || other.port == Port::ANY || ours.port == other.port)
        };
        let holds = |conn: &&Connection| {
            conn.kind == Kind::Instance
                && !conn.policy.opportunistic
                && conn.routing == super::Routing::Tunnel
                && !conn.that.id.same(peer_id)
                && conn
                    .this
                    .client
                    .is_some_and(|net| net.overlaps(&clients.ours))
                && conn.that.client.is_some_and(|net| net.overlaps(&theirs))
                && both(conn.that.protoport, clients.their_protoport)
        };
        around
            .chain(within.map(|(_, set)| set))
            .flatten()
            .filter_map(|(_, id)| self.get(*id))
            .find(holds)
    }

    /// The routed connection whose clients hold a packet that hit a trap; the narrowest wins.
    pub fn for_packet(&self, packet: &Clients) -> Option<&Connection> {
        self.narrowest_routed(packet, |_| true)
    }

    /// The same among those that are configured: what was made for one pair of hosts is passed over.
    pub(crate) fn policy_for(&self, packet: &Clients) -> Option<&Connection> {
        self.narrowest_routed(packet, |conn| conn.kind != Kind::Instance)
    }

    /// What has an eroute for exactly these clients, beside `gone`: a block of one address is a template or a shunt for the very packets that
    /// an instance, or a shunt after a failure, is for, and one that moves stands in two groups for a moment.
    pub(crate) fn standing_for(
        &self,
        clients: &Clients,
        gone: Option<ConnId>,
    ) -> Option<&Connection> {
        let pair = (
            (Some(clients.ours), clients.our_protoport),
            (Some(clients.theirs), clients.their_protoport),
        );
        let standing = self.routed_by_clients.get(&pair).into_iter().flatten();
        let standing = standing.rev().map(|(_, id)| *id);
        standing
            .filter(|id| Some(*id) != gone)
            .find_map(|id| self.get(id))
    }

    /// The opportunistic template for a peer that asks for these clients at our gateway: the narrowest that is routed, or else
    /// one that only waits. None if the narrowest is a shunt.
    pub(crate) fn opportunistic_for(
        &self,
        local: SocketAddr,
        clients: &Clients,
    ) -> Option<&Connection> {
        let at_gateway = |conn: &&Connection| conn.oriented() && conn.this.host == Some(local.ip());
        let found = self.policy_for(clients).or_else(|| {
            self.for_any_peer(local)
                .filter(|conn| conn.kind == Kind::Template && conn.policy.opportunistic)
                .filter(|conn| {
                    let holds = |end: &super::End, client: &Subnet| {
                        end.client.is_some_and(|net| net.contains_subnet(client))
                    };
                    holds(&conn.this, &clients.ours) && holds(&conn.that, &clients.theirs)
                })
                .max_by_key(|conn| {
                    let bits = |end: &super::End| end.client.map_or(0, |net| net.prefix());
                    (bits(&conn.this), bits(&conn.that))
                })
        });
        found
            .filter(|conn| conn.kind == Kind::Template && conn.policy.opportunistic)
            .filter(at_gateway)
    }

    /// The instance that opportunism has made for two hosts.
    pub(crate) fn opportunistic_between(&self, ours: Subnet, theirs: Subnet) -> Option<ConnId> {
        self.by_pair.get(&(ours, theirs)).copied()
    }

    fn narrowest_routed(
        &self,
        packet: &Clients,
        fits: impl Fn(&Connection) -> bool,
    ) -> Option<&Connection> {
        let v6 = packet.ours.addr().is_ipv6();
        // Narrow prefixes are last in order.
        for (&(shape_v6, ours, theirs), _) in self.routed_shapes.iter().rev() {
            if shape_v6 != v6 {
                continue;
            }
            let ours = Subnet::new(packet.ours.addr(), ours).ok();
            let theirs = Subnet::new(packet.theirs.addr(), theirs).ok();
            for our_pp in widen(packet.our_protoport) {
                for their_pp in widen(packet.their_protoport) {
                    let pair = ((ours, our_pp), (theirs, their_pp));
                    let found = self
                        .routed_by_clients
                        .get(&pair)
                        .into_iter()
                        .flat_map(|set| set.iter().rev())
                        .filter_map(|(_, id)| self.get(*id))
                        .find(|conn| fits(conn));
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    fn within_range(
        &self,
        pair: HostPair,
        peer: core::net::IpAddr,
        clients: &Clients,
        fits: impl Fn(&&Connection) -> bool,
    ) -> Option<&Connection> {
        self.wild_clients
            .get(&pair)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(*id))
            .find(|conn| {
                conn.this.client == Some(clients.ours)
                    && conn.ports_fit(clients)
                    && match &conn.that.virt {
                        // In transport mode the peer speaks for itself, wherever it is seen.
                        Some(_) if !conn.policy.tunnel => clients.theirs == Subnet::host(peer),
                        Some(virt) => virt.accepts(&clients.theirs, peer, self.virtual_private()),
                        None => conn
                            .that
                            .client
                            .is_some_and(|range| range.contains_subnet(&clients.theirs)),
                    }
                    && fits(conn)
            })
    }

    pub(super) fn in_pair(&self, pair: HostPair) -> impl Iterator<Item = &Connection> {
        self.by_hosts
            .get(&pair)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(*id))
    }

    fn in_any(&self, local: SocketAddr) -> impl Iterator<Item = HostPair> + use<> {
        core::iter::once((local.ip(), local.port(), None, super::IKE_PORT))
    }
}

/// The protocol and port themselves, then the port opened, then the protocol.
fn widen(exact: ProtoPort) -> impl Iterator<Item = ProtoPort> {
    let any_port = exact.with_any_port();
    let steps = [
        Some(exact),
        (any_port != exact).then_some(any_port),
        (exact.proto != 0).then_some(ProtoPort::ANY),
    ];
    steps.into_iter().flatten()
}
