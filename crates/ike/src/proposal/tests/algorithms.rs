//! `ike=`, `esp=` and `phase2alg=` lists.

use crate::crypto::{AuthAlg, Cipher, EspCipher, Group, Hash};
use crate::proposal::{AhAlgorithms, AlgorithmError, EspAlgorithms, IkeAlgorithms, parse_group};

fn ike(list: &str) -> String {
    IkeAlgorithms::parse(list).unwrap().to_string()
}

fn esp(list: &str) -> String {
    EspAlgorithms::parse(list).unwrap().to_string()
}

#[test]
fn ike_lists() {
    for (list, expected) in [
        ("3des-md5-modp1536", "3des-md5-modp1536"),
        ("aes128-sha1-modp2048", "aes128-sha1-modp2048"),
        (
            "3des-sha-modp1024, aes-md5-modp1536!",
            "3des-sha1-modp1024,aes128-md5-modp1536!",
        ),
        ("AES256-SHA1;MODP2048", "aes256-sha1-modp2048"),
        // libreswan's words
        ("aes256-sha2_256-modp2048", "aes256-sha2_256-modp2048"),
        ("aes256-sha2_256;modp2048", "aes256-sha2_256-modp2048"),
        ("aes_cbc_256-sha2-dh14", "aes256-sha2_256-modp2048"),
        ("aes-256-sha2-512-dh20", "aes256-sha2_512-ecp384"),
        ("AES_CBC-HMAC_SHA2_384-ECP_521", "aes128-sha2_384-ecp521"),
        ("camellia-sha256-dh31", "camellia128-sha2_256-curve25519"),
        (
            "aes256+aes128-sha2_512+sha1-dh19",
            "aes256-sha2_512-ecp256,aes256-sha1-ecp256,aes128-sha2_512-ecp256,aes128-sha1-ecp256",
        ),
        // strongSwan's
        ("aes192-sha384-x25519", "aes192-sha2_384-curve25519"),
        ("3des-sha1-96-modp8192", "3des-sha1-modp8192"),
    ] {
        assert_eq!(ike(list), expected, "{list}");
        assert_eq!(ike(expected), expected);
    }
    let all = "3des-sha2_256-ecp256,3des-sha1-ecp256,3des-sha2_256-curve25519,3des-sha1-curve25519,\
               3des-sha2_256-modp2048,3des-sha1-modp2048,3des-sha2_256-modp1536,3des-sha1-modp1536";
    assert_eq!(
        ike("3des"),
        all,
        "what is not named is taken by default, MD5 and MODP1024 never"
    );
    assert_eq!(ike("3des,3des-sha1"), all, "nothing twice");
    assert_eq!(
        ike("3des-modp1024"),
        "3des-sha2_256-modp1024,3des-sha1-modp1024"
    );
    assert_eq!(
        ike(&IkeAlgorithms::default().to_string()),
        IkeAlgorithms::default().to_string()
    );
}

#[test]
fn every_row_is_read_by_every_name() {
    for c in Cipher::all() {
        assert_eq!(Cipher::by_name(&c.official().to_lowercase()), Some(c));
    }
    for h in Hash::all() {
        assert_eq!(Hash::by_name(h.official()), Some(h));
    }
    for g in Group::all() {
        assert_eq!(Group::by_name(g.official()), Some(g));
    }
    for c in EspCipher::all() {
        assert_eq!(EspCipher::by_name(c.official()), Some(c), "{c}");
        assert_eq!(EspCipher::by_name(c.name()), Some(c));
    }
    for a in AuthAlg::all() {
        assert_eq!(AuthAlg::by_name(a.official()), Some(a), "{a}");
    }
}

