//! The eroute table: most specific source first, then destination, then protocol and ports.
//!
//! Eroutes of one *shape* (family, both prefix lengths, which of protocol and ports are given) differ only in numbers, so a
//! packet cut to that shape finds its eroute by one hash probe. Shapes in use are kept in order of specificity; the first that
//! has an eroute for the packet wins. A lookup costs one probe per shape, however many eroutes there are: real tables have
//! a handful of shapes. The bound is 33 × 33 × 8 shapes for IPv4 and 129 × 129 × 8 for IPv6, and only PF_KEY makes shapes.

use core::net::IpAddr;

use ipsec_types::{Packet, Selector, Subnet};

use super::Eroute;
use super::guards::Guards;
use crate::home::{Home, NoMemory, Vector};
use crate::packet::Hidden;
use crate::table::{HashKey, Index, Slab};

/// What selectors of one kind have in common. The order is that of lookup, most specific last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    v6: bool,
    src: u8,
    dst: u8,
    proto: bool,
    sport: bool,
    dport: bool,
}

struct Counted {
    shape: Shape,
    eroutes: usize,
}

/// All eroutes of a host.
pub struct Eroutes<H: Home> {
    slab: Slab<H, Eroute<H>>,
    index: Index<H>,
    shapes: H::Vec<Counted>,
    key: HashKey,
    own_holds: H::Vec<Selector>,
    guards: Guards<H>,
}

/// Why an eroute was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// One with the same selector is there.
    Exists,
    /// Its nets are of two families, or it gives ports without a protocol that has them.
    Selector,
    /// No memory.
    NoMemory,
}

impl From<NoMemory> for AddError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl Shape {
    fn of(selector: &Selector) -> Self {
        Self {
            v6: selector.src.addr().is_ipv6(),
            src: selector.src.prefix(),
            dst: selector.dst.prefix(),
            proto: selector.proto != 0,
            sport: selector.sport != 0,
            dport: selector.dport != 0,
        }
    }

    /// The selector of this shape that means `packet`. A selector that gives no protocol or ports has them 0, so that two of
    /// different shapes differ in this too.
    fn cut(&self, packet: &Packet) -> Option<Selector> {
        Some(Selector {
            src: Subnet::new(packet.src, self.src).ok()?,
            dst: Subnet::new(packet.dst, self.dst).ok()?,
            proto: if self.proto { packet.proto } else { 0 },
            sport: if self.sport { packet.sport } else { 0 },
            dport: if self.dport { packet.dport } else { 0 },
        })
    }
}

pub(super) fn hash(key: HashKey, selector: &Selector) -> u32 {
    let finer = u64::from(selector.src.prefix()) << 48
        | u64::from(selector.dst.prefix()) << 40
        | u64::from(selector.proto) << 32
        | u64::from(selector.sport) << 16
        | u64::from(selector.dport);
    match (selector.src.addr(), selector.dst.addr()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => key.hash(&[
            finer,
            u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()),
        ]),
        (src, dst) => {
            let halves = |address: IpAddr| match address {
                IpAddr::V4(v4) => [0, u64::from(v4.to_bits())],
                IpAddr::V6(v6) => [(v6.to_bits() >> 64) as u64, v6.to_bits() as u64],
            };
            let ([a, b], [c, d]) = (halves(src), halves(dst));
            key.hash(&[finer, a, b, c, d])
        }
    }
}

fn hash_at<H: Home>(key: HashKey, slab: &Slab<H, Eroute<H>>, n: u32) -> u32 {
    slab.get(n).map_or(0, |eroute| hash(key, &eroute.selector))
}

impl<H: Home> Eroutes<H> {
    /// An empty table.
    pub fn new(home: &H) -> Self {
        Self {
            slab: Slab::new(),
            index: Index::new(),
            shapes: H::Vec::new(),
            key: HashKey::random(home),
            own_holds: H::Vec::new(),
            guards: Guards::new(),
        }
    }

    /// How many eroutes there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// Those of them that KLIPS made itself, to hold packets that met a trap.
    pub fn own_holds(&self) -> &[Selector] {
        &self.own_holds
    }

    /// The eroute for a packet.
    pub fn lookup(&self, packet: &Packet) -> Option<&Eroute<H>> {
        let v6 = packet.src.is_ipv6();
        let shapes = self.shapes.iter().rev().filter(|c| c.shape.v6 == v6);
        let number = shapes
            .filter_map(|c| c.shape.cut(packet))
            .find_map(|selector| self.number(&selector));
        number.and_then(|n| self.slab.get(n))
    }

