//! Damaged offers never panic, and whatever is chosen from them can be written and read ([`fuzz`] asserts it).

use super::super::fuzz;
use crate::proposal::{
    AhAlgorithms, Esn, EspAlgorithms, IkeAlgorithms, IkePolicy, IpsecPolicy, Spis, Supported,
};
use crate::wire::{AuthMethod, Encapsulation};

#[test]
fn every_octet_altered() {
    let auth = vec![AuthMethod::PRESHARED_KEY];
    let ike = IkePolicy {
        auth,
        algorithms: IkeAlgorithms::default(),
        life_seconds: 3600,
        fragmentation: true,
    };
    let ipsec = IpsecPolicy {
        encrypt: true,
        authenticate: true,
        compress: true,
        esp: EspAlgorithms::default(),
        ah: AhAlgorithms::default(),
        supported: Supported::default(),
        esn: Esn::Either,
        encapsulation: Encapsulation::TUNNEL,
        pfs_group: None,
        life_seconds: 28800,
    };
    let spis = Spis {
        ah: 0x1001,
        esp: 0x1002,
        ipcomp: 0x1003,
    };
    for seed in [ike.to_sa().to_body(), ipsec.to_sa(&spis).to_body()] {
        for at in 0..seed.len() {
            for value in [
                0,
                1,
                0x7f,
                0xff,
                seed[at] ^ 0x80,
                seed[at].wrapping_add(1),
                seed[at].wrapping_sub(1),
            ] {
                let mut body = seed.clone();
                body[at] = value;
                fuzz(&body);
            }
            fuzz(&seed[..at]);
        }
    }
}

#[test]
fn odd_lists() {
    let all = [
        "-",
        ";;",
        "!",
        "!!",
        ",",
        "3des-",
        "3des--md5",
        "96",
        "aes-96-96",
        "3des;modp1536!",
        "\u{fc}-md5",
        "+",
        "aes+",
        "aes+3des-sha1+",
        "aes+-sha1",
        "128",
        "-128-128",
        "hmac",
        "hmac-hmac",
        "aes_gcm_16_256-null-null",
    ];
    all.iter().for_each(|text| fuzz(text.as_bytes()));
}
