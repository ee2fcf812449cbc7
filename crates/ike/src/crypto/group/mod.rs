//! Diffie-Hellman groups: one row each. The arithmetic is in `modp` and `ecp`; which groups a connection may use is
//! policy, in `proposal`.

mod ecp;
mod modp;
mod primes;

use super::names::{Standing, is_called, named_row};
use super::secret::Secret;
use crate::wire::GroupId;
use core::fmt;
use ecp::{Curve25519, Ecp};
use modp::{Modp, params};
use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use rand::CryptoRng;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// What a group computes. Public values given to it have the right length.
trait Arithmetic: Sync {
    /// Octets of a public value.
    fn public_len(&self) -> usize;
    /// Draws a private value.
    fn private(&self, rng: &mut dyn CryptoRng) -> Zeroizing<Vec<u8>>;
    /// The public value of a private one.
    fn public(&self, private: &[u8]) -> Vec<u8>;
    /// Whether a peer's public value may be used; cheap.
    fn check(&self, peer: &[u8]) -> Result<(), Fault>;
    /// The shared secret with a peer whose public value has passed [`check`](Self::check).
    fn agree(&self, private: &[u8], peer: &[u8]) -> Result<Secret, Fault>;
}

/// What is wrong with a public value.
#[derive(Clone, Copy)]
enum Fault {
    Range,
    OffCurve,
    LowOrder,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: GroupId,
    standing: Standing,
    arithmetic: &'static dyn Arithmetic,
}

macro_rules! modp {
    ($name:ident, $prime:ident, $bits:literal, $exponent_bits:literal) => {
        static $name: Modp = Modp::new(
            $bits,
            $exponent_bits,
            LazyLock::new(|| params(primes::$prime, $bits)),
        );
    };
}
modp!(P1024, MODP1024, 1024, 256);
modp!(P1536, MODP1536, 1536, 256);
modp!(P2048, MODP2048, 2048, 320);
modp!(P3072, MODP3072, 3072, 448);
modp!(P4096, MODP4096, 4096, 512);
modp!(P6144, MODP6144, 6144, 576);
modp!(P8192, MODP8192, 8192, 640);
static ECP256: Ecp<NistP256> = Ecp::new(32);
static ECP384: Ecp<NistP384> = Ecp::new(48);
static ECP521: Ecp<NistP521> = Ecp::new(66);

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: GroupId,
    standing: Standing,
    arithmetic: &'static dyn Arithmetic,
) -> Row {
    Row {
        name,
        aliases,
        official,
        id,
        standing,
        arithmetic,
    }
}

use Standing::{Accepted, Named, Offered};

/// Preferred first. MODP 6144 and 8192 cost tens of milliseconds, which nobody may ask of us unless told to.
#[rustfmt::skip]
static ROWS: [Row; 11] = [
    row("ecp256", &["dh19", "nistp256"], "DH19", GroupId::ECP256, Offered, &ECP256),
    row("curve25519", &["dh31", "x25519"], "DH31", GroupId::CURVE25519, Offered, &Curve25519),
    row("ecp384", &["dh20", "nistp384"], "DH20", GroupId::ECP384, Accepted, &ECP384),
    row("ecp521", &["dh21", "nistp521"], "DH21", GroupId::ECP521, Accepted, &ECP521),
    row("modp2048", &["dh14"], "MODP2048", GroupId::MODP2048, Offered, &P2048),
    row("modp3072", &["dh15"], "MODP3072", GroupId::MODP3072, Accepted, &P3072),
    row("modp4096", &["dh16"], "MODP4096", GroupId::MODP4096, Accepted, &P4096),
    row("modp6144", &["dh17"], "MODP6144", GroupId::MODP6144, Named, &P6144),
    row("modp8192", &["dh18"], "MODP8192", GroupId::MODP8192, Named, &P8192),
    row("modp1536", &["dh5"], "MODP1536", GroupId::MODP1536, Offered, &P1536),
    row("modp1024", &["dh2"], "MODP1024", GroupId::MODP1024, Named, &P1024),
];

/// A Diffie-Hellman group.
#[derive(Clone, Copy)]
pub struct Group(&'static Row);

/// Why a peer's public value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DhError {
    /// Not as long as the group's are.
    #[error("public value of {found} octets, {group} has {expected}")]
    Length {
        /// Octets sent.
        found: usize,
        /// Octets of the group's public values.
        expected: usize,
        /// The group.
        group: Group,
    },
    /// 0, 1, p-1 or beyond: such a value would let a third party know the secret.
    #[error("public value is not between 2 and p-2 of {0}")]
    Range(Group),
    /// Coordinates that are not those of a point: computing with them could give our private value away.
    #[error("public value is not a point of {0}")]
    OffCurve(Group),
    /// A point of low order, with which every secret is zero (RFC 7748 section 6.1).
    #[error("public value of {0} makes the shared secret zero")]
    LowOrder(Group),
}

