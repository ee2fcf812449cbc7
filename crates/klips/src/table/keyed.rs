//! A hash index that holds its keys itself: a lookup touches the index alone, not the entries that it finds. Among 100,000
//! entries the memory touched is what a lookup costs.
//!
//! Open addressing, linear probing, at most 7/8 full; removal closes gaps, so no tombstones pile up.

use super::HashKey;
use crate::home::{Home, NoMemory, Vector};

/// A key small enough to be kept in the index.
pub(crate) trait Key: Copy + Eq + Default + Send + Sync + 'static {
    /// Its hash.
    fn hash(&self, key: HashKey) -> u32;
}

#[derive(Clone, Copy, Default)]
struct Entry<K> {
    key: K,
    /// The slab number plus one; 0: empty.
    value: u32,
}

const FIRST_SIZE: usize = 16;

/// An index of slab numbers by key.
pub(crate) struct KeyedIndex<H: Home, K: Key> {
    entries: H::Vec<Entry<K>>,
    used: usize,
}

impl<H: Home, K: Key> KeyedIndex<H, K> {
    pub fn new() -> Self {
        Self {
            entries: H::Vec::new(),
            used: 0,
        }
    }

    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// Where `key` is, or the empty place where it would be.
    fn seek(&self, hash: HashKey, key: &K) -> Option<(usize, Entry<K>)> {
        let mask = self.mask();
        let mut at = key.hash(hash) as usize & mask;
        for _ in 0..self.entries.len() {
            let entry = self.entries.get(at)?;
            if entry.value == 0 || entry.key == *key {
                return Some((at, *entry));
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The number under `key`.
    pub fn find(&self, hash: HashKey, key: &K) -> Option<u32> {
        self.seek(hash, key)
            .and_then(|(_, entry)| entry.value.checked_sub(1))
    }

    /// Puts `number` under `key`, which is not in the index.
    pub fn insert(&mut self, hash: HashKey, key: K, number: u32) -> Result<(), NoMemory> {
        if (self.used + 1) * 8 > self.entries.len() * 7 {
            self.grow(hash)?;
        }
        let value = number.checked_add(1).ok_or(NoMemory)?;
        let (at, _) = self.seek(hash, &key).ok_or(NoMemory)?;
        self.set(at, Entry { key, value });
        self.used += 1;
        Ok(())
    }

    fn grow(&mut self, hash: HashKey) -> Result<(), NoMemory> {
        let size = (self.entries.len() * 2).max(FIRST_SIZE);
        let mut bigger = Self::new();
        bigger.entries.try_reserve(size)?;
        for _ in 0..size {
            bigger.entries.try_push(Entry::default())?;
        }
        for entry in self.entries.iter().filter(|e| e.value != 0) {
            let (at, _) = bigger.seek(hash, &entry.key).ok_or(NoMemory)?;
            bigger.set(at, *entry);
        }
        self.entries = bigger.entries;
        Ok(())
    }

    /// Takes `key` out, and moves back what had gone further for its sake.
    pub fn remove(&mut self, hash: HashKey, key: &K) {
        let mask = self.mask();
        let Some((mut hole, found)) = self.seek(hash, key) else {
            return;
        };
        if found.value == 0 {
            return;
        }
        let mut next = (hole + 1) & mask;
        for _ in 0..self.entries.len() {
            let Some(entry) = self.entries.get(next).copied().filter(|e| e.value != 0) else {
                break;
            };
            let home = entry.key.hash(hash) as usize & mask;
            // An entry may move back only as far as the slot its hash names.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.set(hole, entry);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.set(hole, Entry::default());
        self.used -= 1;
    }

    fn set(&mut self, at: usize, entry: Entry<K>) {
        if let Some(slot) = self.entries.get_mut(at) {
            *slot = entry;
        }
    }
}
