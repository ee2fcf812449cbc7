//! PF_KEY messages of every kind, right and wrong.

use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto, Selector, Spi};
use pfkey::request::{self, SaParams};
use pfkey::{
    DebugFlags, Error, ExtType, Ident, IdentType, Lifetime, MAX_MESSAGE_LEN, MsgType, SaFlags,
    SaType,
};

use super::IDS;

/// A message without the times in it: when an SA was added and first used.
pub(super) fn timeless(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let mut at = pfkey::HEADER_LEN;
    while let Some(&[a, b, c, d]) = message.get(at..).and_then(<[u8]>::first_chunk) {
        let (len, kind) = (
            usize::from(u16::from_ne_bytes([a, b])) * 8,
            u16::from_ne_bytes([c, d]),
        );
        if kind == ExtType::LifetimeCurrent as u16
            && let Some(times) = message.get_mut(at + 16..at + 32)
        {
            times.fill(0);
        }
        at += len.max(8);
    }
    message
}

pub(super) fn said(proto: SaProto, spi: u32) -> SaId {
    SaId {
        dst: "192.1.2.45".parse().unwrap(),
        spi: Spi(spi),
        proto,
    }
}

pub(super) fn build(f: impl FnOnce(&mut [u8]) -> Result<&[u8], Error>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    f(&mut buffer).unwrap().to_vec()
}

pub(super) fn eroute(n: u32, target: SaId, flags: SaFlags) -> Vec<u8> {
    let [_, b, c, d] = n.to_be_bytes();
    let net = |text: String| text.parse().unwrap();
    let flow = Selector::nets(
        net("10.0.1.0/24".into()),
        net(format!("10.{}.{c}.{d}/32", 2 + b)),
    );
    build(|buf| request::add_flow(buf, IDS, &flow, target, flags))
}

