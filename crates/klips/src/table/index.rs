//! A hash index: open addressing, linear probing, at most 7/8 full; an entry is 8 bytes, so that a probe rarely leaves its cache
//! line, and the index of 100,000 eroutes is one megabyte.
//!
//! The hash is keyed with random numbers, so that a peer who chooses addresses cannot aim at one chain.

use crate::home::{Home, NoMemory, Vector};

/// The key of the hash.
#[derive(Clone, Copy)]
pub(crate) struct HashKey([u64; 2]);

impl HashKey {
    pub fn random<H: Home>(home: &H) -> Self {
        let mut bytes = [0; 16];
        home.random(&mut bytes);
        let number = u128::from_ne_bytes(bytes);
        Self([number as u64 | 1, (number >> 64) as u64 | 1])
    }

    /// Hashes `words`.
    pub fn hash(&self, words: &[u64]) -> u32 {
        let mut state = self.0[0];
        for word in words {
            state = fold(state ^ word, self.0[1]).wrapping_add(self.0[0]);
        }
        let end = fold(state, 0x9e37_79b9_7f4a_7c15 ^ self.0[1]);
        (end ^ (end >> 32)) as u32
    }
}

/// The two halves of a 64 by 64 bit product, folded together.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    /// The slab number plus one; 0: empty.
    value: u32,
}

const EMPTY: Entry = Entry { hash: 0, value: 0 };
const FIRST_SIZE: usize = 16;

/// An index of slab numbers by hash.
pub(crate) struct Index<H: Home> {
    entries: H::Vec<Entry>,
    used: usize,
}

impl<H: Home> Index<H> {
    pub fn new() -> Self {
        Self {
            entries: H::Vec::new(),
            used: 0,
        }
    }

    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// The number under `hash` for which `is_it` holds.
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        for _ in 0..self.entries.len() {
            let entry = self.entries.get(at)?;
            if entry.value == 0 {
                return None;
            }
            if entry.hash == hash && is_it(entry.value - 1) {
                return Some(entry.value - 1);
            }
            at = (at + 1) & mask;
        }
        None
    }

    pub fn insert(&mut self, hash: u32, number: u32) -> Result<(), NoMemory> {
        if (self.used + 1) * 8 > self.entries.len() * 7 {
            self.grow()?;
        }
        let value = number.checked_add(1).ok_or(NoMemory)?;
        place::<H>(&mut self.entries, Entry { hash, value });
        self.used += 1;
        Ok(())
    }

    fn grow(&mut self) -> Result<(), NoMemory> {
        let size = (self.entries.len() * 2).max(FIRST_SIZE);
        let mut bigger: H::Vec<Entry> = H::Vec::new();
        bigger.try_reserve(size)?;
        for _ in 0..size {
            bigger.try_push(EMPTY)?;
        }
        for entry in self.entries.iter().filter(|e| e.value != 0) {
            place::<H>(&mut bigger, *entry);
        }
        self.entries = bigger;
        Ok(())
    }

    /// Takes `number` out, and closes the gap so that no tombstones pile up.
    pub fn remove(&mut self, hash: u32, number: u32) {
        let (mask, size) = (self.mask(), self.entries.len());
        let mut at = hash as usize & mask;
        for _ in 0..size {
            match self.entries.get(at) {
                Some(e) if e.value == number.wrapping_add(1) && e.hash == hash => break,
                Some(e) if e.value != 0 => at = (at + 1) & mask,
                _ => return,
            }
        }
        let mut hole = at;
        let mut next = (at + 1) & mask;
        for _ in 0..size {
            let Some(entry) = self.entries.get(next).copied().filter(|e| e.value != 0) else {
                break;
            };
            let home = entry.hash as usize & mask;
            // An entry may move back only as far as the slot its hash names.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.set(hole, entry);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.set(hole, EMPTY);
        self.used -= 1;
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(at) {
            *slot = entry;
        }
    }
}

fn place<H: Home>(entries: &mut H::Vec<Entry>, entry: Entry) {
    let mask = entries.len().wrapping_sub(1);
    let mut at = entry.hash as usize & mask;
    for _ in 0..entries.len() {
        match entries.get_mut(at) {
            Some(slot) if slot.value == 0 => {
                *slot = entry;
                return;
            }
            _ => at = (at + 1) & mask,
        }
    }
}
