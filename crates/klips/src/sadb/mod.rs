//! Security associations: what one is (here), and the table of them (`table`).
//!
//! Not here: how a packet is transformed (`esp`, `ah`, `ipcomp`, `ipip`), or how SAs are asked for (`request`).

mod table;

use core::net::IpAddr;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use ipsec_types::{SaId, Selector};

use crate::ah;
use crate::esp::Layout;
use crate::home::{Home, Lock, NoMemory};
use crate::ident::Ident;
use crate::lifetime::{Lifetime, Standing};
use crate::natt::{Encap, UDP_HEADER};
use crate::path_mtu::PathMtu;
use crate::replay::Replay;
use crate::transform::{
    Authentication, COUNTER_IV, Compression, Encryption, MAX_IV, Mode, SALT, padded,
};

pub use table::{DeleteError, GroupError, Sadb};

/// The last sequence number of 32 bits.
const MAX_SEQUENCE: u64 = u32::MAX as u64;
/// Where an SA without ESN asks to be replaced: 2^28 packets before its end.
const SOFT_SEQUENCE: u64 = MAX_SEQUENCE - (1 << 28);

/// Where an SA stands (RFC 2367 section 2.3.1). Numbers as `sadb_sa_state` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Made by GETSPI, waiting for UPDATE.
    Larval = 0,
    /// In use.
    Mature = 1,
    /// In use, past a soft lifetime.
    Dying = 2,
    /// Past a hard lifetime; waits to be taken away.
    Dead = 3,
}

impl State {
    fn from_number(n: u8) -> Self {
        match n {
            0 => Self::Larval,
            1 => Self::Mature,
            2 => Self::Dying,
            _ => Self::Dead,
        }
    }
}

/// The home's implementation of a cipher, keyed.
pub enum Keyed<H: Home> {
    /// NULL has none.
    Null,
    /// CBC or counter mode.
    Cipher(H::Cipher),
    /// Encryption and authentication in one.
    Aead(H::Aead),
}

/// The part of an AEAD's or counter mode's key that goes before the IV. Wiped when dropped.
pub struct Salt(pub [u8; SALT]);

impl Drop for Salt {
    fn drop(&mut self) {
        self.0 = [0; SALT];
        core::hint::black_box(&self.0);
    }
}

/// A keyed cipher with its row in the table.
pub struct Crypt<H: Home> {
    /// The row.
    pub row: &'static Encryption,
    /// The home's implementation, keyed.
    pub keyed: Keyed<H>,
    /// Zeros for what has no salt.
    pub salt: Salt,
    /// Key length, in bits, without the salt, for `/proc/net/ipsec_spi`.
    pub key_bits: usize,
}

/// A keyed MAC with its row in the table.
pub struct Auth<H: Home> {
    /// The row.
    pub row: &'static Authentication,
    /// The home's implementation, keyed.
    pub mac: H::Mac,
}

