//! Policy groups: a connection of kind group becomes one template, or one shunt, for each block of its file. When the files are
//! read again only what has changed is touched: tunnels and shunts whose block is as before stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipsec_types::Subnet;
use whack::Rc;

use crate::engine::connection::{ConnId, Kind};
use crate::engine::event::{Action, ClientId, GroupFile};
use crate::engine::{About, Engine, Time};

/// Our client and the block.
type Target = (Subnet, Subnet);

/// What the groups are, and what their files say.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The blocks of each file, as last read.
    files: HashMap<String, Vec<Subnet>>,
    /// What stands for each block: the group, and what was made of it.
    targets: BTreeMap<Target, (ConnId, ConnId)>,
    waiting: Vec<ClientId>,
}

impl Groups {
    /// A client that waits for the files has gone.
    pub(crate) fn forget_waiting(&mut self, client: ClientId) {
        self.waiting.retain(|waiting| *waiting != client);
    }

    /// What stands for the narrowest block that holds `theirs`, as seen from the narrowest client that holds `ours`.
    fn best(&self, ours: Subnet, theirs: Subnet, sources: &BTreeSet<Subnet>) -> Option<ConnId> {
        let mut sources: Vec<&Subnet> = sources
            .iter()
            .filter(|source| source.contains_subnet(&ours))
            .collect();
        sources.sort_by_key(|source| core::cmp::Reverse(source.prefix()));
        sources.into_iter().find_map(|source| {
            let mut blocks = around(theirs);
            blocks.find_map(|block| Some(self.targets.get(&(*source, block))?.1))
        })
    }
}

/// A subnet and all that hold it, narrowest first.
fn around(subnet: Subnet) -> impl Iterator<Item = Subnet> {
    (0..=subnet.prefix())
        .rev()
        .filter_map(move |prefix| Subnet::new(subnet.addr(), prefix).ok())
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
        problems.extend(self.apply_groups(now));
        for problem in problems {
            self.loglog(About::default(), Rc::LogSerious, &problem);
            for client in &waiting {
                self.reply(*client, Rc::LogSerious, problem.clone());
            }
        }
        for client in waiting {
            self.release_client(client);
        }
    }

    /// Makes what stands agree with what the files say. Answers what can't be.
    pub(crate) fn apply_groups(&mut self, now: Time) -> Vec<String> {
        let (wanted, mut problems) = self.wanted_targets();
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
        let changed: BTreeSet<Target> = stale
            .iter()
            .chain(&fresh)
            .map(|(target, _)| *target)
            .collect();
        for (target, conn) in stale {
            self.oppo.groups.targets.remove(&target);
            self.delete_connection(now, conn, None);
        }
        let mut made = Vec::new();
        for (target, group) in fresh {
            match self.conns.add_group_instance(group, target.1) {
                Some(conn) => {
                    self.oppo.groups.targets.insert(target, (group, conn));
                    made.push((group, conn));
                }
                None => problems.push(format!(
                    "block {} is of another address family than its group \"{}\"",
                    target.1,
                    self.conns.get(group).map_or("", |conn| conn.name.as_str())
                )),
            }
        }
        if !changed.is_empty() {
            // What stands by an old policy goes before the new one is routed.
            self.release_outdated(now, &changed);
        }
        for (group, conn) in made {
            let routed = self
                .conns
                .get(group)
                .is_some_and(|group| group.policy.grouted);
            if routed {
                self.route_connection(now, conn, None);
            }
        }
        problems
    }

    fn wanted_targets(&self) -> (BTreeMap<Target, ConnId>, Vec<String>) {
        let (mut wanted, mut problems) = (BTreeMap::<Target, ConnId>::new(), Vec::new());
        for id in self.conns.groups() {
            let Some(group) = self.conns.get(id).filter(|group| group.oriented()) else {
                continue;
            };
            let (Some(source), Some(blocks)) =
                (group.this.client, self.oppo.groups.files.get(&group.name))
            else {
                continue;
            };
            for block in blocks {
                match wanted.get(&(source, *block)) {
                    None => {
                        wanted.insert((source, *block), id);
                    }
                    Some(first) => {
                        let first = self.conns.get(*first).map_or("", |conn| conn.name.as_str());
                        problems.push(format!(
                            "\"{}\": subnet \"{block}\", source {source}, already \"{first}\": write it in one group only",
                            group.name
                        ));
                    }
                }
            }
        }
        (wanted, problems)
    }

    /// Tunnels and shunts between hosts for which another block has become the narrowest.
    fn release_outdated(&mut self, now: Time, changed: &BTreeSet<Target>) {
        let sources: BTreeSet<Subnet> = self
            .oppo
            .groups
            .targets
            .keys()
            .chain(changed)
            .map(|(source, _)| *source)
            .collect();
        let touched = |ours: Subnet, theirs: Subnet| {
            sources
                .iter()
                .filter(|source| source.contains_subnet(&ours))
                .any(|source| around(theirs).any(|block| changed.contains(&(*source, block))))
        };
        let outdated: Vec<ConnId> = self
            .conns
            .opportunistic_instances()
            .filter_map(|id| {
                let conn = self.conns.get(id)?;
                let (ours, theirs) = (conn.this.client?, conn.that.client?);
                let best = self.oppo.groups.best(ours, theirs, &sources);
                (touched(ours, theirs) && best.is_some() && best != conn.template).then_some(id)
            })
            .collect();
        for id in outdated {
            self.release_connection(now, id);
        }
        for flow in self.passing_shunts() {
            if touched(flow.src, flow.dst) {
                self.drop_bare(now, flow);
            }
        }
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
        for id in instances {
            if routed {
                self.route_connection(now, id, client);
            } else {
                self.unroute_connection(now, id, client);
            }
        }
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
