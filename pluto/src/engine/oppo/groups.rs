//! Policy groups: a connection of kind group becomes one template, or one shunt, for each block of its file. When the files are
//! read again only what has changed is touched: tunnels and shunts whose block is as before stay.
//!
//! A group whose own end is `%defaultroute` is for both families: for a block of IPv6 there is one template or shunt for each IPv6 address
//! of this host, temporary ones too, since programs choose among them (RFC 8981 section 3.1). While this host has none the last ones stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipsec_types::{MagicSpi, Subnet};
use whack::{Live, Rc};

use crate::engine::connection::{ConnId, Connection, Kind, Shunt};
use crate::engine::event::{Action, ClientId, GroupFile, Interface};
use crate::engine::{About, Engine, Time};

use super::Pair;
use super::failure::shunt_of;
use super::regroup::{Change, Changes};

/// Our client and the block.
pub(super) type Target = (Subnet, Subnet);

/// What the groups are, and what their files say.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The blocks of each file, as last read.
    files: HashMap<String, Vec<Subnet>>,
    /// What stands for each block: the group, and what was made of it.
    pub(super) targets: BTreeMap<Target, (ConnId, ConnId)>,
    pub(super) changes: Changes,
    waiting: Vec<ClientId>,
}

impl Groups {
    /// A client that waits for the files has gone.
    pub(crate) fn forget_waiting(&mut self, client: ClientId) {
        self.waiting.retain(|waiting| *waiting != client);
    }
}

impl Engine {
    /// Has the files of all groups read; the client waits.
    pub(crate) fn read_groups(&mut self, client: Option<ClientId>) {
        let names: BTreeSet<String> = self
            .conns
            .groups()
            .filter_map(|id| Some(self.conns.get(id)?.name.clone()))
            .collect();
        if names.is_empty() {
            return;
        }
        if let Some(client) = client {
            self.hold_client(client);
            self.oppo.groups.waiting.push(client);
        }
        self.act(Action::ReadGroups(names.into_iter().collect()));
    }

    /// The files were read.
    pub(crate) fn groups_read(&mut self, now: Time, files: Vec<GroupFile>) {
        let waiting = core::mem::take(&mut self.oppo.groups.waiting);
        let mut problems = Vec::new();
        for file in files {
            self.log(About::default(), format!("loading group \"{}\"", file.name));
            problems.extend(file.problems);
            self.oppo.groups.files.insert(file.name, file.blocks);
        }
        let (change, unfit) = self.draw_up_change(waiting.clone());
        problems.extend(unfit);
        for problem in problems {
            self.loglog(About::default(), Rc::LogSerious, &problem);
            for client in &waiting {
                self.reply(*client, Rc::LogSerious, problem.clone());
            }
        }
        self.begin_change(now, change);
    }

    /// Makes what stands agree with what the files say, where our addresses have changed.
    pub(crate) fn apply_groups(&mut self, now: Time) {
        let (change, problems) = self.draw_up_change(Vec::new());
        for problem in problems {
            self.loglog(About::default(), Rc::LogSerious, problem);
        }
        self.begin_change(now, change);
    }

    /// What is to be made and what is to go, so that what stands agrees with the files; what is made is there, and not yet routed.
    /// Beside that, what can't be.
    fn draw_up_change(&mut self, clients: Vec<ClientId>) -> (Change, Vec<String>) {
        let (wanted, problems) = self.wanted_targets();
        let old = &self.oppo.groups.targets;
        let stale: Vec<(Target, ConnId)> = old
            .iter()
            .filter(|(target, (group, _))| wanted.get(*target) != Some(group))
            .map(|(target, (_, conn))| (*target, *conn))
            .collect();
        let fresh: Vec<(Target, ConnId)> = wanted
            .into_iter()
            .filter(|(target, group)| old.get(target).is_none_or(|(old, _)| old != group))
            .collect();
        let mut change = Change::for_clients(clients);
        for (target, conn) in stale {
            self.oppo.groups.targets.remove(&target);
            change.goes(target, conn);
        }
        let ipv6 = self.ipv6_ends();
        let router = self.hosts.router(true);
        for (target, group) in fresh {
            let end = ipv6.iter().find(|i| Subnet::host(i.addr) == target.0);
            let added = match self.conns.get(group).filter(|group| is_of(group, target.1)) {
                Some(_) => self.conns.add_group_instance(group, target.1),
                None => end.and_then(|end| {
                    let away = !self.interfaces.contains(end);
                    self.conns
                        .add_group_instance_at(group, target.1, end, router, away)
                }),
            };
            if let Some(conn) = added {
                self.oppo.groups.targets.insert(target, (group, conn));
                change.comes(target, conn);
            }
        }
        (change, problems)
    }

