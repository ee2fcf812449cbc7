//! Entries with numbers that stay the same while others come and go; freed numbers are used again.

use crate::home::{Home, NoMemory, Vector};

enum Slot<T> {
    Free { next: Option<u32> },
    Used(T),
}

/// A slab of `T`.
pub(crate) struct Slab<H: Home, T: Send + Sync + 'static> {
    slots: H::Vec<Slot<T>>,
    free: Option<u32>,
    used: usize,
}

impl<H: Home, T: Send + Sync + 'static> Slab<H, T> {
    pub fn new() -> Self {
        Self {
            slots: H::Vec::new(),
            free: None,
            used: 0,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// One more than the highest number in use, at least.
    pub fn bound(&self) -> usize {
        self.slots.len()
    }

    pub fn get(&self, n: u32) -> Option<&T> {
        match self.slots.get(n as usize) {
            Some(Slot::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, n: u32) -> Option<&mut T> {
        match self.slots.get_mut(n as usize) {
            Some(Slot::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub fn insert(&mut self, value: T) -> Result<u32, NoMemory> {
        let n = match self.free {
            Some(n) => {
                let slot = self.slots.get_mut(n as usize).ok_or(NoMemory)?;
                if let Slot::Free { next } = slot {
                    self.free = *next;
                }
                *slot = Slot::Used(value);
                n
            }
            None => {
                let n = u32::try_from(self.slots.len()).map_err(|_| NoMemory)?;
                self.slots.try_push(Slot::Used(value))?;
                n
            }
        };
        self.used += 1;
        Ok(n)
    }

    pub fn remove(&mut self, n: u32) -> Option<T> {
        let slot = self.slots.get_mut(n as usize)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let old = core::mem::replace(slot, Slot::Free { next: self.free });
        self.free = Some(n);
        self.used -= 1;
        match old {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// The entries from number `from` on.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (u32, &T)> {
        self.slots
            .iter()
            .enumerate()
            .skip(from)
            .filter_map(|(n, slot)| match slot {
                Slot::Used(value) => Some((n as u32, value)),
                Slot::Free { .. } => None,
            })
    }
}
