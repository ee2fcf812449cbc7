//! Ciphers, hashes and HMAC: NIST SP 800-38A, NIST's TDES multi-block vectors, Camellia-CBC as OpenSSL computes it, RFC 1321,
//! FIPS 180, RFC 2202, RFC 4868.

use super::hex;
use crate::crypto::{
    AuthAlg, Cipher, CipherError, CipherRefusal, EspCipher, EspRefusal, Hash, Secret, ct_eq,
};
use crate::wire::{EspTransformId, OakleyCipher};

fn check_cipher(cipher: Cipher, key: &str, iv: &str, plain: &str, sealed: &str) {
    let (key, iv, plain, sealed) = (hex(key), hex(iv), hex(plain), hex(sealed));
    assert_eq!(
        (key.len(), iv.len()),
        (cipher.key_len(), cipher.block_len())
    );
    let mut data = plain.clone();
    cipher.encrypt(&key, &iv, &mut data).unwrap();
    assert_eq!(data, sealed, "{cipher}");
    cipher.decrypt(&key, &iv, &mut data).unwrap();
    assert_eq!(data, plain, "{cipher}");
}

#[test]
fn aes_cbc_sp800_38a() {
    let iv = "000102030405060708090a0b0c0d0e0f";
    let plain = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
                 30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";
    check_cipher(
        Cipher::AES128,
        "2b7e151628aed2a6abf7158809cf4f3c",
        iv,
        plain,
        "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
         73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7",
    );
    check_cipher(
        Cipher::AES192,
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        iv,
        plain,
        "4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a
         571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd",
    );
    check_cipher(
        Cipher::AES256,
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        iv,
        plain,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b",
    );
}

#[test]
fn camellia_cbc_as_openssl() {
    let iv = "000102030405060708090a0b0c0d0e0f";
    let plain = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51";
    for (name, key, sealed) in [
        (
            "camellia128",
            "2b7e151628aed2a6abf7158809cf4f3c",
            "1607cf494b36bbf00daeb0b503c831ab a2f2cf671629ef7840c5a5dfb5074887",
        ),
        (
            "camellia192",
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "2a4830ab5ac4a1a2405955fd2195cf93 5d5a869bd14ce54264f892a6dd2ec3d5",
        ),
        (
            "camellia256",
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "e6cfa35fc02b134a4d2c0b6737ac3eda 36cbeb73bd504b4070b1b7de2b21eb50",
        ),
    ] {
        check_cipher(Cipher::by_name(name).unwrap(), key, iv, plain, sealed);
    }
}

#[test]
fn triple_des_cbc_nist() {
    let key = "627f460e08104a10 43cd265d5840eaf1 313edf97df2a8a8c";
    check_cipher(
        Cipher::TRIPLE_DES,
        key,
        "8e29f75ea77e5475",
        "326a494cd33fe756",
        "b22b8d66de970692",
    );
}

#[test]
fn ciphers_refuse_wrong_lengths() {
    for cipher in Cipher::all() {
        let (key, iv) = (vec![1; cipher.key_len()], vec![2; cipher.block_len()]);
        let mut odd = vec![0; cipher.block_len() + 1];
        let refused = CipherError::NotBlocks {
            len: odd.len(),
            block: cipher.block_len(),
        };
        assert_eq!(cipher.encrypt(&key, &iv, &mut odd), Err(refused));
        assert_eq!(cipher.decrypt(&key, &iv, &mut odd), Err(refused));
        assert_eq!(
            cipher.encrypt(&key[1..], &iv, &mut []),
            Err(CipherError::KeyLength)
        );
        assert_eq!(
            cipher.decrypt(&key, &iv[1..], &mut []),
            Err(CipherError::KeyLength)
        );
    }
}

