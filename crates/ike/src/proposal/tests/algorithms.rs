//! `ike=`, `esp=` and `ah=` lists.

use crate::crypto::{AuthAlg, Group};
use crate::proposal::{AlgorithmError, EspAlgorithms, IkeAlgorithms, parse_ah};

fn ike(list: &str) -> String {
    IkeAlgorithms::parse(list).unwrap().to_string()
}

fn esp(list: &str) -> String {
    EspAlgorithms::parse(list).unwrap().to_string()
}

#[test]
fn ike_lists() {
    assert_eq!(ike("3des-md5-modp1536"), "3des-md5-modp1536");
    assert_eq!(ike("aes128-sha1-modp2048"), "aes128-sha1-modp2048");
    assert_eq!(
        ike("3des-sha-modp1024, aes-md5-modp1536!"),
        "3des-sha1-modp1024,aes128-md5-modp1536!"
    );
    assert_eq!(ike("AES256-SHA1;MODP2048"), "aes256-sha1-modp2048");
    let all = "3des-sha1-modp2048,3des-md5-modp2048,3des-sha1-modp1536,3des-md5-modp1536";
    assert_eq!(
        ike("3des"),
        all,
        "what is not named is taken by default, MODP1024 never"
    );
    assert_eq!(ike("3des,3des-md5"), all, "nothing twice");
    assert_eq!(ike("3des-modp1024"), "3des-sha1-modp1024,3des-md5-modp1024");
    assert_eq!(
        ike(&IkeAlgorithms::default().to_string()),
        IkeAlgorithms::default().to_string()
    );
}

#[test]
fn default_offers() {
    let text = IkeAlgorithms::default().to_string();
    assert!(
        text.starts_with("aes256-sha1-modp2048,"),
        "strong first: {text}"
    );
    for old in ["3des-sha1-modp1536", "3des-md5-modp1536"] {
        assert!(text.contains(old), "{text}");
    }
    assert!(!text.contains("modp1024"));
    assert_eq!(
        EspAlgorithms::default().to_string(),
        "aes256-sha1,aes128-sha1,3des-sha1,3des-md5"
    );
}

#[test]
fn esp_and_ah_lists() {
    assert_eq!(esp("3des-md5-96,aes128-sha1"), "3des-md5,aes128-sha1");
    assert_eq!(esp("3des!"), "3des-sha1,3des-md5!");
    let with_group = EspAlgorithms::parse("aes256-sha1;modp2048,3des-md5;modp2048").unwrap();
    assert_eq!(
        (with_group.pfs_group, with_group.suites.len()),
        (Some(Group::MODP2048), 2)
    );
    assert_eq!(
        parse_ah("hmac-md5-96,sha1"),
        Ok(vec![AuthAlg::MD5, AuthAlg::SHA1])
    );
    assert_eq!(with_group.suites[0].keymat_len(), 32 + 20);
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
        "\"3des-md6\": \"md6\" is not known here; expected sha1, md5, modp2048, modp1536, modp1024"
    );
    let text = wrong("blowfish-md5").to_string();
    assert!(
        text.contains("\"blowfish\"") && text.contains("aes128"),
        "{text}"
    );
    assert!(EspAlgorithms::parse("des-md5").is_err() && parse_ah("sha3").is_err());
    assert!(EspAlgorithms::parse("3des;modp1536,aes;modp2048").is_err());
}

#[test]
fn strictness() {
    let accepts = |list: &str, suite: &str| {
        let suite = IkeAlgorithms::parse(suite).unwrap().suites[0];
        IkeAlgorithms::parse(list).unwrap().accepts(&suite)
    };
    assert!(accepts("aes128-sha1-modp2048", "3des-md5-modp1536"));
    assert!(!accepts("aes128-sha1-modp2048!", "3des-md5-modp1536"));
    assert!(
        !accepts("aes128-sha1-modp2048", "3des-md5-modp1024"),
        "MODP1024 only when named"
    );
    assert!(accepts("aes128-sha1-modp1024", "3des-md5-modp1024"));
    let esp = |list: &str, suite: &str| {
        EspAlgorithms::parse(list)
            .unwrap()
            .accepts(&EspAlgorithms::parse(suite).unwrap().suites[0])
    };
    assert!(
        esp("3des-md5", "aes-sha1")
            && !esp("3des-md5!", "aes-sha1")
            && !esp("3des-md5!", "3des-sha1")
    );
}
