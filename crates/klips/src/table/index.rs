//! A hash index: open addressing, linear probing, at most 7/8 full; an entry is 4 bytes, so that a probe rarely leaves its cache
//! line, and the index of 100,000 eroutes is half a megabyte, which a processor's own cache holds.
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

const FIRST_SIZE: usize = 16;

/// An index of slab numbers by hash.
///
/// An entry is the number plus one in the low bits, as many as tell the entries of the index apart, and of the hash what is
/// left above them; 0: empty.
pub(crate) struct Index<H: Home> {
    entries: H::Vec<u32>,
    used: usize,
}

impl<H: Home> Index<H> {
    pub fn new() -> Self {
        Self {
            entries: H::Vec::new(),
            used: 0,
        }
    }

    fn mask(&self) -> u32 {
        (self.entries.len() as u32).wrapping_sub(1)
    }

    /// The number under `hash` for which `is_it` holds.
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash & mask;
        for _ in 0..self.entries.len() {
            let entry = *self.entries.get(at as usize)?;
            if entry == 0 {
                return None;
            }
            let number = (entry & mask).wrapping_sub(1);
            if (entry ^ hash) & !mask == 0 && is_it(number) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Puts `number` under `hash`; `hash_of` tells the hash of a number that is in the index.
    pub fn insert(
        &mut self,
        hash: u32,
        number: u32,
        hash_of: impl Fn(u32) -> u32,
    ) -> Result<(), NoMemory> {
        while (self.used + 1) * 8 > self.entries.len() * 7 || number >= self.mask() {
            self.grow(&hash_of)?;
        }
        self.place(hash, number);
        self.used += 1;
        Ok(())
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u32) -> Result<(), NoMemory> {
        let size = (self.entries.len() * 2).max(FIRST_SIZE);
        if u32::try_from(size).is_err() {
            return Err(NoMemory);
        }
        let mut bigger = Self::new();
        bigger.entries.try_reserve(size)?;
        for _ in 0..size {
            bigger.entries.try_push(0)?;
        }
        let mask = self.mask();
        for entry in self.entries.iter().filter(|e| **e != 0) {
            let number = (entry & mask).wrapping_sub(1);
            bigger.place(hash_of(number), number);
        }
        self.entries = bigger.entries;
        Ok(())
    }

    fn place(&mut self, hash: u32, number: u32) {
        let mask = self.mask();
        let mut at = hash & mask;
        for _ in 0..self.entries.len() {
            match self.entries.get_mut(at as usize) {
                Some(slot) if *slot == 0 => {
                    *slot = (hash & !mask) | (number + 1);
                    return;
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Takes `number` out, and closes the gap so that no tombstones pile up. `hash_of` as for [`Self::insert`].
    pub fn remove(&mut self, hash: u32, number: u32, hash_of: impl Fn(u32) -> u32) {
        let mask = self.mask();
        let mut hole = hash & mask;
        for _ in 0..self.entries.len() {
            match self.entries.get(hole as usize) {
                Some(e) if *e != 0 && e & mask == number + 1 => break,
                Some(e) if *e != 0 => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        let mut next = (hole + 1) & mask;
        for _ in 0..self.entries.len() {
            let Some(entry) = self.entries.get(next as usize).copied().filter(|e| *e != 0) else {
                break;
            };
            let home = hash_of((entry & mask).wrapping_sub(1)) & mask;
            // An entry may move back only as far as the slot its hash names.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.set(hole, entry);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.set(hole, 0);
        self.used -= 1;
    }

    fn set(&mut self, at: u32, entry: u32) {
        if let Some(slot) = self.entries.get_mut(at as usize) {
            *slot = entry;
        }
    }
}