#[test]
fn wire_numbers_lead_to_rows() {
    for c in Cipher::all() {
        assert_eq!(
            Cipher::from_wire(c.id(), c.key_bits().map(u32::from)),
            Ok(c)
        );
        assert_eq!(Cipher::by_name(c.name()), Some(c));
    }
    assert_eq!(
        Cipher::from_wire(OakleyCipher::AES_CBC, None),
        Ok(Cipher::AES128)
    );
    assert_eq!(
        Cipher::from_wire(OakleyCipher::DES_CBC, None),
        Err(CipherRefusal::SingleDes)
    );
    let (cipher, bits) = (OakleyCipher::AES_CBC, 129);
    assert_eq!(
        Cipher::from_wire(cipher, Some(bits)),
        Err(CipherRefusal::KeyLength { cipher, bits })
    );
    for c in EspCipher::all() {
        assert_eq!(
            EspCipher::from_wire(c.id(), c.key_bits().map(u32::from)),
            Ok(c)
        );
    }
    for des in [
        EspTransformId::DES,
        EspTransformId::DES_IV32,
        EspTransformId::DES_IV64,
    ] {
        assert_eq!(EspCipher::from_wire(des, None), Err(EspRefusal::SingleDes));
    }
    let refused = |id, bits| EspCipher::from_wire(id, bits).unwrap_err();
    assert_eq!(
        refused(EspTransformId::BLOWFISH, None),
        EspRefusal::Unknown(EspTransformId::BLOWFISH)
    );
    for id in [
        EspTransformId::AES_CTR,
        EspTransformId::AES_GCM_16,
        EspTransformId::CAMELLIA,
    ] {
        assert_eq!(refused(id, None), EspRefusal::NoKeyLength(id));
        let (cipher, bits) = (id, 160);
        assert_eq!(
            refused(id, Some(bits)),
            EspRefusal::KeyLength { cipher, bits }
        );
    }
    assert_eq!(
        EspCipher::from_wire(EspTransformId::CHACHA20_POLY1305, Some(256)),
        Ok(EspCipher::CHACHA20_POLY1305)
    );
    assert_eq!(
        Cipher::from_wire(OakleyCipher::CAMELLIA_CBC, None),
        Err(CipherRefusal::NoKeyLength(OakleyCipher::CAMELLIA_CBC))
    );
}

/// Numbers that peers and kernels must agree on: RFC 2407 and its registry, <linux/pfkeyv2.h>, and our own where those have
/// none.
#[test]
fn esp_numbers() {
    // Name, transform id, PF_KEY number, octets of key with salt.
    for (name, id, pfkey, keymat) in [
        ("3des", 3, 3, 24),
        ("null", 11, 11, 0),
        ("aes256", 12, 12, 32),
        ("aes_ctr128", 13, 13, 20),
        ("aes_gcm_8_192", 18, 18, 28),
        ("aes_gcm_12_256", 19, 19, 36),
        ("aes_gcm128", 20, 20, 20),
        ("camellia192", 22, 22, 24),
        ("chacha20_poly1305", 28, 28, 36),
    ] {
        let cipher = EspCipher::by_name(name).unwrap();
        let found = (cipher.id().0, cipher.pfkey().0, cipher.keymat_len());
        assert_eq!(found, (id, pfkey, keymat), "{name}");
    }
    // Name, attribute, AH transform id, PF_KEY number, octets of key and ICV.
    for (name, id, ah, pfkey, key, icv) in [
        ("md5", 1, 2, 2, 16, 12),
        ("sha1", 2, 3, 3, 20, 12),
        ("sha2_256", 5, 5, 5, 32, 16),
        ("sha2_384", 6, 6, 6, 48, 24),
        ("sha2_512", 7, 7, 7, 64, 32),
        ("aes_xcbc", 9, 9, 9, 16, 12),
        ("aes_cmac", 250, 250, 250, 16, 12),
    ] {
        let auth = AuthAlg::by_name(name).unwrap();
        let found = (
            auth.id().0,
            auth.ah_id().0,
            auth.pfkey().0,
            auth.key_len(),
            auth.icv_len(),
        );
        assert_eq!(found, (id, ah, pfkey, key, icv), "{name}");
        assert_eq!(AuthAlg::from_wire(auth.id()), Some(auth));
    }
}