    /// The eroute for a packet of which something is hidden: the most specific one that could be meant and does not let pass; one
    /// that lets pass only if all that could be meant do (RFC 4301 section 7: a later fragment is never less protected than its
    /// first).
    pub fn lookup_hidden(&self, packet: &Packet, hidden: Hidden) -> Option<&Eroute<H>> {
        if hidden == Hidden::Nothing {
            return self.lookup(packet);
        }
        let v6 = packet.src.is_ipv6();
        let shapes = self.shapes.iter().rev().filter(|c| c.shape.v6 == v6);
        let found = shapes.map(|c| c.shape).find_map(|shape| {
            let cut = shape.cut(packet)?;
            let ports = shape.sport || shape.dport;
            match (hidden, shape.proto) {
                (Hidden::Protocol, true) => self.guards.any(self.key, &cut, 0),
                (Hidden::Ports, true) if ports => self.guards.any(self.key, &cut, packet.proto),
                _ => self.number(&cut),
            }
        });
        found.and_then(|n| self.slab.get(n))
    }

    fn number(&self, selector: &Selector) -> Option<u32> {
        self.index.find(hash(self.key, selector), |n| {
            self.slab.get(n).is_some_and(|e| e.selector == *selector)
        })
    }

    /// The eroute with exactly this selector.
    pub fn get(&self, selector: &Selector) -> Option<&Eroute<H>> {
        self.number(selector).and_then(|n| self.slab.get(n))
    }

    /// The eroute with exactly this selector, to change other things in it.
    pub(crate) fn get_mut(&mut self, selector: &Selector) -> Option<&mut Eroute<H>> {
        self.number(selector).and_then(|n| self.slab.get_mut(n))
    }

    /// Puts an eroute in.
    pub fn add(&mut self, eroute: Eroute<H>) -> Result<(), AddError> {
        let selector = eroute.selector;
        // A net of the other family or a port without a protocol would make a shape that means nothing.
        if !selector.is_sane() {
            return Err(AddError::Selector);
        }
        if self.number(&selector).is_some() {
            return Err(AddError::Exists);
        }
        let own = eroute.is_own_hold();
        if own {
            self.own_holds.try_reserve(1)?;
        }
        self.count_shape(Shape::of(&selector))?;
        if let Err(e) = self.put(eroute) {
            self.uncount_shape(Shape::of(&selector));
            return Err(e.into());
        }
        if own {
            self.own_holds.try_push(selector)?;
        }
        Ok(())
    }

    fn put(&mut self, eroute: Eroute<H>) -> Result<(), NoMemory> {
        let (selector, target) = (eroute.selector, eroute.target);
        let hash = hash(self.key, &selector);
        let n = self.slab.insert(eroute)?;
        let (key, slab) = (self.key, &self.slab);
        let indexed = self
            .guards
            .insert(key, &selector, &target, n)
            .and_then(|()| {
                let indexed = self.index.insert(hash, n, |n| hash_at(key, slab, n));
                indexed.inspect_err(|_| self.guards.remove(key, &selector, &target, n))
            });
        indexed.inspect_err(|_| drop(self.slab.remove(n)))
    }

    /// Takes the eroute with exactly this selector out.
    pub fn remove(&mut self, selector: &Selector) -> Option<Eroute<H>> {
        let n = self.number(selector)?;
        let (key, slab) = (self.key, &self.slab);
        self.index
            .remove(hash(key, selector), n, |n| hash_at(key, slab, n));
        self.uncount_shape(Shape::of(selector));
        let eroute = self.slab.remove(n)?;
        self.guards.remove(self.key, selector, &eroute.target, n);
        if eroute.is_own_hold()
            && let Some(at) = self.own_holds.iter().position(|s| s == selector)
        {
            let last = self.own_holds.len() - 1;
            self.own_holds.swap(at, last);
            self.own_holds.pop();
        }
        Some(eroute)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.slab = Slab::new();
        self.index = Index::new();
        self.shapes.clear();
        self.own_holds.clear();
        self.guards = Guards::new();
    }

    /// The eroute in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&Eroute<H>> {
        self.slab.get(slot)
    }

    /// One more than the highest slot in use, at least.
    pub(crate) fn bound(&self) -> usize {
        self.slab.bound()
    }

    /// The eroutes from slot `from` on, with their slots.
    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = (u32, &Eroute<H>)> {
        self.slab.iter_from(from)
    }

    fn count_shape(&mut self, shape: Shape) -> Result<(), NoMemory> {
        match self.shapes.binary_search_by_key(&shape, |c| c.shape) {
            Ok(at) => {
                if let Some(counted) = self.shapes.get_mut(at) {
                    counted.eroutes += 1;
                }
            }
            Err(at) => {
                self.shapes.try_push(Counted { shape, eroutes: 1 })?;
                if let Some(tail) = self.shapes.get_mut(at..) {
                    tail.rotate_right(1);
                }
            }
        }
        Ok(())
    }

    fn uncount_shape(&mut self, shape: Shape) {
        let Ok(at) = self.shapes.binary_search_by_key(&shape, |c| c.shape) else {
            return;
        };
        let Some(counted) = self.shapes.get_mut(at) else {
            return;
        };
        counted.eroutes -= 1;
        if counted.eroutes == 0 {
            if let Some(tail) = self.shapes.get_mut(at..) {
                tail.rotate_left(1);
            }
            self.shapes.pop();
        }
    }
}