    /// What is to stand for which block of which group. Beside that, which blocks can't be.
    fn wanted_targets(&self) -> (BTreeMap<Target, ConnId>, Vec<String>) {
        let (mut wanted, mut problems) = (BTreeMap::<Target, ConnId>::new(), Vec::new());
        let ipv6: Vec<Subnet> = self
            .ipv6_ends()
            .iter()
            .map(|i| Subnet::host(i.addr))
            .collect();
        for id in self.conns.groups() {
            let Some(group) = self.conns.get(id) else {
                continue;
            };
            for block in self
                .oppo
                .groups
                .files
                .get(&group.name)
                .into_iter()
                .flatten()
            {
                let own = group.this.client.filter(|_| group.oriented());
                let sources = match (is_of(group, *block), is_for_both(group)) {
                    (true, _) => own.as_slice(),
                    (false, true) if block.addr().is_ipv6() => &ipv6,
                    _ => {
                        problems.push(format!(
                            "block {block} is of another address family than its group \"{}\", which has an address or a subnet of its own: \
                             a group with left=%defaultroute alone is for both",
                            group.name
                        ));
                        continue;
                    }
                };
                for source in sources {
                    match wanted.get(&(*source, *block)) {
                        None => {
                            wanted.insert((*source, *block), id);
                        }
                        Some(first) => {
                            let first =
                                self.conns.get(*first).map_or("", |conn| conn.name.as_str());
                            problems.push(format!(
                                "\"{}\": subnet \"{block}\", source {source}, already \"{first}\": write it in one group only",
                                group.name
                            ));
                        }
                    }
                }
            }
        }
        (wanted, problems)
    }

    /// The IPv6 addresses of this host that blocks of IPv6 are for: those of the default route's device, or else of all that have ipsecN. Where
    /// there is none at the moment, those for which something stands.
    fn ipv6_ends(&self) -> Vec<Interface> {
        let device = self.hosts.default_device(true);
        let all = || self.interfaces.iter().filter(|i| i.addr.is_ipv6());
        let mut ends: Vec<Interface> = all()
            .filter(|i| device.is_some_and(|device| i.phys == device))
            .cloned()
            .collect();
        if ends.is_empty() {
            ends = all().cloned().collect();
        }
        if ends.is_empty() {
            let standing = self.oppo.groups.targets.values();
            let conns = standing.filter_map(|(_, conn)| self.conns.get(*conn));
            let six = conns.filter_map(|conn| conn.interface.clone());
            ends = six.filter(|i| i.addr.is_ipv6()).collect();
            ends.sort_by_key(|i| i.addr);
            ends.dedup();
        }
        ends
    }

    /// The block, of a group that lets nothing pass in the clear, by which a packet goes that has met the trap of a policy for everybody: the
    /// group is for this host's main address alone, but what it closes is closed for other addresses and hosts behind this one too. Else an
    /// address that is new would open it.
    pub(super) fn closed_block_for(&self, template: ConnId, pair: Pair) -> Option<ConnId> {
        let trap = self.conns.get(template)?;
        if trap.template.is_some() || !trap.this.client?.is_all() {
            return None;
        }
        let targets = &self.oppo.groups.targets;
        let groups = self.conns.groups().filter_map(|id| self.conns.get(id));
        let mut sources: BTreeSet<Subnet> = groups.filter_map(|group| group.this.client).collect();
        sources.extend(self.ipv6_ends().iter().map(|i| Subnet::host(i.addr)));
        let bits = Subnet::host(pair.1).prefix();
        let mut blocks = (0..=bits).rev().filter_map(|bits| {
            let block = Subnet::new(pair.1, bits).ok()?;
            let at = |source: &Subnet| targets.get(&(*source, block)).map(|(_, conn)| *conn);
            sources.iter().find_map(at)
        });
        let block = self.conns.get(blocks.next()?)?;
        let closed = match block.policy.never_negotiate() {
            true => matches!(block.policy.shunt, Shunt::Drop | Shunt::Reject),
            false => shunt_of(&block.policy) != MagicSpi::Pass && block.policy.shunt != Shunt::Pass,
        };
        // What is to stand for it may still be on its way.
        let group = self.conns.get(block.template?)?;
        (closed && group.policy.grouted).then(|| block.id())
    }

    /// Routes all that a group stands for, or takes it away.
    pub(crate) fn route_group(
        &mut self,
        now: Time,
        group: ConnId,
        client: Option<ClientId>,
        routed: bool,
    ) {
        self.conns.edit(group, |conn| conn.policy.grouted = routed);
        let instances: Vec<ConnId> = self.conns.instances(group).collect();
        if !routed {
            for id in instances {
                self.unroute_connection(now, id, client);
            }
            return;
        }
        // What stands under wider blocks of other groups is out of date then.
        if let Some(client) = client {
            self.hold_client(client);
        }
        let mut change = Change::for_clients(client.into_iter().collect());
        for id in instances {
            let clients = self
                .conns
                .get(id)
                .and_then(crate::engine::Connection::clients);
            if let Some(clients) = clients {
                change.comes((clients.ours, clients.theirs), id);
            }
        }
        self.begin_change(now, change);
    }

    /// A connection is deleted: if it stood for a block, nothing does now.
    pub(crate) fn group_instance_gone(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.kind == Kind::Instance || conn.template.is_none() {
            return;
        }
        if let (Some(ours), Some(theirs)) = (conn.this.client, conn.that.client)
            && let Some((_, standing)) = self.oppo.groups.targets.get(&(ours, theirs))
            && *standing == id
        {
            self.oppo.groups.targets.remove(&(ours, theirs));
        }
    }
}

/// Whether a block is of the family that a group itself is of.
fn is_of(group: &Connection, block: Subnet) -> bool {
    let family = |net: &Subnet| net.addr().is_ipv6();
    group.that.client.as_ref().map(family) == Some(family(&block))
}

/// Whether a group is for this host, whatever its addresses are.
fn is_for_both(group: &Connection) -> bool {
    group.this.live == Some(Live::DefaultRoute) && !group.this.has_client
}
