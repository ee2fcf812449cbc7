//! What `klips` asks of user space: `Vec`, `Mutex`, ciphers, randomness, and a queue for what it wants said.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use klips::packet::Tag;
use klips::transform::{Authentication, Encryption};
use klips::{Audience, CryptoError, DeviceId, Eroutes, Home, NoMemory};
use rand::Rng as _;

use crate::clear::Change;
use crate::crypto::{KeyedAead, KeyedCipher, KeyedMac, deflate};
use crate::sys::huge;

/// A host in user space.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserHome;

/// `Vec` whose growth can fail.
#[derive(Debug)]
pub struct Table<T>(Vec<T>);

/// A mutex that outlives a holder's panic.
#[derive(Debug)]
pub struct Guarded<T>(Mutex<T>);

impl<T> Deref for Table<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> klips::Vector<T> for Table<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn try_reserve(&mut self, additional: usize) -> Result<(), NoMemory> {
        let before = self.0.capacity();
        self.0.try_reserve(additional).map_err(|_| NoMemory)?;
        if self.0.capacity() != before {
            huge::advise(&mut self.0);
        }
        Ok(())
    }

    fn try_push(&mut self, value: T) -> Result<(), NoMemory> {
        self.try_reserve(1)?;
        self.0.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T> klips::Lock<T> for Guarded<T> {
    fn new(value: T) -> Result<Self, NoMemory> {
        Ok(Self(Mutex::new(value)))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Home for UserHome {
    type Vec<T: Send + Sync + 'static> = Table<T>;
    type Lock<T: Send + 'static> = Guarded<T>;
    type Cipher = KeyedCipher;
    type Mac = KeyedMac;
    type Aead = KeyedAead;

    fn cipher(
        &self,
        transform: &'static Encryption,
        key: &[u8],
    ) -> Result<KeyedCipher, CryptoError> {
        KeyedCipher::new(transform.id, key)
    }

    fn mac(&self, transform: &'static Authentication, key: &[u8]) -> Result<KeyedMac, CryptoError> {
        KeyedMac::new(transform.id, key)
    }

    fn aead(&self, transform: &'static Encryption, key: &[u8]) -> Result<KeyedAead, CryptoError> {
        KeyedAead::new(transform.id, key)
    }

    fn deflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
        deflate::deflate(buffer, len)
    }

    fn inflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
        deflate::inflate(buffer, len)
    }

    fn random(&self, buffer: &mut [u8]) {
        // A generator per thread, seeded and reseeded by the system: a system call per IV would cost as much as the cipher.
        rand::rng().fill_bytes(buffer);
    }

    fn since_1970(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    }
}

/// What the core wanted said or sent during one or more calls; acted on once the tables are unlocked.
#[derive(Debug, Default)]
pub struct Pending {
    /// PF_KEY messages, with whom they are for.
    pub messages: Vec<(Audience, Vec<u8>)>,
    /// Held packets that are free now.
    pub released: Vec<(DeviceId, Vec<u8>)>,
    /// How the eroutes have changed.
    pub eroutes: Vec<Change>,
}

impl Pending {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.released.is_empty() && self.eroutes.is_empty()
    }
}

impl klips::Output for Pending {
    fn pfkey(&mut self, audience: Audience, message: &[u8]) -> Result<(), NoMemory> {
        self.messages.push((audience, message.to_vec()));
        Ok(())
    }

    fn release(&mut self, device: DeviceId, packet: &[u8], _: Tag) {
        self.released.push((device, packet.to_vec()));
    }

    fn eroutes(&mut self, change: Eroutes<'_>) {
        self.eroutes.push(match change {
            Eroutes::Closed(eroute) => Change::Closed(*eroute),
            Eroutes::Opened(eroute) => Change::Opened(*eroute),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klips::{Lock, Vector};

    #[test]
    fn a_lock_survives_its_holders_panic() {
        let lock = std::sync::Arc::new(Guarded::new(1).unwrap());
        let other = lock.clone();
        let died = std::thread::spawn(move || other.with(|_| panic!("on purpose"))).join();
        assert!(died.is_err());
        assert_eq!(lock.with(|n| *n), 1);
    }

    #[test]
    fn absurd_growth_is_an_error() {
        let mut table: Table<u64> = Table::new();
        assert_eq!(table.try_reserve(usize::MAX / 16), Err(NoMemory));
        table.try_push(5).unwrap();
        assert_eq!(table[..], [5]);
    }

    #[test]
    fn random_differs() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        UserHome.random(&mut a);
        UserHome.random(&mut b);
        assert_ne!(a, b);
    }
}
