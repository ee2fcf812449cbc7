//! The cost of an ESP packet through the core, against the cipher and MAC alone on the same bytes. Repeat with
//! `cargo bench -p klips --bench esp`.
#![allow(missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::home::{Cipher, MAX_MAC, Mac};
use klips::packet::{HEADROOM, TAILROOM};
use klips::{Context, Home, Outbound, Packet, transform};
use klipsd::home::{Pending, UserHome};

fn esp_packets(c: &mut Criterion) {
    let suites: [(&str, EncAlg, &[u8]); 2] = [
        ("3des-sha1", EncAlg::TRIPLE_DES_CBC, &DES3_KEY),
        ("aes128-sha1", EncAlg::AES_CBC, &AES_KEY[..16]),
    ];
    for (name, cipher, key) in suites {
        for payload in [64, 1400] {
            let mut group = c.benchmark_group(format!("{name}, {payload} bytes"));
            let inner = udp("10.1.0.5", "10.2.0.5", (1, 2), payload);
            group.throughput(Throughput::Bytes(inner.len() as u64));
            let mut host = Host::new(&["192.0.2.1"]);
            let sas = [
                tun(said(SaProto::IpIp, 0x300, "192.0.2.2"), "192.0.2.1"),
                esp(
                    said(SaProto::Esp, 0x302, "192.0.2.2"),
                    "192.0.2.1",
                    cipher,
                    key,
                    AuthAlg::SHA1_HMAC,
                    &SHA1_KEY,
                ),
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
            let row = transform::encryption(cipher.0).expect("in the table");
            let keyed = UserHome.cipher(row, key).expect("key");
            let mac_row = transform::authentication(AuthAlg::SHA1_HMAC.0).expect("in the table");
            let mac = UserHome.mac(mac_row, &SHA1_KEY).expect("key");
            let padded = (inner.len() + 2).next_multiple_of(row.block) + row.iv;
            let mut data = vec![0; 8 + padded];
            let iv = vec![0; row.iv];
            group.bench_function("cipher and MAC alone", |b| {
                b.iter(|| {
                    let mut sum = [0; MAX_MAC];
                    keyed.encrypt(&iv, &mut data[8..]).expect("whole blocks");
                    mac.mac(&[black_box(&data)], &mut sum).expect("a MAC");
                    black_box(sum)
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, esp_packets);
criterion_main!(benches);
