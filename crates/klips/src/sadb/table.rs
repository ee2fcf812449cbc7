//! The SA table: by id through a hash, and grouped in chains.
//!
//! A group is a chain from the SA nearest the inner packet to the one nearest the wire, such as `tun` → `comp` → `esp` → `ah`.

use core::net::IpAddr;

use ipsec_types::{SaId, SaProto};

use super::{Sa, State};
use crate::home::{Home, NoMemory};
use crate::packet::MAX_TRANSFORMS;
use crate::table::{HashKey, Index, Slab};

/// Why an SA was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteError {
    /// There is none of that id.
    NotFound,
}

/// Why two SAs were not grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// One of them is not there.
    NotFound,
    /// The first has an SA outside it already, or the second one inside it, or both are of one chain.
    Linked,
    /// The chain would be longer than [`MAX_TRANSFORMS`].
    TooDeep,
}

/// All SAs of a host.
pub struct Sadb<H: Home> {
    slab: Slab<H, Sa<H>>,
    index: Index<H>,
    key: HashKey,
    next_reference: u32,
    larvals: usize,
    /// By [`kind`].
    counts: [usize; 5],
}

/// The number of a protocol's count.
fn kind(proto: SaProto) -> usize {
    match proto {
        SaProto::IpIp => 0,
        SaProto::Esp => 1,
        SaProto::Ah => 2,
        SaProto::Int => 3,
        SaProto::Comp => 4,
    }
}

fn hash(key: HashKey, id: &SaId) -> u32 {
    let name = u64::from(id.spi.0) << 8 | u64::from(id.proto.number());
    match id.dst {
        IpAddr::V4(dst) => key.hash(&[name, dst.to_bits().into()]),
        IpAddr::V6(dst) => {
            let bits = dst.to_bits();
            key.hash(&[name, (bits >> 64) as u64, bits as u64])
        }
    }
}

fn hash_at<H: Home>(key: HashKey, slab: &Slab<H, Sa<H>>, n: u32) -> u32 {
    slab.get(n).map_or(0, |sa| hash(key, &sa.id))
}

impl<H: Home> Sadb<H> {
    /// An empty table.
    pub fn new(home: &H) -> Self {
        Self {
            slab: Slab::new(),
            index: Index::new(),
            key: HashKey::random(home),
            next_reference: 1,
            larvals: 0,
            counts: [0; 5],
        }
    }

    /// How many SAs there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// How many of them are larval.
    pub fn larvals(&self) -> usize {
        self.larvals
    }

    /// How many there are of one protocol, or of all.
    pub fn count(&self, proto: Option<SaProto>) -> usize {
        proto.map_or(self.len(), |proto| self.counts[kind(proto)])
    }

    /// Whether any of them is of IPCOMP.
    pub fn has_ipcomp(&self) -> bool {
        self.count(Some(SaProto::Comp)) > 0
    }

    pub(crate) fn number(&self, id: &SaId) -> Option<u32> {
        self.index.find(hash(self.key, id), |n| {
            self.slab.get(n).is_some_and(|sa| sa.id == *id)
        })
    }

    /// The SA of this id.
    pub fn get(&self, id: &SaId) -> Option<&Sa<H>> {
        self.number(id).and_then(|n| self.slab.get(n))
    }

    pub(crate) fn get_mut(&mut self, id: &SaId) -> Option<&mut Sa<H>> {
        self.number(id).and_then(|n| self.slab.get_mut(n))
    }

    /// The next SA towards the wire.
    pub fn outward(&self, sa: &Sa<H>) -> Option<&Sa<H>> {
        sa.outward.and_then(|n| self.slab.get(n))
    }

    /// The next SA towards the inner packet.
    pub fn inward(&self, sa: &Sa<H>) -> Option<&Sa<H>> {
        sa.inward.and_then(|n| self.slab.get(n))
    }

    /// Puts an SA in. The caller has seen that there is none of its id.
    pub fn add(&mut self, mut sa: Sa<H>) -> Result<&Sa<H>, NoMemory> {
        sa.reference = self.next_reference;
        let larval = sa.state() == State::Larval;
        let kind = kind(sa.id.proto);
        let hash = hash(self.key, &sa.id);
        let n = self.slab.insert(sa)?;
        let (key, slab) = (self.key, &self.slab);
        let indexed = self.index.insert(hash, n, |n| hash_at(key, slab, n));
        if let Err(e) = indexed {
            self.slab.remove(n);
            return Err(e);
        }
        self.larvals += usize::from(larval);
        self.counts[kind] += 1;
        self.next_reference = self.next_reference.wrapping_add(1).max(1);
        self.slab.get(n).ok_or(NoMemory)
    }

