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
}

/// Why an eroute was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// One with the same selector is there.
    Exists,
    /// No memory.
    NoMemory,
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

    /// `packet` cut to this shape.
    fn cut(&self, packet: &Packet) -> Packet {
        Packet {
            src: mask(packet.src, self.src),
            dst: mask(packet.dst, self.dst),
            proto: if self.proto { packet.proto } else { 0 },
            sport: if self.sport { packet.sport } else { 0 },
            dport: if self.dport { packet.dport } else { 0 },
        }
    }

    fn hash(&self, key: HashKey, cut: &Packet) -> u32 {
        let flags = u64::from(self.proto) | u64::from(self.sport) << 1 | u64::from(self.dport) << 2;
        let first = u64::from(self.src) << 56
            | u64::from(self.dst) << 48
            | u64::from(cut.sport) << 32
            | u64::from(cut.dport) << 16
            | u64::from(cut.proto) << 8
            | flags;
        match (cut.src, cut.dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                key.hash(&[first, u64::from(s.to_bits()) << 32 | u64::from(d.to_bits())])
            }
            (s, d) => {
                let (s, d) = (bits(s), bits(d));
                key.hash(&[
                    first,
                    (s >> 64) as u64,
                    s as u64,
                    (d >> 64) as u64,
                    d as u64,
                ])
            }
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => a.to_bits().into(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
        }
    }
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
            index: Index::new(),
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
        self.shapes
            .iter()
            .rev()
            .filter(|c| c.shape.v6 == v6)
            .find_map(|c| {
                let cut = c.shape.cut(packet);
                let hash = c.shape.hash(self.key, &cut);
                self.index
                    .find(hash, |n| self.is(n, &c.shape, &cut))
                    .and_then(|n| self.slab.get(n))
            })
    }

    fn is(&self, n: u32, shape: &Shape, cut: &Packet) -> bool {
        self.slab
            .get(n)
            .is_some_and(|e| as_cut(&e.selector) == *cut && Shape::of(&e.selector) == *shape)
    }

    fn number(&self, selector: &Selector) -> Option<(u32, u32)> {
        let (shape, cut) = (Shape::of(selector), as_cut(selector));
        let hash = shape.hash(self.key, &cut);
        self.index
            .find(hash, |n| self.is(n, &shape, &cut))
            .map(|n| (hash, n))
    }

    /// The eroute with exactly this selector.
    pub fn get(&self, selector: &Selector) -> Option<&Eroute<H>> {
        self.number(selector).and_then(|(_, n)| self.slab.get(n))
    }

    /// The eroute with exactly this selector, to change other things in it.
    pub(crate) fn get_mut(&mut self, selector: &Selector) -> Option<&mut Eroute<H>> {
        self.number(selector)
            .and_then(|(_, n)| self.slab.get_mut(n))
    }

    /// Puts an eroute in.
    pub fn add(&mut self, eroute: Eroute<H>) -> Result<(), AddError> {
        if self.number(&eroute.selector).is_some() {
            return Err(AddError::Exists);
        }
        let (shape, own, selector) = (
            Shape::of(&eroute.selector),
            eroute.own_hold,
            eroute.selector,
        );
        if own {
            self.own_holds
                .try_reserve(1)
                .map_err(|NoMemory| AddError::NoMemory)?;
        }
        let hash = shape.hash(self.key, &as_cut(&eroute.selector));
        self.count_shape(shape)
            .map_err(|NoMemory| AddError::NoMemory)?;
        let added = self.slab.insert(eroute).and_then(|n| {
            self.index
                .insert(hash, n)
                .inspect_err(|_| drop(self.slab.remove(n)))
        });
        if added.is_err() {
            self.uncount_shape(shape);
            return Err(AddError::NoMemory);
        }
        if own {
            self.own_holds
                .try_push(selector)
                .map_err(|NoMemory| AddError::NoMemory)?;
        }
        Ok(())
    }

    /// Takes the eroute with exactly this selector out.
    pub fn remove(&mut self, selector: &Selector) -> Option<Eroute<H>> {
        let (hash, n) = self.number(selector)?;
        self.index.remove(hash, n);
        self.uncount_shape(Shape::of(selector));
        let eroute = self.slab.remove(n)?;
        if let Some(at) = self
            .own_holds
            .iter()
            .position(|s| eroute.own_hold && s == selector)
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