/// What an SA does to a packet.
pub enum Transform<H: Home> {
    /// Nothing yet: larval.
    None,
    /// Wraps it in another IP header.
    IpIp,
    /// ESP. At least one of the two is there.
    Esp {
        /// Confidentiality.
        crypt: Option<Crypt<H>>,
        /// Authenticity.
        auth: Option<Auth<H>>,
    },
    /// AH.
    Ah(Auth<H>),
    /// IPCOMP.
    Comp(&'static Compression),
}

/// What went wrong on an SA, counted.
#[derive(Debug, Default)]
pub struct SaErrors {
    /// Authenticators that did not match.
    pub auth: AtomicU32,
    /// Encrypted parts of a wrong length.
    pub size: AtomicU32,
    /// Paddings other than 1, 2, 3, …
    pub padding: AtomicU32,
    /// Packets seen before, or too old to tell.
    pub replay: AtomicU32,
}

impl SaErrors {
    pub(crate) fn add(counter: &AtomicU32) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A security association.
pub struct Sa<H: Home> {
    /// Its name.
    pub id: SaId,
    /// The outer source address, where one was given.
    pub source: IpAddr,
    /// What it does.
    pub transform: Transform<H>,
    /// Whether packets come to us on it.
    pub inbound: bool,
    /// PF_KEY flags it was added with (`SADB_SAFLAGS_*`), and INFLOW when it has a policy.
    pub flags: u32,
    /// What may be inside, on an incoming tunnel SA.
    pub policy: Option<Selector>,
    /// Lifetimes.
    pub life: Lifetime,
    /// The replay window.
    pub replay: H::Lock<Replay>,
    /// The window's width in packets; 0 none.
    pub window: u32,
    /// Identity of the source.
    pub ident_src: Ident<H>,
    /// Identity of the destination.
    pub ident_dst: Ident<H>,
    /// What went wrong.
    pub errors: SaErrors,
    /// ESP goes in UDP.
    pub encap: Option<Encap>,
    /// Whence the last authentic packet in UDP came, as a number; 0 none yet.
    pub(crate) heard_from: AtomicU64,
    /// Bytes before and after compression.
    pub ratio: [AtomicU64; 2],
    /// A random number that IVs are made from.
    pub iv_seed: [u8; MAX_IV],
    /// A number that names the SA in PF_KEY (`ref`), from 1.
    pub reference: u32,
    /// The next SA towards the wire, within the group.
    pub(crate) outward: Option<u32>,
    /// The next SA towards the inner packet.
    pub(crate) inward: Option<u32>,
    state: AtomicU8,
    sequence: AtomicU64,
    pub(crate) path_mtu: PathMtu,
}

impl<H: Home> Sa<H> {
    /// A larval SA.
    pub fn new(
        home: &H,
        id: SaId,
        source: IpAddr,
        window: u32,
        life: Lifetime,
    ) -> Result<Self, NoMemory> {
        let mut iv_seed = [0; MAX_IV];
        home.random(&mut iv_seed);
        Ok(Self {
            id,
            source,
            transform: Transform::None,
            inbound: false,
            flags: 0,
            policy: None,
            life,
            replay: H::Lock::new(Replay::new(window))?,
            window,
            ident_src: Ident::none(),
            ident_dst: Ident::none(),
            errors: SaErrors::default(),
            encap: None,
            heard_from: AtomicU64::new(0),
            ratio: Default::default(),
            iv_seed,
            reference: 0,
            outward: None,
            inward: None,
            state: AtomicU8::new(State::Larval as u8),
            sequence: AtomicU64::new(0),
            path_mtu: PathMtu::default(),
        })
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Whether packets may use it.
    pub fn is_usable(&self) -> bool {
        matches!(self.state(), State::Mature | State::Dying)
    }

    /// Moves it on to `to`; true for the one caller that did it, who then tells others about it.
    pub fn advance(&self, to: State) -> bool {
        self.state.fetch_max(to as u8, Ordering::Relaxed) < to as u8
    }

    /// Whether sequence numbers have 64 bits, of which the lower half is sent (RFC 4303 section 2.2.1).
    pub fn is_esn(&self) -> bool {
        pfkey::SaFlags(self.flags).contains(pfkey::SaFlags::ESN)
    }

    /// The half of a sequence number that is not sent but authenticated; none without ESN.
    pub(crate) fn unsent(&self, sequence: u64) -> Option<[u8; 4]> {
        self.is_esn()
            .then(|| ((sequence >> 32) as u32).to_be_bytes())
    }

    /// Whether it encrypts and does not authenticate, so that an AH SA around it has to (`auth=ah`).
    pub(crate) fn needs_ah(&self) -> bool {
        matches!(
            &self.transform,
            Transform::Esp { crypt: Some(crypt), auth: None } if crypt.row.mode != Mode::Aead
        )
    }

    /// The next outgoing sequence number; `None` when all 2^32 - 1 are used up (RFC 4303 section 3.3.3). 2^64 never are.
    pub fn next_sequence(&self) -> Option<u64> {
        let next = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.may_send(next)
    }

    /// The sequence number, if this SA may still use it.
    pub(crate) fn may_send(&self, number: u64) -> Option<u64> {
        (self.is_esn() || number <= MAX_SEQUENCE).then_some(number)
    }

    /// Sets aside the next `count` sequence numbers, and answers the first of them. See [`crate::numbers`].
    pub(crate) fn reserve_sequence(&self, count: u32) -> u64 {
        self.sequence.fetch_add(count.into(), Ordering::Relaxed) + 1
    }

    /// Takes back what was set aside and not used, from `next` up to `end`, if nothing has been taken since.
    pub(crate) fn give_back_sequence(&self, next: u64, end: u64) {
        if next < end {
            let _ = self.sequence.compare_exchange(
                end - 1,
                next - 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Whether the sequence numbers come to their end, where no lifetime says so: time to negotiate a new SA.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        let counts = matches!(self.transform, Transform::Esp { .. } | Transform::Ah(_));
        let sent = self.sequence.load(Ordering::Relaxed);
        let ends = counts && !self.is_esn() && sent >= SOFT_SEQUENCE;
        let by_number = if ends {
            Standing::Soft
        } else {
            Standing::Fresh
        };
        self.life.standing(now).max(by_number)
    }

    /// Goes on after this sequence number, both ways: for a host that takes an SA over from another.
    pub fn resume(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
        self.replay.with(|r| r.resume(sequence));
    }

    /// Whether it keeps what goes through it from being read or changed. IPIP and IPCOMP do neither.
    pub(crate) fn protects(&self) -> bool {
        matches!(self.transform, Transform::Esp { .. } | Transform::Ah(_))
    }

    /// Takes over what packets have used up of the SA that this one replaces: under the same key no IV may come again, no packet
    /// be taken twice, and no limit begin anew.
    pub(crate) fn continue_from(&mut self, old: &mut Self) {
        self.iv_seed = old.iv_seed;
        self.life.continue_from(&old.life);
        self.errors = core::mem::take(&mut old.errors);
        self.ratio = core::mem::take(&mut old.ratio);
        self.path_mtu = core::mem::take(&mut old.path_mtu);
        self.heard_from = core::mem::take(&mut old.heard_from);
        // What may be inside is said by another message, which would have to come again.
        if self.policy.is_none() && old.policy.is_some() {
            self.policy = old.policy;
            self.flags |= pfkey::SaFlags::INFLOW.0;
            self.inbound = true;
        }
        self.resume_window(old);
        *self.sequence.get_mut() = old.sequence.load(Ordering::Relaxed);
    }

    fn resume_window(&self, old: &Self) {
        let seen = old.replay.with(|r| r.clone());
        self.replay.with(|r| *r = seen.with_window(self.window));
    }

    /// The IV of a counter mode's packet: no two of an SA are the same, and those of an SA with the same key (which ought not to be)
    /// begin elsewhere.
    pub(crate) fn counter_iv(&self, sequence: u64) -> [u8; COUNTER_IV] {
        let seed = self.iv_seed.first_chunk().copied().unwrap_or_default();
        (u64::from_be_bytes(seed) ^ sequence).to_be_bytes()
    }

    /// The next identification for an outer IPv4 header. Tunnel SAs have no sequence numbers, so it is the same counter.
    pub fn next_ip_id(&self) -> u16 {
        // Never 0: a raw socket's kernel puts its own number there, behind AH's back.
        (self.sequence.fetch_add(1, Ordering::Relaxed) % 0xffff + 1) as u16
    }

    /// The last sequence number sent or accepted.
    pub fn last_sequence(&self) -> u64 {
        if self.inbound {
            return self.replay.with(|r| r.highest());
        }
        let sent = self.sequence.load(Ordering::Relaxed);
        if self.is_esn() {
            sent
        } else {
            sent.min(MAX_SEQUENCE)
        }
    }

    /// How much room before and after a packet it takes, in bytes, at most. `outbound` asks for so much, and no transform may take more.
    pub fn room(&self) -> (usize, usize) {
        match &self.transform {
            Transform::None => (0, 0),
            Transform::IpIp => (if self.id.dst.is_ipv4() { 20 } else { 40 }, 0),
            Transform::Esp { crypt, auth } => {
                let layout = Layout::of(crypt.as_ref(), auth.as_ref());
                let udp = if self.encap.is_some() { UDP_HEADER } else { 0 };
                // Padding is one less than a block at most; then its length, and the protocol.
                (udp + 8 + layout.iv, layout.block + 1 + layout.icv)
            }
            Transform::Ah(auth) => (ah::length(auth.row.icv, self.id.dst.is_ipv4()), 0),
            Transform::Comp(_) => (4, 0),
        }
    }

    /// How long a packet of `total` bytes with `header` bytes of IP header becomes by this SA, at most.
    /// Answers the new total and header lengths.
    pub fn grown(&self, total: usize, header: usize) -> (usize, usize) {
        match &self.transform {
            Transform::None | Transform::Comp(_) => (total, header),
            Transform::IpIp => {
                let outer = if self.id.dst.is_ipv4() { 20 } else { 40 };
                (total + outer, outer)
            }
            Transform::Esp { crypt, auth } => {
                let layout = Layout::of(crypt.as_ref(), auth.as_ref());
                let payload = padded(total.saturating_sub(header) + 2, layout.block);
                let udp = if self.encap.is_some() { UDP_HEADER } else { 0 };
                (header + udp + 8 + layout.iv + payload + layout.icv, header)
            }
            Transform::Ah(auth) => (
                total + ah::length(auth.row.icv, self.id.dst.is_ipv4()),
                header,
            ),
        }
    }
}
