//! What the core asks of its home: memory, locks, ciphers, compression, randomness, and a place for messages.
//!
//! Not here: anything about packets, tables or PF_KEY.

use core::fmt;
use core::ops::DerefMut;

use crate::device::DeviceId;
use crate::packet::Tag;
use crate::pfkey_seam::Audience;
use crate::transform::{Authentication, Encryption};

/// The home had no memory for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory for KLIPS tables")
    }
}

impl core::error::Error for NoMemory {}

/// A growable array whose growth can fail: `Vec` with `try_reserve` in user space, `KVVec` in the kernel.
pub trait Vector<T>: DerefMut<Target = [T]> {
    /// An empty one; takes no memory.
    fn new() -> Self;
    /// Makes room for `additional` more elements, growing geometrically.
    fn try_reserve(&mut self, additional: usize) -> Result<(), NoMemory>;
    /// Appends `value`.
    fn try_push(&mut self, value: T) -> Result<(), NoMemory>;
    /// Takes the last element off.
    fn pop(&mut self) -> Option<T>;
    /// Drops all elements; the memory may stay.
    fn clear(&mut self);
}

/// A spin lock or mutex around `T`, held for a few dozen instructions at most.
pub trait Lock<T>: Sized {
    /// A lock around `value`.
    fn new(value: T) -> Result<Self, NoMemory>;
    /// Runs `f` alone. Must not panic when another holder died: take the value as it is.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}

/// A cipher or MAC refused its key or its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptoError {
    /// The home has no implementation of this transform.
    Unsupported,
    /// The authenticator does not match: the data is not to be used.
    BadTag,
    /// The key has a length the transform does not take, or is a weak key.
    BadKey,
    /// The data is no whole number of blocks, or the IV has the wrong length.
    BadLength,
    /// Compressed data that is no deflate stream, or does not fit the room given.
    BadData,
    /// No memory for the key schedule.
    NoMemory,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "transform not implemented here",
            Self::BadTag => "authenticator does not match",
            Self::BadKey => "key of a wrong length, or weak",
            Self::BadLength => "data not a whole number of blocks, or wrong IV length",
            Self::BadData => "data does not decompress",
            Self::NoMemory => "no memory for the key schedule",
        })
    }
}

impl core::error::Error for CryptoError {}

/// One key of one cipher, ready for use by any thread. Must wipe its key when dropped.
pub trait Cipher {
    /// Encrypts `data` in place. CBC: `iv` has the transform's IV length, `data` is a whole number of its blocks. Counter mode:
    /// `iv` is the first counter block, 16 bytes, and `data` has any length.
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError>;
    /// Decrypts `data` in place.
    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError>;
}

/// Salt and IV of an AEAD, in bytes.
pub const NONCE: usize = crate::transform::SALT + crate::transform::COUNTER_IV;

/// One key of one AEAD, ready for use by any thread. Must wipe its key when dropped.
pub trait Aead {
    /// Encrypts in place all of `data` but its last [`Encryption::icv`] bytes, and writes the ICV over it and `aad` there.
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError>;

    /// Compares the ICV, which `data` ends with, in constant time, and decrypts in place what is before it. `BadTag` when it is
    /// not right; what `data` holds then is worth nothing.
    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError>;
}

/// The longest output any MAC writes, before truncation, in bytes.
pub const MAX_MAC: usize = 64;

/// One key of one keyed MAC, ready for use by any thread. Must wipe its key when dropped.
pub trait Mac {
    /// The MAC over the concatenation of `segments`, whole (not truncated), at the start of `out`; the rest of `out` is
    /// left as it is.
    fn mac(&self, segments: &[&[u8]], out: &mut [u8; MAX_MAC]) -> Result<(), CryptoError>;
}

