//! Elliptic curves: the NIST curves over prime fields (RFC 5903) and Curve25519 (RFC 8031), from RustCrypto and dalek.

use super::{Arithmetic, Fault};
use crate::crypto::secret::Secret;
use core::marker::PhantomData;
use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytesSize, Generate, PublicKey, SecretKey,
};
use rand::CryptoRng;
use x25519_dalek::{PublicKey as Point25519, StaticSecret};
use zeroize::Zeroizing;

/// A curve over a prime field. Public values are x | y, secrets x alone (RFC 5903 sections 7 and 9; RFC 4753, before
/// its erratum, had y in the secret as well).
pub(super) struct Ecp<C>(PhantomData<fn() -> C>, usize);

impl<C> Ecp<C> {
    /// A curve whose coordinates have `coordinate` octets.
    pub(super) const fn new(coordinate: usize) -> Self {
        Self(PhantomData, coordinate)
    }
}

/// What SEC 1 writes before x | y of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

impl<C> Ecp<C>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    fn point(peer: &[u8]) -> Result<PublicKey<C>, Fault> {
        let sec1 = [&[UNCOMPRESSED], peer].concat();
        PublicKey::from_sec1_bytes(&sec1).map_err(|_| Fault::OffCurve)
    }

    #[expect(
        clippy::expect_used,
        reason = "private() made it a scalar of the curve"
    )]
    fn key(private: &[u8]) -> SecretKey<C> {
        SecretKey::from_slice(private).expect("a scalar of the curve")
    }
}

impl<C> Arithmetic for Ecp<C>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    fn public_len(&self) -> usize {
        2 * self.1
    }

    fn private(&self, mut rng: &mut dyn CryptoRng) -> Zeroizing<Vec<u8>> {
        let key = SecretKey::<C>::generate_from_rng(&mut rng);
        let octets = Zeroizing::new(key.to_bytes());
        Zeroizing::new(octets.to_vec())
    }

    fn public(&self, private: &[u8]) -> Vec<u8> {
        let key = Self::key(private);
        let sec1 = key.public_key().to_sec1_point(false);
        sec1.as_bytes().get(1..).unwrap_or_default().to_vec()
    }

    fn check(&self, peer: &[u8]) -> Result<(), Fault> {
        Self::point(peer).map(|_| ())
    }

    fn agree(&self, private: &[u8], peer: &[u8]) -> Result<Secret, Fault> {
        let key = Self::key(private);
        let point = Self::point(peer)?;
        let shared = diffie_hellman(key.to_nonzero_scalar(), point.as_affine());
        Ok(Secret::new(shared.raw_secret_bytes().to_vec()))
    }
}

/// Curve25519. Public values and secrets are u coordinates, little-endian (RFC 7748 section 6.1).
pub(super) struct Curve25519;

fn octets32(octets: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    out.iter_mut().zip(octets).for_each(|(o, i)| *o = *i);
    out
}

impl Arithmetic for Curve25519 {
    fn public_len(&self) -> usize {
        32
    }

    fn private(&self, rng: &mut dyn CryptoRng) -> Zeroizing<Vec<u8>> {
        let mut octets = Zeroizing::new(vec![0; 32]);
        rng.fill_bytes(&mut octets);
        octets
    }

    fn public(&self, private: &[u8]) -> Vec<u8> {
        let key = StaticSecret::from(*octets32(private));
        Point25519::from(&key).to_bytes().to_vec()
    }

    /// Every value of the right length is a point of the curve or its twist; those of low order show in the secret.
    fn check(&self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn agree(&self, private: &[u8], peer: &[u8]) -> Result<Secret, Fault> {
        let key = StaticSecret::from(*octets32(private));
        let shared = key.diffie_hellman(&Point25519::from(*octets32(peer)));
        if !shared.was_contributory() {
            return Err(Fault::LowOrder);
        }
        Ok(Secret::new(shared.as_bytes().to_vec()))
    }
}
