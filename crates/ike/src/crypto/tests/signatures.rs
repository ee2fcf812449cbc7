//! RSA signatures against values computed by Python's `pow` over hand-made type 1 padding, with a key of exponent 3, as
//! FreeS/WAN makes them.

use super::hex;
use crate::crypto::{Hash, SignatureError, sign_rsa, verify_rsa};
use crypto_bigint::BoxedUint;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rsa::traits::PrivateKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};

const N: &str = "
    ae6420f70ef565509411eaaaed947efa147e68a3e124d662262faa4e986af40b9e2db989111d386dcccca342cd82390b
    d5227fa7128a59f65a10bd5b67e9204830f8436cc0ecaed0c69960c1da6792a50fe7ddaf2cfbb3f057f75e3374b24283
    2f745198fe263798b2ddc21802597eb15455fc61cb5a73447184a50f7e194bc3";
const D: &str = "
    7442c0a4b4a398e062b69c71f3b854a6b85445c296188eec19751c34659ca2b26973d1060b68d04933331781de56d0b2
    8e16ffc4b706e6a43c0b28e79a9b6ad9b0ae841bd44d049543ae9feee724a47ecfe9a509c0a7988469917e4f06aa1c3c
    3b4b06f79f77a71f271739cd0e464336b8c86e8545a23538ff1fba42d5650d5b";
const P: &str = "e4f6dc2be9b43062c2994dc6d774ad82e59c0e034964d4aa698b2645afb74d47e16b54a625e578a4df0a0644b42f116ac54090d6a69880dd99623b51d23e2e3f";
const Q: &str = "c2fba11718c4f78e1e7a2314a83bee63f26d581d429b7a7f5011fa773afbcae0f518727f690d44451930e51fb8c1087479e8c5c33c4ea2915972d2596bc3897d";
const SIGNATURE: &str = "
    4f9c64781101f731fba2f6aa41e72a56599d46bce094eb42e15e6e4e034a74a66edc791f7f1ca2c6ee2577424b3282d0
    ab084e982b851560752f49dbba65d1fdae1adaa32e46476a4cd7f1545ad43346d618845d2451206683f20bd00d866dac
    98954cd8c04e9416afbe60bbe2066b159cc51e2d3c18472eb0225e31d300e7c4";
/// Over the SHA-1 hash of "leading zero 345".
const LEADING_ZERO: &str = "
    00606458b1e82301029d0c7d0837ebf896d375cb765c499a8ff1bf772b089d49adbb6aa54b1479c2cc653b056d28758f
    accd4a732b0da6c54e71637beb929f03a08ff0dd319f253c77af16583caf26af5dfd3475c6eb81a3629c2ef6ce779c60
    16b7cdd11c7626d98c054536d6326d7742890129c16546d6f7460b063235f2b8";

fn key() -> RsaPrivateKey {
    let number = |text: &str| BoxedUint::from_be_slice_vartime(&hex(text));
    RsaPrivateKey::from_components(
        number(N),
        BoxedUint::from(3u8),
        number(D),
        vec![number(P), number(Q)],
    )
    .unwrap()
}

fn public() -> RsaPublicKey {
    RsaPublicKey::from(&key())
}

#[test]
fn signature_is_the_bare_hash_in_type_1_padding() {
    let hash = Hash::SHA1.digest(&[b"HASH_I"]);
    let signature = sign_rsa(&key(), &mut StdRng::seed_from_u64(1), &hash).unwrap();
    assert_eq!(signature, hex(SIGNATURE));
    assert_eq!(verify_rsa(&public(), &hash, &signature), Ok(()));
}

#[test]
fn altered_signatures_and_hashes_are_refused() {
    let hash = Hash::SHA1.digest(&[b"HASH_I"]);
    for at in [0, 1, 64, 127] {
        let mut signature = hex(SIGNATURE);
        signature[at] ^= 1;
        assert_eq!(
            verify_rsa(&public(), &hash, &signature),
            Err(SignatureError::Mismatch { bits: 1024 })
        );
    }
    let other = Hash::SHA1.digest(&[b"HASH_R"]);
    assert!(verify_rsa(&public(), &other, &hex(SIGNATURE)).is_err());
    assert!(verify_rsa(&public(), &hash[1..], &hex(SIGNATURE)).is_err());
    let long = [hex(SIGNATURE), vec![0]].concat();
    assert_eq!(
        verify_rsa(&public(), &hash, &long),
        Err(SignatureError::Length {
            found: 129,
            expected: 128
        })
    );
    assert_eq!(
        verify_rsa(&public(), &hash, &[]),
        Err(SignatureError::Length {
            found: 0,
            expected: 128
        })
    );
}

#[test]
fn dropped_leading_zeros_are_understood() {
    let hash = Hash::SHA1.digest(&[b"leading zero 345"]);
    let signature = hex(LEADING_ZERO);
    assert_eq!(signature[0], 0);
    assert_eq!(verify_rsa(&public(), &hash, &signature), Ok(()));
    assert_eq!(verify_rsa(&public(), &hash, &signature[1..]), Ok(()));
}

#[test]
fn digest_info_is_not_ike() {
    // The DigestInfo of SHA-1 before the hash, as TLS and IKEv2 sign: RFC 2409 has none.
    let hash = Hash::SHA1.digest(&[b"HASH_I"]);
    let prefixed = [hex("3021300906052b0e03021a05000414"), hash.clone()].concat();
    let signature = key()
        .sign(Pkcs1v15Sign::new_unprefixed(), &prefixed)
        .unwrap();
    assert_eq!(
        verify_rsa(&public(), &hash, &signature),
        Err(SignatureError::Mismatch { bits: 1024 })
    );
    assert_eq!(key().primes().len(), 2);
}
