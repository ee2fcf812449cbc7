//! Which eroutes of the same nets speak of a protocol or of ports and do not let pass: what a packet may be meant by that does
//! not show its ports, or not even its protocol.
//!
//! There is one guard for each pair of nets with each protocol that ports are given for, and one for the pair with any protocol at all.
//! So the question costs one hash probe for each shape of nets, however many eroutes there are, as a lookup does.

use ipsec_types::{MagicSpi, SaId, Selector};

use super::table::hash;
use crate::home::{Home, NoMemory, Vector};
use crate::table::{HashKey, Index, Slab};

struct Guard<H: Home> {
    key: Selector,
    /// Slots of the eroutes.
    members: H::Vec<u32>,
}

/// The guards of a table of eroutes.
pub(super) struct Guards<H: Home> {
    slab: Slab<H, Guard<H>>,
    index: Index<H>,
}

/// The guards that an eroute belongs to, by their keys.
fn keys(selector: &Selector, target: &SaId) -> [Option<Selector>; 2] {
    let guards = target.as_magic() != Some(MagicSpi::Pass);
    let ports = selector.sport != 0 || selector.dport != 0;
    let nets = Selector::nets(selector.src, selector.dst);
    let of = |proto| Selector { proto, ..nets };
    [
        (guards && selector.proto != 0).then(|| of(0)),
        (guards && ports).then(|| of(selector.proto)),
    ]
}

impl<H: Home> Guards<H> {
    pub fn new() -> Self {
        Self {
            slab: Slab::new(),
            index: Index::new(),
        }
    }

    fn number(&self, hashes: HashKey, key: &Selector) -> Option<u32> {
        self.index.find(hash(hashes, key), |n| {
            self.slab.get(n).is_some_and(|guard| guard.key == *key)
        })
    }

    /// An eroute that guards these nets; `proto` 0: for whatever protocol.
    pub fn any(&self, hashes: HashKey, nets: &Selector, proto: u8) -> Option<u32> {
        let key = Selector {
            proto,
            ..Selector::nets(nets.src, nets.dst)
        };
        let guard = self.slab.get(self.number(hashes, &key)?)?;
        guard.members.last().copied()
    }

    /// Notes the eroute in slot `slot`; on an error nothing has changed.
    pub fn insert(
        &mut self,
        hashes: HashKey,
        selector: &Selector,
        target: &SaId,
        slot: u32,
    ) -> Result<(), NoMemory> {
        let [wide, narrow] = keys(selector, target);
        let Some(wide) = wide else { return Ok(()) };
        self.join(hashes, wide, slot)?;
        if let Some(narrow) = narrow
            && let Err(error) = self.join(hashes, narrow, slot)
        {
            self.leave(hashes, &wide, slot);
            return Err(error);
        }
        Ok(())
    }

    /// Forgets it.
    pub fn remove(&mut self, hashes: HashKey, selector: &Selector, target: &SaId, slot: u32) {
        for key in keys(selector, target).into_iter().flatten() {
            self.leave(hashes, &key, slot);
        }
    }

    fn join(&mut self, hashes: HashKey, key: Selector, slot: u32) -> Result<(), NoMemory> {
        if let Some(n) = self.number(hashes, &key) {
            let guard = self.slab.get_mut(n).ok_or(NoMemory)?;
            return guard.members.try_push(slot);
        }
        let mut members = H::Vec::new();
        members.try_push(slot)?;
        let n = self.slab.insert(Guard { key, members })?;
        let slab = &self.slab;
        let hash_at = |n| slab.get(n).map_or(0, |guard| hash(hashes, &guard.key));
        let indexed = self.index.insert(hash(hashes, &key), n, hash_at);
        indexed.inspect_err(|_| drop(self.slab.remove(n)))
    }

    fn leave(&mut self, hashes: HashKey, key: &Selector, slot: u32) {
        let Some(n) = self.number(hashes, key) else {
            return;
        };
        let Some(guard) = self.slab.get_mut(n) else {
            return;
        };
        if let Some(at) = guard.members.iter().position(|member| *member == slot) {
            let last = guard.members.len() - 1;
            guard.members.swap(at, last);
            guard.members.pop();
        }
        if guard.members.is_empty() {
            let slab = &self.slab;
            let hash_at = |n| slab.get(n).map_or(0, |guard| hash(hashes, &guard.key));
            self.index.remove(hash(hashes, key), n, hash_at);
            self.slab.remove(n);
        }
    }
}
