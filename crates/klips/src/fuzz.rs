//! What a fuzzer feeds: a host with SAs of every kind, and bytes from the wire or from a PF_KEY socket.
//!
//! Not here: the fuzzers, and the tests that use the same entry points.

use core::net::IpAddr;

use ipsec_types::{AuthAlg, CompAlg, EncAlg, SaId, SaProto, Selector, Spi, Subnet};
use pfkey::MAX_MESSAGE_LEN;
use pfkey::request::{self, Ids, SaParams};

use crate::device::{DeviceId, Name, Physical};
use crate::home::{Context, Home, NoMemory, Output};
use crate::klips::{Klips, ProcCursor, ProcFile};
use crate::packet::{HEADROOM, Packet, TAILROOM, Tag};
use crate::pfkey_seam::{Audience, Socket};
use crate::verdict::Outbound;

/// Hears everything and keeps nothing.
struct Nobody;

impl Output for Nobody {
    fn pfkey(&mut self, _: Audience, _: &[u8]) -> Result<(), NoMemory> {
        Ok(())
    }
    fn release(&mut self, _: DeviceId, _: &[u8], _: Tag) {}
}

impl core::fmt::Write for Nobody {
    fn write_str(&mut self, _: &str) -> core::fmt::Result {
        Ok(())
    }
}

/// The longest packet that is tried, in bytes.
const MAX_TRIED: usize = 2048;
const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));
const THERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));
const KEY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";

/// A host that is 192.0.2.2, with SAs from 192.0.2.1: ESP with authentication and without, which AH must go around (SPI 0x1001, 0x1002), AH (0x1003),
/// IPCOMP (0x1004), ESP in UDP (0x1005), AES-GCM with ESN (0x1006) and NULL with SHA2 (0x1007), and an eroute for all traffic. `None`
/// if the home has no memory for it.
pub fn host<H: Home>(home: &H) -> Option<Klips<H>> {
    let mut klips = Klips::new(home).ok()?;
    let physical = Physical::new(1, Name::new("eth0")?, 1500, &[HERE]);
    klips.attach(DeviceId::new(0)?, physical, None).ok()?;
    let id = |proto, spi, dst| SaId::new(proto, Spi(spi), dst);
    let sa = |proto, spi, auth, auth_key, encrypt, enc_key| SaParams {
        auth,
        auth_key,
        encrypt,
        enc_key,
        ..SaParams::new(id(proto, spi, HERE), THERE)
    };
    let (sha1, aes) = (KEY.get(..20)?, KEY.get(..16)?);
    let tunnel = id(SaProto::IpIp, 0x1000, HERE);
    let authentic = sa(
        SaProto::Esp,
        0x1001,
        AuthAlg::SHA1_HMAC,
        sha1,
        EncAlg::AES_CBC,
        aes,
    );
    let in_udp = SaParams {
        said: id(SaProto::Esp, 0x1005, HERE),
        nat_t: Some(pfkey::NatT {
            kind: pfkey::NatT::ESP_IN_UDP,
            sport: 61000,
            dport: 4500,
            oa: None,
        }),
        ..sa(
            SaProto::Esp,
            0x1002,
            AuthAlg::SHA1_HMAC,
            sha1,
            EncAlg::AES_CBC,
            aes,
        )
    };
    let all = [
        SaParams::new(tunnel, THERE),
        authentic,
        in_udp,
        SaParams {
            flags: pfkey::SaFlags::AH_OUTSIDE,
            ..sa(
                SaProto::Esp,
                0x1002,
                AuthAlg::NONE,
                &[],
                EncAlg::AES_CBC,
                aes,
            )
        },
        sa(
            SaProto::Ah,
            0x1003,
            AuthAlg::SHA1_HMAC,
            sha1,
            EncAlg::NONE,
            &[],
        ),
        sa(
            SaProto::Comp,
            0x1004,
            AuthAlg::NONE,
            &[],
            EncAlg(CompAlg::DEFLATE.0),
            &[],
        ),
        SaParams {
            replay: 64,
            flags: pfkey::SaFlags::ESN,
            ..sa(
                SaProto::Esp,
                0x1006,
                AuthAlg::NONE,
                &[],
                EncAlg::AES_GCM_8,
                KEY.get(..20)?,
            )
        },
        sa(
            SaProto::Esp,
            0x1007,
            AuthAlg::SHA2_256_HMAC,
            &KEY,
            EncAlg::NULL,
            &[],
        ),
    ];
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let mut socket = Socket::new();
    let mut ask = |message: Result<&[u8], pfkey::Error>| {
        let mut cx = Context {
            home,
            now: 1,
            out: &mut Nobody,
        };
        message.map(|m| klips.pfkey(&mut cx, &mut socket, m)).ok()
    };
    for params in &all {
        ask(request::add(&mut buffer, Ids::default(), params))?;
    }
    ask(request::group(
        &mut buffer,
        Ids::default(),
        &tunnel,
        Some(&authentic.said),
    ))?;
    let everything = Selector::nets(Subnet::ALL_V4, Subnet::ALL_V4);
    ask(request::add_flow(
        &mut buffer,
        Ids::default(),
        &everything,
        tunnel,
        pfkey::SaFlags::NONE,
    ))?;
    Some(klips)
}

fn with_packet<R>(data: &[u8], f: impl FnOnce(&mut Packet<'_>) -> R) -> Option<R> {
    let mut buffer = [0; HEADROOM + MAX_TRIED + TAILROOM];
    let end = HEADROOM + data.len();
    buffer
        .get_mut(HEADROOM..end.min(HEADROOM + MAX_TRIED))?
        .copy_from_slice(data.get(..data.len().min(MAX_TRIED))?);
    let mut packet = Packet::new(&mut buffer, HEADROOM, end.min(HEADROOM + MAX_TRIED))?;
    Some(f(&mut packet))
}

/// `data` as a packet that arrived, and as one to send.
pub fn packets<H: Home>(home: &H, klips: &mut Klips<H>, data: &[u8]) {
    let mut cx = Context {
        home,
        now: 2,
        out: &mut Nobody,
    };
    with_packet(data, |packet| klips.inbound(&mut cx, 1, packet));
    let Some(device) = DeviceId::new(0) else {
        return;
    };
    for (local, routed) in [(false, true), (true, true), (true, false)] {
        let _ = klips.arrived_clear(1, data, local, |_, _| routed);
    }
    with_packet(data, |packet| {
        if klips.outbound(&mut cx, device, packet) == Outbound::Trap {
            klips.trap(&mut cx, device, packet);
        }
        crate::packet::transmit(packet, 300, |_| {});
    });
    klips.path_mtu(1, data, 1400);
    klips.path_mtu(2, data, 0);
}

/// `data` as a PF_KEY request, and what it leaves in the tables shown and aged.
pub fn pfkey<H: Home>(home: &H, klips: &mut Klips<H>, data: &[u8]) {
    let mut cx = Context {
        home,
        now: 2,
        out: &mut Nobody,
    };
    klips.pfkey(&mut cx, &mut Socket::new(), data);
    klips.tick(&mut cx, 16);
    for file in [
        ProcFile::Eroute,
        ProcFile::Spi,
        ProcFile::SpiGrp,
        ProcFile::KlipsDebug,
        ProcFile::Stat,
    ] {
        let mut cursor = ProcCursor::default();
        while klips.proc(file, &mut cursor, 3, &mut Nobody) == Ok(true) {}
    }
}
