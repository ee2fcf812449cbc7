//! The table of connections and its indexes. Every field that an index covers changes through
//! [`Connections::edit`] or [`Connections::set_routing`], so that no index can go stale.
//! Adding, finding and removing cost O(log n), each time: a hash table would be cheaper, but for the add that makes it grow.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use ipsec_types::{ProtoPort, Subnet};

use super::{ConnId, Connection, Id, Kind, Live, Routing};

/// Our address and IKE port, the peer's address and IKE port; `None` for `%any`.
pub(super) type HostPair = (IpAddr, u16, Option<IpAddr>, u16);
/// A client with protocol and port; `None` where only the peer's address will tell.
pub(super) type Client = (Option<Subnet>, ProtoPort);
/// Our client and the peer's.
pub(super) type ClientPair = (Client, Client);

/// All connections.
#[derive(Debug, Default)]
pub struct Connections {
    all: BTreeMap<ConnId, Connection>,
    by_name: BTreeMap<String, BTreeSet<ConnId>>,
    pub(super) by_hosts: BTreeMap<HostPair, BTreeSet<ConnId>>,
    pub(super) by_hosts_and_peer_id: BTreeMap<(HostPair, Id), BTreeSet<ConnId>>,
    pub(super) by_hosts_and_clients: BTreeMap<(HostPair, ClientPair), BTreeSet<ConnId>>,
    /// Connections whose peer may choose its client.
    pub(super) wild_clients: BTreeMap<HostPair, BTreeSet<ConnId>>,
    by_peer_id: BTreeMap<Id, BTreeSet<ConnId>>,
    by_peer_host: BTreeMap<IpAddr, BTreeSet<ConnId>>,
    /// Connections with an end at an address, oriented or not.
    pub(super) by_end_host: BTreeMap<IpAddr, BTreeSet<ConnId>>,
    /// A route knows only the peer's subnet, so all that go there share it.
    pub(super) routed_by_peer_client: BTreeMap<Option<Subnet>, BTreeSet<(Routing, ConnId)>>,
    pub(super) routed_by_clients: BTreeMap<ClientPair, BTreeSet<(Routing, ConnId)>>,
    /// How many routed pairs of clients have these prefix lengths.
    pub(super) routed_shapes: BTreeMap<(bool, u8, u8), usize>,
    instances: BTreeMap<ConnId, BTreeSet<ConnId>>,
    groups: BTreeSet<ConnId>,
    opportunistic_instances: BTreeSet<ConnId>,
    /// Opportunistic instances by the two hosts that they are for.
    pub(super) by_pair: BTreeMap<(Subnet, Subnet), ConnId>,
    serials: BTreeMap<String, u64>,
    next: u64,
    changes: u64,
    virtual_private: whack::Nets,
}

fn add<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

fn drop_from<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Connection {
    /// Where it stands in the index of hosts, if oriented.
    pub(super) fn host_pair(&self) -> Option<HostPair> {
        let ours = self.this.host.filter(|_| self.oriented())?;
        Some((
            ours,
            self.this.host_port,
            self.that.host,
            self.that.host_port,
        ))
    }

    pub(super) fn our_client(&self) -> Client {
        (self.this.client, self.this.protoport)
    }

    pub(super) fn peer_client(&self) -> Client {
        (self.that.client, self.that.protoport)
    }

    pub(super) fn client_pair(&self) -> ClientPair {
        (self.our_client(), self.peer_client())
    }

    fn shape(&self) -> Option<(bool, u8, u8)> {
        let (ours, theirs) = (self.this.client?, self.that.client?);
        Some((ours.addr().is_ipv6(), ours.prefix(), theirs.prefix()))
    }
}

impl Connections {
    /// The private addresses that peers may have (`virtual_private=`).
    pub fn virtual_private(&self) -> &whack::Nets {
        &self.virtual_private
    }

    pub(crate) fn set_virtual_private(&mut self, nets: whack::Nets) {
        self.virtual_private = nets;
    }

