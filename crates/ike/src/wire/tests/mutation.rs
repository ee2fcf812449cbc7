//! Damaged messages never panic, and what still parses is written back with the same meaning ([`fuzz`] asserts it).

use super::foreign::{AES_AND_RSA, MAIN_MODE};
use super::*;
use proptest::prelude::*;

fn seeds() -> Vec<Vec<u8>> {
    vec![sample_message(), hex(MAIN_MODE), hex(AES_AND_RSA)]
}

/// Makes the length field true again, so that damage reaches the payloads.
fn mend(bytes: &mut [u8]) {
    let len = (bytes.len() as u32).to_be_bytes();
    if let Some(field) = bytes.get_mut(24..28) {
        field.copy_from_slice(&len);
    }
}

#[test]
fn every_octet_altered() {
    for seed in seeds() {
        for at in 0..seed.len() {
            for value in [
                0,
                1,
                0x7f,
                0x80,
                0xff,
                seed[at] ^ 1,
                seed[at].wrapping_add(1),
            ] {
                let mut bytes = seed.clone();
                bytes[at] = value;
                fuzz(&bytes);
            }
        }
    }
}

#[test]
fn cut_anywhere() {
    for seed in seeds() {
        for len in 0..seed.len() {
            let mut bytes = seed[..len].to_vec();
            assert!(
                Message::new_checked(&bytes).is_err(),
                "a cut message is refused"
            );
            mend(&mut bytes);
            fuzz(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn anything(mut bytes in prop::collection::vec(any::<u8>(), 0..600), mended in any::<bool>()) {
        if mended && bytes.len() >= 28 {
            mend(&mut bytes);
            bytes[17] = 0x10;
            bytes[19] &= 7;
        }
        fuzz(&bytes);
    }

    #[test]
    fn damaged(seed in 0usize..3, hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        mend(&mut bytes);
        fuzz(&bytes);
    }
}