    /// Takes the SA of this id out, and with it its whole group, as KLIPS does. Answers how many went.
    pub fn delete_group(&mut self, id: &SaId) -> Result<usize, DeleteError> {
        let mut at = self.number(id).ok_or(DeleteError::NotFound)?;
        while let Some(inner) = self.slab.get(at).and_then(|sa| sa.inward) {
            at = inner;
        }
        let mut count = 0;
        let mut next = Some(at);
        while let Some(n) = next {
            next = self.slab.get(n).and_then(|sa| sa.outward);
            self.take_out(n);
            count += 1;
        }
        Ok(count)
    }

    fn take_out(&mut self, n: u32) {
        if let Some(sa) = self.slab.remove(n) {
            let (key, slab) = (self.key, &self.slab);
            self.index
                .remove(hash(key, &sa.id), n, |n| hash_at(key, slab, n));
            self.larvals -= usize::from(sa.state() == State::Larval);
            self.counts[kind(sa.id.proto)] -= 1;
        }
    }

    /// Puts `replacement` in the place of the SA of the same id, within its group.
    pub(crate) fn replace(&mut self, mut replacement: Sa<H>) -> Result<&Sa<H>, DeleteError> {
        let n = self.number(&replacement.id).ok_or(DeleteError::NotFound)?;
        let old = self.slab.get_mut(n).ok_or(DeleteError::NotFound)?;
        replacement.outward = old.outward;
        replacement.inward = old.inward;
        replacement.reference = old.reference;
        self.larvals -= usize::from(old.state() == State::Larval);
        *old = replacement;
        Ok(old)
    }

    fn chain_len(&self, from: u32, next: impl Fn(&Sa<H>) -> Option<u32>) -> usize {
        let mut at = Some(from);
        let mut len = 0;
        while let Some(sa) = at.and_then(|n| self.slab.get(n)) {
            len += 1;
            at = next(sa);
        }
        len
    }

    /// Makes `outer` the next SA towards the wire after `inner`.
    pub fn group(&mut self, inner: &SaId, outer: &SaId) -> Result<(), GroupError> {
        let i = self.number(inner).ok_or(GroupError::NotFound)?;
        let o = self.number(outer).ok_or(GroupError::NotFound)?;
        let free =
            |sa: Option<&Sa<H>>, f: fn(&Sa<H>) -> Option<u32>| sa.is_some_and(|sa| f(sa).is_none());
        if i == o
            || !free(self.slab.get(i), |sa| sa.outward)
            || !free(self.slab.get(o), |sa| sa.inward)
        {
            return Err(GroupError::Linked);
        }
        let mut at = Some(o);
        while let Some(n) = at {
            if n == i {
                return Err(GroupError::Linked);
            }
            at = self.slab.get(n).and_then(|sa| sa.outward);
        }
        if self.chain_len(i, |sa| sa.inward) + self.chain_len(o, |sa| sa.outward) > MAX_TRANSFORMS {
            return Err(GroupError::TooDeep);
        }
        if let Some(sa) = self.slab.get_mut(i) {
            sa.outward = Some(o);
        }
        if let Some(sa) = self.slab.get_mut(o) {
            sa.inward = Some(i);
        }
        Ok(())
    }

    /// Dissolves the group that the SA of this id is in.
    pub fn ungroup(&mut self, id: &SaId) -> Result<(), GroupError> {
        let mut at = self.number(id).ok_or(GroupError::NotFound)?;
        while let Some(inner) = self.slab.get(at).and_then(|sa| sa.inward) {
            at = inner;
        }
        let mut next = Some(at);
        while let Some(sa) = next.and_then(|n| self.slab.get_mut(n)) {
            sa.inward = None;
            next = sa.outward.take();
        }
        Ok(())
    }

    /// The SA in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&Sa<H>> {
        self.slab.get(slot)
    }

    /// The SAs from slot `from` on, with their slots.
    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = (u32, &Sa<H>)> {
        self.slab.iter_from(from)
    }

    /// One more than the highest slot in use, at least.
    pub(crate) fn bound(&self) -> usize {
        self.slab.bound()
    }
}