    /// The connection.
    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        self.all.get(&id)
    }

    /// What changes while it lives.
    pub fn live_mut(&mut self, id: ConnId) -> Option<&mut Live> {
        self.all.get_mut(&id).map(|conn| &mut conn.live)
    }

    /// All, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.all.values()
    }

    /// How many there are, instances included.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of that name, the configured one before its instances.
    pub fn by_name(&self, name: &str) -> impl Iterator<Item = ConnId> + use<'_> {
        self.by_name.get(name).into_iter().flatten().copied()
    }

    /// The configured one of that name.
    pub fn configured(&self, name: &str) -> Option<&Connection> {
        self.by_name(name)
            .filter_map(|id| self.get(id))
            .find(|conn| conn.kind != Kind::Instance)
    }

    /// Those whose peer has this identity.
    pub fn by_peer_id(&self, id: &Id) -> impl Iterator<Item = ConnId> + use<'_> {
        self.by_peer_id
            .get(&id.normal())
            .into_iter()
            .flatten()
            .copied()
    }

    /// Those whose peer has this address, oriented.
    pub fn by_peer_host(&self, addr: IpAddr) -> impl Iterator<Item = ConnId> + use<'_> {
        self.by_peer_host.get(&addr).into_iter().flatten().copied()
    }

    /// The instances of a template.
    pub fn instances(&self, template: ConnId) -> impl Iterator<Item = ConnId> + use<'_> {
        self.instances.get(&template).into_iter().flatten().copied()
    }

    /// The policy groups.
    pub fn groups(&self) -> impl Iterator<Item = ConnId> + use<'_> {
        self.groups.iter().copied()
    }

    /// The instances of opportunistic templates.
    pub fn opportunistic_instances(&self) -> impl Iterator<Item = ConnId> + use<'_> {
        self.opportunistic_instances.iter().copied()
    }

    /// How often something has changed that is no instance.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts a connection into the table, numbered.
    pub(super) fn insert(&mut self, mut conn: Connection) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        conn.id = id;
        self.index(&conn);
        self.all.insert(id, conn);
        id
    }

    /// Takes a connection out of the table.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let conn = self.all.remove(&id)?;
        self.unindex(&conn);
        Some(conn)
    }

    /// Changes a connection and keeps the indexes true.
    pub(crate) fn edit<T>(
        &mut self,
        id: ConnId,
        change: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let mut conn = self.remove(id)?;
        let result = change(&mut conn);
        self.index(&conn);
        self.all.insert(id, conn);
        Some(result)
    }

    /// Records how far its packets are taken care of.
    pub(crate) fn set_routing(&mut self, id: ConnId, routing: Routing) {
        let Some(mut conn) = self.all.remove(&id) else {
            return;
        };
        self.unindex_routing(&conn);
        conn.routing = routing;
        self.index_routing(&conn);
        self.all.insert(id, conn);
    }

    /// The number of the next instance of the templates of that name, from 1.
    pub(super) fn next_serial(&mut self, name: &str) -> u64 {
        let serial = self.serials.entry(name.to_owned()).or_default();
        *serial += 1;
        *serial
    }

    /// Of those routed to the same peer client as `conn`, the one that takes most care; itself where equal.
    pub fn route_owner(&self, conn: &Connection) -> Option<ConnId> {
        let best = best(self.routed_by_peer_client.get(&conn.that.client), conn);
        best.filter(|(routing, _)| routing.routed())
            .map(|(_, id)| id)
    }

    /// Of those with the same clients as `conn`, the one that holds the eroute.
    pub fn eroute_owner(&self, conn: &Connection) -> Option<ConnId> {
        let best = best(self.routed_by_clients.get(&conn.client_pair()), conn);
        best.filter(|(routing, _)| routing.erouted())
            .map(|(_, id)| id)
    }

    /// Whether a connection other than `conn` holds the route that they would share.
    pub fn route_is_shared(&self, conn: &Connection) -> bool {
        let sharing = self.routed_by_peer_client.get(&conn.that.client);
        sharing.is_some_and(|set| {
            set.iter()
                .any(|(routing, id)| routing.routed() && *id != conn.id)
        })
    }

    fn index(&mut self, conn: &Connection) {
        let id = conn.id;
        self.changes += u64::from(conn.kind != Kind::Instance);
        // What goes away is found by its number only, so that its name and its clients are free at once.
        if conn.kind == Kind::GoingAway {
            return;
        }
        add(&mut self.by_name, conn.name.clone(), id);
        for host in [conn.this.host, conn.that.host].into_iter().flatten() {
            add(&mut self.by_end_host, host, id);
        }
        if let Some(template) = conn.template {
            add(&mut self.instances, template, id);
        }
        match conn.kind {
            Kind::Group => _ = self.groups.insert(id),
            Kind::Instance if conn.policy.opportunistic => {
                self.opportunistic_instances.insert(id);
                if let (Some(ours), Some(theirs)) = (conn.this.client, conn.that.client) {
                    self.by_pair.insert((ours, theirs), id);
                }
            }
            _ => {}
        }
        add(&mut self.by_peer_id, conn.that.id.normal(), id);
        if let Some(pair) = conn.host_pair() {
            add(&mut self.by_hosts, pair, id);
            add(
                &mut self.by_hosts_and_peer_id,
                (pair, conn.that.id.normal()),
                id,
            );
            add(
                &mut self.by_hosts_and_clients,
                (pair, conn.client_pair()),
                id,
            );
            if conn.that.is_open() {
                add(&mut self.wild_clients, pair, id);
            }
            if let Some(peer) = conn.that.host {
                add(&mut self.by_peer_host, peer, id);
            }
        }
        self.index_routing(conn);
    }

    fn unindex(&mut self, conn: &Connection) {
        let id = conn.id;
        self.changes += u64::from(conn.kind != Kind::Instance);
        if conn.kind == Kind::GoingAway {
            return;
        }
        drop_from(&mut self.by_name, &conn.name, &id);
        for host in [conn.this.host, conn.that.host].into_iter().flatten() {
            drop_from(&mut self.by_end_host, &host, &id);
        }
        if let Some(template) = conn.template {
            drop_from(&mut self.instances, &template, &id);
        }
        self.groups.remove(&id);
        if self.opportunistic_instances.remove(&id)
            && let (Some(ours), Some(theirs)) = (conn.this.client, conn.that.client)
            && self.by_pair.get(&(ours, theirs)) == Some(&id)
        {
            self.by_pair.remove(&(ours, theirs));
        }
        drop_from(&mut self.by_peer_id, &conn.that.id.normal(), &id);
        if let Some(pair) = conn.host_pair() {
            drop_from(&mut self.by_hosts, &pair, &id);
            drop_from(
                &mut self.by_hosts_and_peer_id,
                &(pair, conn.that.id.normal()),
                &id,
            );
            drop_from(
                &mut self.by_hosts_and_clients,
                &(pair, conn.client_pair()),
                &id,
            );
            drop_from(&mut self.wild_clients, &pair, &id);
            if let Some(peer) = conn.that.host {
                drop_from(&mut self.by_peer_host, &peer, &id);
            }
        }
        self.unindex_routing(conn);
    }

    fn index_routing(&mut self, conn: &Connection) {
        if conn.routing == Routing::Unrouted || conn.kind == Kind::GoingAway {
            return;
        }
        add(
            &mut self.routed_by_peer_client,
            conn.that.client,
            (conn.routing, conn.id),
        );
        add(
            &mut self.routed_by_clients,
            conn.client_pair(),
            (conn.routing, conn.id),
        );
        if let Some(shape) = conn.shape() {
            *self.routed_shapes.entry(shape).or_default() += 1;
        }
    }

    fn unindex_routing(&mut self, conn: &Connection) {
        if conn.routing == Routing::Unrouted || conn.kind == Kind::GoingAway {
            return;
        }
        drop_from(
            &mut self.routed_by_peer_client,
            &conn.that.client,
            &(conn.routing, conn.id),
        );
        drop_from(
            &mut self.routed_by_clients,
            &conn.client_pair(),
            &(conn.routing, conn.id),
        );
        if let Some(shape) = conn.shape()
            && let Some(count) = self.routed_shapes.get_mut(&shape)
        {
            *count -= 1;
            if *count == 0 {
                self.routed_shapes.remove(&shape);
            }
        }
    }
}

fn best(
    routed: Option<&BTreeSet<(Routing, ConnId)>>,
    conn: &Connection,
) -> Option<(Routing, ConnId)> {
    let own = (conn.routing, conn.id);
    let most = routed.and_then(|set| set.last()).copied().unwrap_or(own);
    Some(if most.0 > own.0 { most } else { own })
}