#[test]
fn default_offers() {
    let text = IkeAlgorithms::default().to_string();
    assert!(
        text.starts_with("aes256-sha2_256-ecp256,"),
        "strong first: {text}"
    );
    assert!(text.ends_with(",3des-sha1-modp1536"), "{text}");
    for weak in ["md5", "modp1024"] {
        assert!(!text.contains(weak), "{text}");
    }
    assert_eq!(
        EspAlgorithms::default().to_string(),
        "aes_gcm256,aes_gcm128,aes256-sha2_256,aes128-sha2_256,aes256-sha1,aes128-sha1,3des-sha1"
    );
    assert_eq!(AhAlgorithms::default().to_string(), "sha2_256,sha1");
}

#[test]
fn esp_and_ah_lists() {
    for (list, expected) in [
        ("3des-md5-96,aes128-sha1", "3des-md5,aes128-sha1"),
        ("3des!", "3des-sha2_256,3des-sha1!"),
        ("aes_gcm128-null", "aes_gcm128"),
        ("aes_gcm_16_256", "aes_gcm256"),
        ("aes_gcm256-none!", "aes_gcm256!"),
        ("aes_gcm_c-128-null", "aes_gcm128"),
        ("aes256gcm16", "aes_gcm256"),
        ("aes128gcm128", "aes_gcm128"),
        (
            "aes_gcm_8_192,aes_gcm_12-256",
            "aes_gcm_8_192,aes_gcm_12_256",
        ),
        ("chacha20_poly1305", "chacha20_poly1305"),
        ("ChaCha20Poly1305", "chacha20_poly1305"),
        ("aes128-sha2_256", "aes128-sha2_256"),
        ("aes128-hmac-sha2-256-128", "aes128-sha2_256"),
        ("aes_ctr256-aes_xcbc", "aes_ctr256-aes_xcbc"),
        ("aes_ctr-aes_cmac_96", "aes_ctr128-aes_cmac"),
        ("camellia128-sha1", "camellia128-sha1"),
        ("null-sha1", "null-sha1"),
        ("aes_gcm256+aes_gcm128", "aes_gcm256,aes_gcm128"),
        ("aes256+aes128-sha1", "aes256-sha1,aes128-sha1"),
    ] {
        assert_eq!(esp(list), expected, "{list}");
        assert_eq!(esp(expected), expected);
    }
    let with_group = EspAlgorithms::parse("aes256-sha1;modp2048,3des-md5-dh14").unwrap();
    assert_eq!(
        (with_group.pfs_group, with_group.suites.len()),
        (Some(Group::MODP2048), 2)
    );
    assert_eq!(with_group.suites[0].keymat_len(), 32 + 20);
    let gcm = EspAlgorithms::parse("aes_gcm128").unwrap().suites[0];
    assert_eq!((gcm.keymat_len(), gcm.authenticates()), (20, true));
    assert_eq!(gcm.official(), "AES_GCM_16_128-NONE");
    assert_eq!(with_group.suites[0].official(), "AES_CBC_256-HMAC_SHA1_96");
    assert_eq!(
        AhAlgorithms::parse("hmac-md5-96,sha1,sha2_512")
            .unwrap()
            .auths,
        [AuthAlg::MD5, AuthAlg::SHA1, AuthAlg::SHA2_512]
    );
    assert_eq!(AhAlgorithms::of_esp(&with_group).to_string(), "sha1,md5");
}

#[test]
fn mistakes_are_named() {
    let wrong = |list| IkeAlgorithms::parse(list).unwrap_err();
    assert_eq!(
        wrong("3des,des-md5"),
        AlgorithmError::SingleDes("des-md5".to_owned())
    );
    assert!(wrong("des").to_string().contains("use 3des or aes128"));
    assert_eq!(wrong(""), AlgorithmError::Empty);
    assert_eq!(wrong("3des,,aes"), AlgorithmError::Empty);
    assert_eq!(wrong("3des!,aes"), AlgorithmError::Strict);
    assert_eq!(
        wrong("3des-md6").to_string(),
        "\"3des-md6\": \"md6\" is not known here; did you mean \"md5\"? expected sha2_256, sha2_384, sha2_512, sha1, md5, \
         ecp256, curve25519, ecp384, ecp521, modp2048, modp3072, modp4096, modp6144, modp8192, modp1536, modp1024"
    );
    let text = wrong("aes265-sha1").to_string();
    assert!(text.contains("did you mean \"aes256\"?"), "{text}");
    let text = wrong("blowfish-md5").to_string();
    assert!(
        text.contains("\"blowfish\"") && text.contains("aes128") && !text.contains("mean"),
        "{text}"
    );
    assert!(EspAlgorithms::parse("des-md5").is_err() && AhAlgorithms::parse("sha3").is_err());
    assert!(EspAlgorithms::parse("3des;modp1536,aes;modp2048").is_err());
}

