//! The eroute table: most specific source first, then destination, then protocol and ports.
//!
//! Eroutes of one *shape* (family, both prefix lengths, which of protocol and ports are given) differ only in numbers, so a
//! packet cut to that shape finds its eroute by one hash probe. Shapes in use are kept in order of specificity; the first that
//! has an eroute for the packet wins. A lookup costs one probe per shape, however many eroutes there are: real tables have
//! a handful of shapes. The bound is 33 × 33 × 8 shapes for IPv4 and 129 × 129 × 8 for IPv6, and only PF_KEY makes shapes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{Packet, Selector};

use super::Eroute;
use crate::home::{Home, NoMemory, Vector};
use crate::table::{HashKey, Key, KeyedIndex, Slab};

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
    v4: KeyedIndex<H, KeyV4>,
    v6: KeyedIndex<H, KeyV6>,
    shapes: H::Vec<Counted>,
    key: HashKey,
    own_holds: H::Vec<Selector>,
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

    /// What of an eroute's key is not an address, for `packet` cut to this shape.
    fn finer(&self, packet: &Packet) -> Finer {
        Finer {
            sport: if self.sport { packet.sport } else { 0 },
            dport: if self.dport { packet.dport } else { 0 },
            proto: if self.proto { packet.proto } else { 0 },
            src: self.src,
            dst: self.dst,
        }
    }

    /// The key of the eroute of this shape that `packet` would go by.
    fn key(&self, packet: &Packet) -> Option<Place> {
        let finer = self.finer(packet);
        match (packet.src, packet.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mask = |a: Ipv4Addr, n| {
                    a.to_bits() & u32::MAX.checked_shl(32 - u32::from(n)).unwrap_or(0)
                };
                Some(Place::V4(KeyV4 {
                    src: mask(src, self.src.min(32)),
                    dst: mask(dst, self.dst.min(32)),
                    finer,
                }))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mask = |a: Ipv6Addr, n| {
                    a.to_bits() & u128::MAX.checked_shl(128 - u32::from(n)).unwrap_or(0)
                };
                let halves = |bits: u128| [(bits >> 64) as u64, bits as u64];
                let (src, dst) = (mask(src, self.src.min(128)), mask(dst, self.dst.min(128)));
                Some(Place::V6(KeyV6 {
                    src: halves(src),
                    dst: halves(dst),
                    finer,
                }))
            }
            _ => None,
        }
    }
}

/// Prefix lengths, protocol and ports; 0 is any. A selector that gives none of the latter has all of them 0, so shapes need no
/// flags here.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Finer {
    sport: u16,
    dport: u16,
    proto: u8,
    src: u8,
    dst: u8,
}

impl Finer {
    fn word(&self) -> u64 {
        u64::from(self.src) << 48
            | u64::from(self.dst) << 40
            | u64::from(self.proto) << 32
            | u64::from(self.sport) << 16
            | u64::from(self.dport)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct KeyV4 {
    src: u32,
    dst: u32,
    finer: Finer,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct KeyV6 {
    src: [u64; 2],
    dst: [u64; 2],
    finer: Finer,
}

impl Key for KeyV4 {
    fn hash(&self, key: HashKey) -> u32 {
        key.hash(&[
            self.finer.word(),
            u64::from(self.src) << 32 | u64::from(self.dst),
        ])
    }
}

impl Key for KeyV6 {
    fn hash(&self, key: HashKey) -> u32 {
        key.hash(&[
            self.finer.word(),
            self.src[0],
            self.src[1],
            self.dst[0],
            self.dst[1],
        ])
    }
}

/// A key of either family.
enum Place {
    V4(KeyV4),
    V6(KeyV6),
}

/// A selector as the packet that it would be the cut of.
fn as_cut(selector: &Selector) -> Packet {
    Packet {
        src: selector.src.addr(),
        dst: selector.dst.addr(),
        proto: selector.proto,
        sport: selector.sport,
        dport: selector.dport,
    }
}

impl<H: Home> Eroutes<H> {
    /// An empty table.
    pub fn new(home: &H) -> Self {
        Self {
            slab: Slab::new(),
            v4: KeyedIndex::new(),
            v6: KeyedIndex::new(),
            shapes: H::Vec::new(),
            key: HashKey::random(home),
            own_holds: H::Vec::new(),
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
            .filter_map(|c| c.shape.key(packet))
            .find_map(|place| self.find(&place));
        number.and_then(|n| self.slab.get(n))
    }

    fn find(&self, place: &Place) -> Option<u32> {
        match place {
            Place::V4(key) => self.v4.find(self.key, key),
            Place::V6(key) => self.v6.find(self.key, key),
        }
    }

    /// The place of a selector; none if its nets are of two families, or it gives ports without a protocol: PF_KEY refuses those.
    fn place(selector: &Selector) -> Option<Place> {
        Shape::of(selector)
            .key(&as_cut(selector))
            .filter(|_| selector.is_sane())
    }

    fn number(&self, selector: &Selector) -> Option<u32> {
        self.find(&Self::place(selector)?)
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
        let place = Self::place(&selector).ok_or(AddError::Selector)?;
        if self.find(&place).is_some() {
            return Err(AddError::Exists);
        }
        let own = eroute.is_own_hold();
        if own {
            self.own_holds.try_reserve(1)?;
        }
        self.count_shape(Shape::of(&selector))?;
        if let Err(e) = self.put(place, eroute) {
            self.uncount_shape(Shape::of(&selector));
            return Err(e.into());
        }
        if own {
            self.own_holds.try_push(selector)?;
        }
        Ok(())
    }

    fn put(&mut self, place: Place, eroute: Eroute<H>) -> Result<(), NoMemory> {
        let n = self.slab.insert(eroute)?;
        let indexed = match place {
            Place::V4(key) => self.v4.insert(self.key, key, n),
            Place::V6(key) => self.v6.insert(self.key, key, n),
        };
        indexed.inspect_err(|_| drop(self.slab.remove(n)))
    }

    /// Takes the eroute with exactly this selector out.
    pub fn remove(&mut self, selector: &Selector) -> Option<Eroute<H>> {
        let place = Self::place(selector)?;
        let n = self.find(&place)?;
        match place {
            Place::V4(key) => self.v4.remove(self.key, &key),
            Place::V6(key) => self.v6.remove(self.key, &key),
        }
        self.uncount_shape(Shape::of(selector));
        let eroute = self.slab.remove(n)?;
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
        self.v4 = KeyedIndex::new();
        self.v6 = KeyedIndex::new();
        self.shapes.clear();
        self.own_holds.clear();
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
