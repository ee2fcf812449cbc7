//! One message of every kind, for the tests of reading, refusing and mutating.
#![allow(dead_code)] // each test file uses a part

use ipsec_types::{AuthAlg, EncAlg, MagicSpi, Packet, SaId, SaProto, Selector, Spi};
use pfkey::request::{self, AcquireParams, Ids, SaParams};
use pfkey::*;

/// Numbers that no field has by default.
pub const IDS: Ids = Ids {
    seq: 0x0102_0304,
    pid: 0x0a0b_0c0d,
};

/// Reads a value of the project's types.
pub fn val<T: core::str::FromStr<Err: core::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A flow with protocol and ports.
pub fn flow() -> Selector {
    Selector {
        proto: 17,
        sport: 500,
        dport: 1701,
        ..Selector::nets(val("10.0.1.0/24"), val("10.0.2.0/23"))
    }
}

/// A flow over IPv6.
pub fn flow6() -> Selector {
    Selector::nets(val("2001:db8:1::/48"), val("::/0"))
}

/// An ESP SA with everything that an SA may have.
pub fn esp() -> SaParams<'static> {
    SaParams {
        replay: 64,
        auth: AuthAlg::SHA1_HMAC,
        encrypt: EncAlg::AES_CBC,
        auth_key: &[0xaa; 20],
        enc_key: &[0xee; 24],
        hard: Lifetime {
            allocations: 1,
            bytes: 2 << 40,
            addtime: 28800,
            usetime: 3600,
            packets: 7,
        },
        soft: Lifetime {
            bytes: 1 << 40,
            addtime: 28000,
            ..Lifetime::NONE
        },
        inflow: Some(flow()),
        flags: SaFlags::PFS,
        ident_src: Some(Ident {
            kind: IdentType::Fqdn,
            id: 3,
            text: "east.example",
        }),
        ident_dst: Some(Ident {
            kind: IdentType::UserFqdn,
            id: 0,
            text: "road@example",
        }),
        nat_t: Some(NatT {
            kind: NatT::ESP_IN_UDP,
            sport: 4500,
            dport: 40000,
            oa: Some(val("10.9.9.9")),
        }),
        ..SaParams::new(val("esp0x12345678@192.0.2.1"), val("192.0.2.2"))
    }
}

/// A combination such as KLIPS proposes.
pub fn comb() -> Comb {
    Comb {
        auth: 2,
        encrypt: 3,
        flags: 1,
        auth_bits: (128, 128),
        encrypt_bits: (192, 192),
        soft: Lifetime {
            bytes: 5,
            addtime: 57600,
            ..Lifetime::NONE
        },
        hard: Lifetime {
            bytes: 9,
            addtime: 86400,
            usetime: 4,
            packets: 1,
            ..Lifetime::NONE
        },
    }
}

/// Writes a message into a buffer.
type Make<'m> = &'m dyn for<'b> Fn(&'b mut [u8]) -> Result<&'b [u8], Error>;

/// One message of every kind, each with its direction.
pub fn every() -> Vec<(Direction, Vec<u8>)> {
    use Direction::{FromKlips, ToKlips};
    let mut all = Vec::new();
    let mut put = |direction, make: Make<'_>| {
        let mut buf = [0; MAX_MESSAGE_LEN];
        all.push((direction, make(&mut buf).unwrap().to_vec()));
    };
    let tun: SaId = val("tun0x1001@192.0.2.1");
    let esp6: SaId = val("esp0x1002@2001:db8::1");
    let esp = esp();
    let ipip = SaParams::new(tun, val("192.0.2.2"));
    put(ToKlips, &|b| request::register(b, IDS, SaType::Comp));
    put(ToKlips, &|b| {
        request::get_spi(
            b,
            IDS,
            SaProto::Esp,
            val("::1"),
            val("::2"),
            (Spi(0x100), Spi(u32::MAX)),
        )
    });
    put(ToKlips, &|b| request::add(b, IDS, &esp));
    put(ToKlips, &|b| request::update(b, IDS, &ipip));
    put(ToKlips, &|b| request::delete(b, IDS, &esp6, None));
    put(ToKlips, &|b| {
        request::get(b, IDS, &tun, Some(val("192.0.2.2")))
    });
    put(ToKlips, &|b| request::dump(b, IDS, SaType::Unspec));
    put(ToKlips, &|b| request::flush(b, IDS, SaType::Esp));
    put(ToKlips, &|b| request::group(b, IDS, &tun, Some(&esp6)));
    put(ToKlips, &|b| request::group(b, IDS, &tun, None));
    put(ToKlips, &|b| {
        request::add_flow(b, IDS, &flow(), tun, SaFlags::REPLACEFLOW)
    });
    put(ToKlips, &|b| {
        request::add_flow(b, IDS, &flow6(), SaId::magic(MagicSpi::Trap), SaFlags::NONE)
    });
    put(ToKlips, &|b| request::set_inflow(b, IDS, &flow(), tun));
    put(ToKlips, &|b| request::del_flow(b, IDS, &flow6()));
    put(ToKlips, &|b| request::clear_flows(b, IDS));
    put(ToKlips, &|b| request::debug(b, IDS, &DebugFlags([7; 12])));
    put(ToKlips, &|b| request::promisc(b, IDS, true));
    put(ToKlips, &|b| {
        request::acquire_failed(b, IDS, SaType::Esp, 110)
    });
    let packet = Packet {
        src: val("10.0.1.1"),
        dst: val("10.0.2.1"),
        proto: 6,
        sport: 1025,
        dport: 80,
    };
    let acquire = AcquireParams {
        satype: SaType::Esp,
        packet,
        flow: Some(flow()),
        ident_src: esp.ident_src,
        ident_dst: None,
        replay: 64,
        combs: &[comb(), Comb::default()],
    };
    put(FromKlips, &|b| {
        request::acquire(b, Ids { pid: 0, ..IDS }, &acquire)
    });
    let sa = Sa::of_spi(tun.spi, SaFlags::NONE);
    put(FromKlips, &|b| {
        request::expire(
            b,
            &tun,
            val("192.0.2.2"),
            &sa,
            &Lifetime::NONE,
            &esp.hard,
            true,
        )
    });
    let (old, new) = ("192.0.2.7:4500", "198.51.100.7:61000");
    let (old, new) = (old.parse().unwrap(), new.parse().unwrap());
    for direction in [FromKlips, ToKlips] {
        put(direction, &|b| {
            request::nat_t_new_mapping(b, IDS, &esp.said, old, new)
        });
    }
    let alg = Alg {
        id: 3,
        ivlen: 8,
        min_bits: 192,
        max_bits: 192,
    };
    put(FromKlips, &|b| {
        Builder::new(b, MsgType::Register, SaType::Esp, 1, 2)
            .supported(ExtType::SupportedAuth, [alg])
            .supported(ExtType::SupportedEncrypt, [alg, alg])
            .finish()
    });
    put(FromKlips, &|b| {
        Builder::new(b, MsgType::GetSpi, SaType::Esp, 1, 2)
            .sa(&sa)
            .addresses(val("::1"), val("::2"))
            .finish()
    });
    put(FromKlips, &|b| {
        Builder::new(b, MsgType::Dump, SaType::Esp, 1, 2)
            .sa(&sa)
            .lifetime(ExtType::LifetimeCurrent, &Lifetime::NONE)
            .addresses(esp.src, esp.said.dst)
            .key_auth(&Key::new(&[1; 16]).unwrap())
            .finish()
    });
    all
}
