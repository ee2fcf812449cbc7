// SPDX-License-Identifier: GPL-2.0

//! What `klips` asks of the kernel: memory, locks, ciphers, compression, randomness; and what
//! becomes of what it says.
//!
//! Not here: how the tables are read and written (`host`).

pub(crate) mod crypto;

use klips::packet::{HEADROOM, TAILROOM, Tag};
use klips::transform::{Authentication, Encryption};
use klips::{Audience, CryptoError, DeviceId, Home, NoMemory};

use crate::sys::alloc::KernelVec;
use crate::sys::lock::SpinLock;
use crate::sys::skb::{Chain, PreparedSkb, Skb};

/// A host in the kernel. Whoever has one is inside a gate, where what belongs to the CPU may be
/// used.
pub(crate) use crate::sys::gate::Inside as KernelHome;

impl Home for KernelHome {
    type Vec<T: Send + Sync + 'static> = KernelVec<T>;
    type Lock<T: Send + 'static> = SpinLock<T>;
    type Cipher = crypto::KernelCipher;
    type Mac = crypto::KernelMac;
    type Aead = crypto::KernelAead;

    fn has_encryption(&self, row: &Encryption) -> bool {
        crypto::has_encryption(row)
    }

    fn has_authentication(&self, row: &Authentication) -> bool {
        crypto::has_authentication(row)
    }

    fn cipher(&self, row: &'static Encryption, key: &[u8]) -> Result<Self::Cipher, CryptoError> {
        crypto::KernelCipher::new(row, key)
    }

    fn mac(&self, row: &'static Authentication, key: &[u8]) -> Result<Self::Mac, CryptoError> {
        crypto::KernelMac::new(row, key)
    }

    fn aead(&self, row: &'static Encryption, key: &[u8]) -> Result<Self::Aead, CryptoError> {
        crypto::KernelAead::new(row, key)
    }

    fn deflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
        crypto::deflate(self, buffer, len)
    }

    fn inflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
        crypto::inflate(self, buffer, len)
    }

    fn random(&self, buffer: &mut [u8]) {
        crate::sys::random(buffer);
    }

    fn since_1970(&self) -> u64 {
        crate::sys::since_1970()
    }
}

/// What the core said during one call, to be acted on once the tables are open again.
#[derive(Default)]
pub(crate) struct Said {
    /// PF_KEY messages, with their audience beside them.
    pub(crate) messages: Chain,
    /// Held packets that are free now, with their device beside them.
    pub(crate) released: Chain,
    /// Some of it was lost for lack of memory.
    pub(crate) lost: bool,
}

impl klips::Output for Said {
    fn pfkey(&mut self, audience: Audience, message: &[u8]) -> Result<(), NoMemory> {
        let made = PreparedSkb::new(0, message, 0, Tag::default());
        let mut skb = Skb::from(made.inspect_err(|_| self.lost = true)?);
        let (kind, satype) = match audience {
            Audience::Sender => (0, 0),
            Audience::All => (1, 0),
            Audience::Registered(satype) => (2, satype),
            Audience::Promiscuous => (3, 0),
        };
        skb.beside()[..2].copy_from_slice(&[kind, satype]);
        self.messages.put(skb);
        Ok(())
    }

    fn release(&mut self, device: DeviceId, packet: &[u8], tag: Tag) {
        match PreparedSkb::new(HEADROOM, packet, TAILROOM, tag) {
            Ok(skb) => {
                let mut skb = Skb::from(skb);
                set_device(&mut skb, device);
                self.released.put(skb);
            }
            Err(_) => self.lost = true,
        }
    }
}

/// For whom the message is.
pub(crate) fn audience(message: &mut Skb) -> Audience {
    match *message.beside() {
        [0, ..] => Audience::Sender,
        [1, ..] => Audience::All,
        [2, satype, ..] => Audience::Registered(satype),
        _ => Audience::Promiscuous,
    }
}

/// Writes beside a packet which ipsec device it is for.
pub(crate) fn set_device(packet: &mut Skb, device: DeviceId) {
    packet.beside()[0] = device.index() as u8;
}

/// The ipsec device that the packet is for.
pub(crate) fn device(packet: &mut Skb) -> Option<DeviceId> {
    DeviceId::new(packet.beside()[0].into())
}