/// Requests of every kind, right and wrong, in an order in which each finds what it needs.
pub(super) fn requests() -> Vec<Vec<u8>> {
    let src = "192.1.2.23".parse().unwrap();
    let esp = said(SaProto::Esp, 0x1234);
    let tun = said(SaProto::IpIp, 0x1001);
    let aes = SaParams {
        replay: 64,
        auth: AuthAlg::SHA1_HMAC,
        encrypt: EncAlg::AES_CBC,
        auth_key: &[5; 20],
        enc_key: &[6; 16],
        ..SaParams::new(esp, src)
    };
    let full = SaParams {
        said: said(SaProto::Esp, 0x1235),
        encrypt: EncAlg::TRIPLE_DES_CBC,
        enc_key: b"abcdefghijklmnopqrstuvwx",
        auth: AuthAlg::MD5_HMAC,
        auth_key: &[7; 16],
        hard: Lifetime {
            bytes: 1 << 40,
            addtime: 3600,
            packets: 9_000_000,
            ..Lifetime::NONE
        },
        soft: Lifetime {
            usetime: 1800,
            ..Lifetime::NONE
        },
        ident_src: Some(Ident {
            kind: IdentType::Fqdn,
            id: 3,
            text: "west.example",
        }),
        ..aes
    };
    let ah = SaParams {
        auth: AuthAlg::MD5_HMAC,
        auth_key: &[8; 16],
        ..SaParams::new(said(SaProto::Ah, 0x1300), src)
    };
    let short_key = SaParams {
        said: said(SaProto::Esp, 0x1236),
        enc_key: &[6; 15],
        ..aes
    };
    let six = SaId {
        dst: "2001:db8::45".parse().unwrap(),
        ..tun
    };
    let trap = SaId::magic(MagicSpi::Trap);
    let flow = Selector::nets(
        "10.0.1.0/24".parse().unwrap(),
        "10.0.2.0/24".parse().unwrap(),
    );
    let one = (Spi(0x4000), Spi(0x4000));
    let mut all = Vec::new();
    for satype in [
        SaType::Esp,
        SaType::Ah,
        SaType::Comp,
        SaType::IpIp,
        SaType::Unspec,
    ] {
        all.push(build(|b| request::register(b, IDS, satype)));
        all.push(build(|b| request::dump(b, IDS, satype)));
    }
    let get_spi = || build(|b| request::get_spi(b, IDS, SaProto::Esp, src, esp.dst, one));
    all.extend([
        build(|b| request::add(b, IDS, &aes)),
        build(|b| request::add(b, IDS, &aes)),
        build(|b| request::add(b, IDS, &full)),
        build(|b| request::add(b, IDS, &ah)),
        build(|b| request::add(b, IDS, &short_key)),
        build(|b| request::add(b, IDS, &SaParams::new(tun, src))),
        build(|b| request::add(b, IDS, &SaParams::new(six, "2001:db8::23".parse().unwrap()))),
        get_spi(),
        get_spi(),
        build(|b| {
            request::update(
                b,
                IDS,
                &SaParams {
                    said: SaId {
                        spi: Spi(0x4000),
                        ..esp
                    },
                    ..aes
                },
            )
        }),
        build(|b| request::update(b, IDS, &full)),
        build(|b| request::group(b, IDS, &tun, Some(&esp))),
        build(|b| request::group(b, IDS, &tun, Some(&said(SaProto::Esp, 0x9999)))),
        build(|b| request::get(b, IDS, &full.said, None)),
        build(|b| request::get(b, IDS, &said(SaProto::Ah, 1), None)),
        build(|b| request::dump(b, IDS, SaType::Esp)),
        build(|b| request::dump(b, IDS, SaType::Unspec)),
        build(|b| request::add_flow(b, IDS, &flow, tun, SaFlags::NONE)),
        build(|b| request::add_flow(b, IDS, &flow, trap, SaFlags::NONE)),
        build(|b| request::add_flow(b, IDS, &flow, trap, SaFlags::REPLACEFLOW)),
        build(|b| request::set_inflow(b, IDS, &flow, esp)),
        eroute(1, SaId::magic(MagicSpi::Drop), SaFlags::NONE),
        build(|b| request::debug(b, IDS, &DebugFlags::switch_on("esp", 3))),
        build(|b| request::promisc(b, IDS, true)),
        build(|b| request::register(b, IDS, SaType::Esp)),
        build(|b| request::get(b, IDS, &esp, None)),
        build(|b| request::promisc(b, IDS, false)),
        build(|b| request::del_flow(b, IDS, &flow)),
        build(|b| request::del_flow(b, IDS, &flow)),
        build(|b| request::delete(b, IDS, &full.said, None)),
        build(|b| request::delete(b, IDS, &full.said, None)),
        build(|b| request::flush(b, IDS, SaType::Ah)),
        build(|b| request::clear_flows(b, IDS)),
        build(|b| request::flush(b, IDS, SaType::Unspec)),
        build(|b| request::dump(b, IDS, SaType::Unspec)),
    ]);
    all
}

/// Each of `requests` cut short, and with octets of it changed.
pub(super) fn broken(requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    // What GETSPI answers is random where the range is not one SPI.
    let steady = |message: &&Vec<u8>| message[1] != MsgType::GetSpi as u8;
    let mut broken = Vec::new();
    for request in requests.iter().filter(steady) {
        // A packet of no octets is the end of an AF_UNIX connection.
        broken.push(request[..1 + random(request.len() - 1)].to_vec());
        broken.push([&request[..], &[0; 8]].concat());
        for _ in 0..8 {
            let mut changed = request.clone();
            for _ in 0..=random(2) {
                let at = random(changed.len());
                changed[at] = u8::try_from(random(256)).unwrap();
            }
            // PROMISC would have the listener hear more than the comparison can follow.
            if changed[1] != MsgType::GetSpi as u8 && changed[1] != MsgType::Promisc as u8 {
                broken.push(changed);
            }
        }
    }
    broken
}