#[test]
fn digests() {
    let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_eq!(
        Hash::MD5.digest(&[b"a", b"bc"]),
        hex("900150983cd24fb0d6963f7d28e17f72")
    );
    assert_eq!(
        Hash::SHA1.digest(&[b"abc"]),
        hex("a9993e364706816aba3e25717850c26c9cd0d89d")
    );
    assert_eq!(
        Hash::SHA1.digest(&[&long[..10], &long[10..]]),
        hex("84983e441c3bd26ebaae4aa1f95129e5e54670f1")
    );
    for h in Hash::all() {
        assert_eq!(h.digest(&[]).len(), h.output_len());
        assert_eq!(
            (Hash::from_wire(h.id()), Hash::by_name(h.name())),
            (Some(h), Some(h))
        );
    }
}

/// Key for MD5, key for SHA-1, data, HMAC-MD5, HMAC-SHA1.
type Rfc2202<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a str, &'a str);

#[test]
fn hmac_rfc2202() {
    let ascending: Vec<u8> = (1..=25).collect();
    let longer = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
    let cases: [Rfc2202<'_>; 6] = [
        (
            &[0x0b; 16],
            &[0x0b; 20],
            b"Hi There",
            "9294727a3638bb1c13f48ef8158bfc9d",
            "b617318655057264e28bc0b6fb378c8ef146be00",
        ),
        (
            b"Jefe",
            b"Jefe",
            b"what do ya want for nothing?",
            "750c783e6ab0b503eaa86e310a5db738",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (
            &[0xaa; 16],
            &[0xaa; 20],
            &[0xdd; 50],
            "56be34521d144c88dbb8c733f0e8b3f6",
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
        ),
        (
            &ascending,
            &ascending,
            &[0xcd; 50],
            "697eaf0aca3a3aea3a75164746ffaa79",
            "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
        ),
        (
            &[0xaa; 80],
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        (
            &[0xaa; 80],
            &[0xaa; 80],
            longer,
            "6f630fad67cda0ee1fb1f562db3aa53e",
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ),
    ];
    for (md5_key, sha_key, data, md5, sha1) in cases {
        let (a, b) = data.split_at(data.len() / 2);
        assert_eq!(Hash::MD5.prf(md5_key, &[a, b]).expose(), hex(md5));
        assert_eq!(Hash::SHA1.prf(sha_key, &[a, b]).expose(), hex(sha1));
    }
}

#[test]
fn hmac_rfc4868() {
    let cases: [(&[u8], &[u8], [&str; 3]); 2] = [
        (
            &[0x0b; 20],
            b"Hi There",
            [
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
                 faea9ea9076ede7f4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ],
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            [
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
                 8e2240ca5e69e2c78b3239ecfab21649",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ],
        ),
    ];
    let hashes = [Hash::SHA2_256, Hash::SHA2_384, Hash::SHA2_512];
    for (key, data, expected) in cases {
        let (a, b) = data.split_at(data.len() / 2);
        for (hash, expected) in hashes.iter().zip(expected) {
            assert_eq!(hash.prf(key, &[a, b]).expose(), hex(expected), "{hash}");
        }
    }
}

#[test]
fn secrets_do_not_show() {
    let secret = Secret::new(b"swordfish".to_vec());
    assert_eq!(format!("{secret:?}"), "Secret(9 octets)");
    assert!(ct_eq(b"same", b"same") && !ct_eq(b"same", b"sane") && !ct_eq(b"same", b"sam"));
    let (head, tail) = secret.split(5);
    assert_eq!(
        (head.expose(), tail.expose()),
        (&b"sword"[..], &b"fish"[..])
    );
    assert_eq!(secret.split(99).1.len(), 0);
}