#[test]
fn pfs_groups() {
    assert_eq!(parse_group("MODP3072"), Ok(Group::MODP3072));
    assert_eq!(parse_group("dh-19"), Ok(Group::ECP256));
    for (wrong, part) in [
        ("modp2047", "did you mean \"modp2048\"?"),
        ("modp768", "never used"),
        ("modp2048,modp1536", "one group"),
        ("modp2048-modp1536", "one group"),
        ("modp2048+modp1536", "one group"),
        ("", "empty"),
    ] {
        let error = parse_group(wrong).unwrap_err().to_string();
        assert!(error.contains(part), "{wrong}: {error}");
    }
}

#[test]
fn what_is_known_and_misplaced_is_told_apart() {
    let ike = |list| IkeAlgorithms::parse(list).unwrap_err().to_string();
    let esp = |list| EspAlgorithms::parse(list).unwrap_err().to_string();
    for (text, part) in [
        (
            ike("aes_gcm256-sha2_256"),
            "not defined for IKEv1's phase 1",
        ),
        (ike("chacha20_poly1305-sha2_256"), "only for IKEv2"),
        (ike("aes_ctr128-sha1"), "RFC 5930"),
        (ike("null-sha1"), "always encrypted"),
        (ike("aes128-aes_xcbc-modp2048"), "of IKEv2 only"),
        (ike("aes128-sha1-modp768"), "MODP 768 is never used"),
        (ike("aes128-sha1-dh22"), "groups 22 to 24 are never used"),
        (
            esp("aes_gcm128-sha1"),
            "write aes_gcm128 or aes_gcm128-null",
        ),
        (esp("aes128-null"), "write aes128-sha2_256"),
        (esp("null-null"), "lets anyone alter packets"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn strictness() {
    let accepts = |list: &str, suite: &str| {
        let suite = IkeAlgorithms::parse(suite).unwrap().suites[0];
        IkeAlgorithms::parse(list).unwrap().accepts(&suite)
    };
    assert!(accepts("aes128-sha1-modp2048", "3des-sha1-modp1536"));
    assert!(accepts("aes128-sha1-modp2048", "aes256-sha2_512-ecp521"));
    assert!(!accepts("aes128-sha1-modp2048!", "3des-sha1-modp1536"));
    for named in [
        "3des-sha1-modp1024",
        "3des-md5-modp1536",
        "aes256-sha2_256-modp8192",
    ] {
        assert!(!accepts("aes128-sha1-modp2048", named), "{named}");
        assert!(accepts(named, named));
    }
    assert!(accepts("aes128-sha1-modp1024", "3des-sha1-modp1024"));
    let esp = |list: &str, suite: &str| {
        EspAlgorithms::parse(list)
            .unwrap()
            .accepts(&EspAlgorithms::parse(suite).unwrap().suites[0])
    };
    assert!(esp("3des-md5", "aes-sha1") && esp("3des-sha1", "chacha20_poly1305"));
    assert!(!esp("3des-md5!", "aes-sha1") && !esp("3des-md5!", "3des-sha1"));
    assert!(!esp("3des-sha1", "3des-md5") && !esp("3des-sha1", "null-sha1"));
    assert!(esp("null-sha1", "null-sha2_256"));
}