impl Group {
    /// Group 19, the curve P-256 (RFC 5903).
    pub const ECP256: Self = Self(&ROWS[0]);
    /// Group 31, Curve25519 (RFC 8031).
    pub const CURVE25519: Self = Self(&ROWS[1]);
    /// Group 20, the curve P-384 (RFC 5903).
    pub const ECP384: Self = Self(&ROWS[2]);
    /// Group 21, the curve P-521 (RFC 5903).
    pub const ECP521: Self = Self(&ROWS[3]);
    /// Group 14, 2048 bits (RFC 3526).
    pub const MODP2048: Self = Self(&ROWS[4]);
    /// Group 15, 3072 bits (RFC 3526).
    pub const MODP3072: Self = Self(&ROWS[5]);
    /// Group 16, 4096 bits (RFC 3526).
    pub const MODP4096: Self = Self(&ROWS[6]);
    /// Group 17, 6144 bits (RFC 3526), used only when named in the configuration.
    pub const MODP6144: Self = Self(&ROWS[7]);
    /// Group 18, 8192 bits (RFC 3526), used only when named in the configuration.
    pub const MODP8192: Self = Self(&ROWS[8]);
    /// Group 5, 1536 bits (RFC 3526).
    pub const MODP1536: Self = Self(&ROWS[9]);
    /// Group 2, 1024 bits (RFC 2409), used only when named in the configuration.
    pub const MODP1024: Self = Self(&ROWS[10]);

    /// All rows of the table, preferred first.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The group that `ike=` calls so.
    pub fn by_name(word: &str) -> Option<Self> {
        let word = super::names::canonical(word);
        Self::all().find(|g| is_called(&word, g.0.name, g.0.aliases))
    }

    /// The group with this number.
    pub fn from_wire(id: GroupId) -> Option<Self> {
        Self::all().find(|g| g.0.id == id)
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Name as `ipsec auto --status` shows it, `MODP2048` or `DH19`.
    pub fn official(self) -> &'static str {
        self.0.official
    }

    /// Number on the wire.
    pub fn id(self) -> GroupId {
        self.0.id
    }

    /// Octets of public values.
    pub fn public_len(self) -> usize {
        self.0.arithmetic.public_len()
    }

    /// When it is used.
    pub fn standing(self) -> Standing {
        self.0.standing
    }

    /// The prime of a MODP group, big-endian.
    #[cfg(test)]
    pub(super) fn prime(self) -> Option<Vec<u8>> {
        let all = [
            (Self::MODP1024, &P1024),
            (Self::MODP1536, &P1536),
            (Self::MODP2048, &P2048),
            (Self::MODP3072, &P3072),
            (Self::MODP4096, &P4096),
            (Self::MODP6144, &P6144),
            (Self::MODP8192, &P8192),
        ];
        all.iter()
            .find(|(g, _)| *g == self)
            .map(|(_, modp)| modp.prime())
    }

    fn fault(self, fault: Fault) -> DhError {
        match fault {
            Fault::Range => DhError::Range(self),
            Fault::OffCurve => DhError::OffCurve(self),
            Fault::LowOrder => DhError::LowOrder(self),
        }
    }
}

/// Our private value and the public value that goes into the KE payload.
pub struct DhKey {
    group: Group,
    private: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
}

impl DhKey {
    /// Picks a private value and computes the public one: a tenth of a millisecond to ten milliseconds by group, so
    /// a job for a worker thread.
    pub fn generate<R: CryptoRng + ?Sized>(group: Group, mut rng: &mut R) -> Self {
        let private = group.0.arithmetic.private(&mut rng);
        Self::from_private(group, private)
    }

    fn from_private(group: Group, private: Zeroizing<Vec<u8>>) -> Self {
        let public = group.0.arithmetic.public(&private);
        Self {
            group,
            private,
            public,
        }
    }

    /// The key with this private value: an exponent or a scalar, big-endian, or the 32 octets of RFC 7748.
    #[cfg(test)]
    pub(crate) fn with_private(group: Group, private: &[u8]) -> Self {
        Self::from_private(group, Zeroizing::new(private.to_vec()))
    }

    /// The group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// Our public value, as the KE payload carries it.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret g^xy: as much work as [`generate`](Self::generate), a job for a worker thread.
    ///
    /// # Errors
    /// A public value that may not be used.
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, DhError> {
        check_public(self.group, peer)?;
        let arithmetic = self.group.0.arithmetic;
        arithmetic
            .agree(&self.private, peer)
            .map_err(|fault| self.group.fault(fault))
    }
}

/// Whether a peer's public value may be used: of the right length and in range, or on the curve. The check is cheap; do it
/// before starting a job.
///
/// # Errors
/// The value's fault.
pub fn check_public(group: Group, peer: &[u8]) -> Result<(), DhError> {
    let expected = group.public_len();
    if peer.len() != expected {
        return Err(DhError::Length {
            found: peer.len(),
            expected,
            group,
        });
    }
    group
        .0
        .arithmetic
        .check(peer)
        .map_err(|fault| group.fault(fault))
}

impl fmt::Debug for DhKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DhKey({})", self.group)
    }
}

named_row!(Group);