/// What embeds the core. Cheap to share; one value may serve all threads or each thread may have its own.
pub trait Home: Sized + 'static {
    /// Memory for tables.
    type Vec<T: Send + Sync + 'static>: Vector<T> + Send + Sync + 'static;
    /// A lock for per-SA and per-eroute state.
    type Lock<T: Send + 'static>: Lock<T> + Send + Sync + 'static;
    /// A keyed cipher.
    type Cipher: Cipher + Send + Sync + 'static;
    /// A keyed MAC.
    type Mac: Mac + Send + Sync + 'static;
    /// A keyed AEAD.
    type Aead: Aead + Send + Sync + 'static;

    /// Whether this host has an implementation of the cipher; what it has not is not told to key daemons.
    fn has_encryption(&self, _transform: &Encryption) -> bool {
        true
    }

    /// Whether this host has an implementation of the MAC.
    fn has_authentication(&self, _transform: &Authentication) -> bool {
        true
    }

    /// Keys the cipher that `transform` describes, one in mode `Cbc` or `Ctr`; tell them apart by [`Encryption::id`] (and
    /// `key.len()`). The core has checked the key's length against the table; a nonce is not part of it.
    fn cipher(
        &self,
        transform: &'static Encryption,
        key: &[u8],
    ) -> Result<Self::Cipher, CryptoError>;

    /// Keys the MAC that `transform` describes; tell them apart by [`Authentication::id`].
    fn mac(&self, transform: &'static Authentication, key: &[u8])
    -> Result<Self::Mac, CryptoError>;

    /// Keys the AEAD that `transform` describes. The core has checked the key's length; the salt is not part of it.
    fn aead(&self, transform: &'static Encryption, key: &[u8]) -> Result<Self::Aead, CryptoError>;

    /// Deflates `buffer[..len]` in place (raw deflate, RFC 1951, window at most 2^15, no zlib header) and answers the new length.
    /// `Err(BadData)` when the result would not be shorter than `len`; `buffer` is then unchanged.
    fn deflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError>;

    /// Inflates `buffer[..len]` in place and answers the new length, at most `buffer.len()`.
    fn inflate(&self, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError>;

    /// Fills `buffer` with bytes nobody can predict (IVs, SPIs, hash keys).
    fn random(&self, buffer: &mut [u8]);

    /// Seconds since 1970 by the wall clock, which people and NTP set. PF_KEY shows times in it (RFC 2367 section 2.3.2), and
    /// nothing is decided by it.
    fn since_1970(&self) -> u64;

    /// The process id to put in messages KLIPS starts itself, or shows for the kernel: 0 in the kernel.
    fn pid(&self) -> u32 {
        0
    }
}

/// How the eroutes have changed, those of KLIPS' own making aside, which are within others and as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eroutes<'a> {
    /// What has its way back by this selector must not come in the clear.
    Closed(&'a ipsec_types::Selector),
    /// It may, for all that an eroute with this selector says: there is none, or it lets in.
    Opened(&'a ipsec_types::Selector),
}

/// Where the core puts what is to be said or sent besides the packet at hand. Must only queue.
pub trait Output {
    /// A whole PF_KEY message for the sockets that `audience` names. Without memory to queue it nobody will hear it.
    fn pfkey(&mut self, audience: Audience, message: &[u8]) -> Result<(), NoMemory>;

    /// A packet that was held and is free now: put it through [`crate::Klips::outbound`] on `device` again. `tag`: what was
    /// beside it.
    fn release(&mut self, device: DeviceId, packet: &[u8], tag: Tag);

    /// The eroutes that key daemons and people make have changed. For a home that has to tell somebody which packets to ask
    /// [`crate::Klips::arrived_clear`] about.
    fn eroutes(&mut self, _change: Eroutes<'_>) {}
}

/// What comes with every call: the home, the time, and where messages go.
pub struct Context<'a, H> {
    /// The home.
    pub home: &'a H,
    /// Now, in seconds on a clock that nobody sets and that runs while the machine sleeps (CLOCK_BOOTTIME). Lifetimes and holds
    /// are measured on it.
    pub now: u64,
    /// Where messages go.
    pub out: &'a mut dyn Output,
}
