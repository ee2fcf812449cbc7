//! The cost of an ESP packet through the core, against the cipher and MAC, or the AEAD, alone on the same bytes. Repeat with
//! `cargo bench -p klips --bench esp`.
#![allow(missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::home::{Aead, Cipher, MAX_MAC, Mac, NONCE};
use klips::packet::{HEADROOM, TAILROOM};
use klips::transform::{self, MAX_IV, Mode, SALT};
use klips::{Context, Home, Outbound, Packet};
use klipsd::home::{Pending, UserHome};

/// Name, cipher and its key, MAC and its key.
type Suite = (&'static str, EncAlg, &'static [u8], AuthAlg, &'static [u8]);

const NONE: &[u8] = &[];
const KEY: &[u8] = &LONG_KEY;

fn suites() -> Vec<Suite> {
    let (sha1, sha2) = (AuthAlg::SHA1_HMAC, AuthAlg::SHA2_256_HMAC);
    let none = AuthAlg::NONE;
    vec![
        (
            "3des-sha1",
            EncAlg::TRIPLE_DES_CBC,
            &DES3_KEY,
            sha1,
            &SHA1_KEY,
        ),
        ("aes128-sha1", EncAlg::AES_CBC, &KEY[..16], sha1, &SHA1_KEY),
        (
            "aes256-sha2-256",
            EncAlg::AES_CBC,
            &KEY[..32],
            sha2,
            &KEY[..32],
        ),
        (
            "camellia128-sha1",
            EncAlg::CAMELLIA_CBC,
            &KEY[..16],
            sha1,
            &SHA1_KEY,
        ),
        (
            "aes_ctr128-aes-cmac",
            EncAlg::AES_CTR,
            &KEY[..20],
            AuthAlg::AES_CMAC,
            &KEY[..16],
        ),
        ("aes_gcm128", EncAlg::AES_GCM_16, &KEY[..20], none, NONE),
        ("aes_gcm256", EncAlg::AES_GCM_16, &KEY[..36], none, NONE),
        ("aes_gcm_8_128", EncAlg::AES_GCM_8, &KEY[..20], none, NONE),
        (
            "chacha20_poly1305",
            EncAlg::CHACHA20_POLY1305,
            &KEY[..36],
            none,
            NONE,
        ),
    ]
}

/// The primitives alone, on as many bytes as ESP gives them of a packet of this length.
fn raw((_, cipher, key, auth, auth_key): Suite, inner: usize) -> Box<dyn FnMut()> {
    let row = transform::encryption(cipher.0).expect("in the table");
    let key = &key[..key.len() - row.salt];
    let padded = (inner + 2).next_multiple_of(row.block);
    if row.mode == Mode::Aead {
        let aead = UserHome.aead(row, key).expect("key");
        let (mut data, nonce) = (vec![0; padded + row.icv], [0; NONCE]);
        return Box::new(move || {
            aead.seal(&nonce, black_box(&[0; 8]), black_box(&mut data))
                .expect("sealed")
        });
    }
    let keyed = UserHome.cipher(row, key).expect("key");
    let mac_row = transform::authentication(auth.0).expect("in the table");
    let mac = UserHome.mac(mac_row, auth_key).expect("key");
    // In CBC the IV is encrypted too.
    let (iv, encrypted) = match row.mode {
        Mode::Ctr => (vec![0; MAX_IV], padded),
        _ => (vec![0; row.iv], padded + row.iv),
    };
    let mut data = vec![0; 8 + row.iv + padded];
    let from = data.len() - encrypted;
    Box::new(move || {
        let mut sum = [0; MAX_MAC];
        keyed.encrypt(&iv, &mut data[from..]).expect("whole blocks");
        mac.mac(&[black_box(&data)], &mut sum).expect("a MAC");
        black_box(sum);
    })
}

fn esp_packets(c: &mut Criterion) {
    for suite in suites() {
        let (name, cipher, key, auth, auth_key) = suite;
        assert!(key.len() > SALT);
        for payload in [64, 1400] {
            let mut group = c.benchmark_group(format!("{name}, {payload} bytes"));
            let inner = udp("10.1.0.5", "10.2.0.5", (1, 2), payload);
            group.throughput(Throughput::Bytes(inner.len() as u64));
            let mut host = Host::new(&["192.0.2.1"]);
            let id = said(SaProto::Esp, 0x302, "192.0.2.2");
            let sas = [
                tun(said(SaProto::IpIp, 0x300, "192.0.2.2"), "192.0.2.1"),
                esp(id, "192.0.2.1", cipher, key, auth, auth_key),
            ];
            host.add_group(&sas);
            host.eroute(&flow("10.1.0.0/16", "10.2.0.0/16"), sas[0].said);
            let mut buffer = vec![0; HEADROOM + inner.len() + TAILROOM];
            let mut out = Pending::default();
            group.bench_function("core", |b| {
                b.iter(|| {
                    let end = HEADROOM + inner.len();
                    buffer[HEADROOM..end].copy_from_slice(&inner);
                    let mut packet = Packet::new(&mut buffer, HEADROOM, end).expect("range");
                    let mut cx = Context {
                        home: &UserHome,
                        now: 1,
                        out: &mut out,
                    };
                    let verdict = host.klips.outbound(&mut cx, device(), &mut packet);
                    assert!(matches!(verdict, Outbound::Transmit { .. }));
                });
            });
            let mut alone = raw(suite, inner.len());
            group.bench_function("primitives alone", |b| b.iter(&mut alone));
            group.finish();
        }
    }
}

criterion_group!(benches, esp_packets);
criterion_main!(benches);
