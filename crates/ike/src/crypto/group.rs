//! Diffie-Hellman over MODP groups: one row each, with constant-time exponentiation.
//! Which groups a connection may use is policy, in `proposal`.

use super::secret::Secret;
use crate::wire::GroupId;
use core::fmt;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use rand::CryptoRng;
use std::sync::LazyLock;
use zeroize::{Zeroize, Zeroizing};

/// Prime of the 1024-bit group (RFC 2409 section 6.2).
const MODP1024: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
);

/// Prime of the 1536-bit group (RFC 3526 section 2).
const MODP1536: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05",
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB",
    "9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF",
);

/// Prime of the 2048-bit group (RFC 3526 section 3).
const MODP2048: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05",
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB",
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718",
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
);

struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    id: GroupId,
    bits: u32,
    /// Length of private exponents: twice the group's strength, rounded up generously (RFC 3526 section 8).
    exponent_bits: u32,
    /// Whether used without being asked for by name.
    default: bool,
    params: LazyLock<BoxedMontyParams>,
}

static ROWS: [Row; 3] = [
    Row {
        name: "modp2048",
        aliases: &["dh14"],
        id: GroupId::MODP2048,
        bits: 2048,
        exponent_bits: 320,
        default: true,
        params: LazyLock::new(|| params(MODP2048, 2048)),
    },
    Row {
        name: "modp1536",
        aliases: &["dh5"],
        id: GroupId::MODP1536,
        bits: 1536,
        exponent_bits: 256,
        default: true,
        params: LazyLock::new(|| params(MODP1536, 1536)),
    },
    Row {
        name: "modp1024",
        aliases: &["dh2"],
        id: GroupId::MODP1024,
        bits: 1024,
        exponent_bits: 256,
        default: false,
        params: LazyLock::new(|| params(MODP1024, 1024)),
    },
];

fn params(prime: &str, bits: u32) -> BoxedMontyParams {
    let prime = BoxedUint::from_be_hex(prime, bits).expect("the table's primes are hexadecimal");
    BoxedMontyParams::new(Odd::new(prime).expect("the table's primes are odd"))
}

/// A MODP group with generator 2.
#[derive(Clone, Copy)]
pub struct Group(&'static Row);

/// Why a peer's public value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DhError {
    /// Not as long as the prime.
    #[error("public value of {found} octets, {group} has {expected}")]
    Length {
        /// Octets sent.
        found: usize,
        /// Octets of the prime.
        expected: usize,
        /// The group.
        group: Group,
    },
    /// 0, 1, p-1 or beyond: such a value would let a third party know the secret.
    #[error("public value is not between 2 and p-2 of {0}")]
    Range(Group),
}

impl Group {
    /// Group 14, 2048 bits (RFC 3526).
    pub const MODP2048: Self = Self(&ROWS[0]);
    /// Group 5, 1536 bits (RFC 3526).
    pub const MODP1536: Self = Self(&ROWS[1]);
    /// Group 2, 1024 bits (RFC 2409), used only when named in the configuration.
    pub const MODP1024: Self = Self(&ROWS[2]);

    /// All rows of the table, strongest first.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The group that `ike=` calls so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|g| g.0.name == name || g.0.aliases.contains(&name))
    }

    /// The group with this number.
    pub fn from_wire(id: GroupId) -> Option<Self> {
        Self::all().find(|g| g.0.id == id)
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Number on the wire.
    pub fn id(self) -> GroupId {
        self.0.id
    }

    /// Octets of the prime and of public values.
    pub fn public_len(self) -> usize {
        self.0.bits as usize / 8
    }

    /// Whether used without being asked for by name.
    pub fn is_default(self) -> bool {
        self.0.default
    }

    /// The prime, big-endian.
    pub fn prime(self) -> Vec<u8> {
        self.0.params.modulus().as_ref().to_be_bytes().into_vec()
    }

    fn power(self, base: BoxedUint, exponent: &BoxedUint) -> BoxedUint {
        let mut base = BoxedMontyForm::new(base, &self.0.params);
        let mut power = base.pow_bounded_exp(exponent, self.0.exponent_bits);
        let result = power.retrieve();
        base.zeroize();
        power.zeroize();
        result
    }
}

/// Our private exponent and the public value that goes into the KE payload.
pub struct DhKey {
    group: Group,
    exponent: BoxedUint,
    public: Vec<u8>,
}

impl DhKey {
    /// Picks a private exponent and computes the public value: one exponentiation (about a millisecond and more), so
    /// a job for a worker thread.
    pub fn generate<R: CryptoRng + ?Sized>(group: Group, rng: &mut R) -> Self {
        let mut octets = Zeroizing::new(vec![0; group.0.exponent_bits as usize / 8]);
        rng.fill_bytes(&mut octets);
        Self::from_exponent(group, &octets)
    }

    /// The key with this private exponent, big-endian; only as many low bits count as the group's exponents have.
    pub fn from_exponent(group: Group, exponent: &[u8]) -> Self {
        let exponent = BoxedUint::from_be_slice_truncated(exponent, group.0.exponent_bits);
        let mut generator = Zeroizing::new(vec![0; group.public_len()]);
        if let Some(last) = generator.last_mut() {
            *last = 2;
        }
        let generator = BoxedUint::from_be_slice_truncated(&generator, group.0.bits);
        let public = group.power(generator, &exponent).to_be_bytes().into_vec();
        Self {
            group,
            exponent,
            public,
        }
    }

    /// The group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// Our public value, as long as the prime.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret g^xy, as long as the prime: one exponentiation, a job for a worker thread.
    ///
    /// # Errors
    /// A public value of a wrong length or outside 2 to p-2.
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, DhError> {
        check_public(self.group, peer)?;
        let base = BoxedUint::from_be_slice_truncated(peer, self.group.0.bits);
        let mut shared = self.group.power(base, &self.exponent);
        let mut octets = shared.to_be_bytes();
        let secret = Secret::new(octets.to_vec());
        octets.zeroize();
        shared.zeroize();
        Ok(secret)
    }
}

/// Whether a peer's public value may be used: as long as the prime, and between 2 and p-2. The check is cheap; do it
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
    // Public values need no constant time; comparing octets compares numbers of equal length.
    let mut largest = group.prime();
    let mut one = vec![0; expected];
    if let (Some(low), Some(unit)) = (largest.last_mut(), one.last_mut()) {
        *low -= 1; // p is odd, so p-1 differs in the last octet only
        *unit = 1;
    }
    if peer <= &one[..] || peer >= &largest[..] {
        return Err(DhError::Range(group));
    }
    Ok(())
}

impl Drop for DhKey {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

impl fmt::Debug for DhKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DhKey({})", self.group)
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Group {}

impl core::hash::Hash for Group {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
