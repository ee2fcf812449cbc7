//! The PF_KEY conversation: what is answered, to whom, with which errno, and what it leaves in the tables and their texts.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto, Selector, Spi};
use klips::{Audience, ProcFile};
use pfkey::request::{self, Ids, SaParams};
use pfkey::{
    DebugFlags, IdentType, Lifetime, MAX_MESSAGE_LEN, Message, MsgType, SaFlags, SaState, SaType,
    errno,
};

const SRC: &str = "192.1.2.23";
const DST: &str = "192.1.2.45";

fn aes(spi: u32) -> SaParams<'static> {
    let id = said(SaProto::Esp, spi, DST);
    esp(
        id,
        SRC,
        EncAlg::AES_CBC,
        &AES_KEY,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    )
}

fn added(host: &mut Host, params: &SaParams<'_>) -> u8 {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let message = request::add(&mut buffer, IDS, params).expect("built");
    host.errno(message)
}

#[test]
fn register_tells_the_algorithms() {
    let mut host = Host::new(&[DST]);
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let replies = host.ask(request::register(&mut buffer, IDS, SaType::Esp).expect("built"));
    let [(Audience::Registered(3), reply)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let reply = Message::reply(reply).expect("well formed");
    assert_eq!((reply.seq(), reply.pid(), reply.errno()), (1, 99, 0));
    assert_eq!(
        reply.supported_auth().map(|a| a.id).collect::<Vec<_>>(),
        [2, 3, 5, 6, 7, 9, 250]
    );
    let ciphers: Vec<_> = reply
        .supported_encrypt()
        .map(|a| (a.id, a.min_bits, a.max_bits))
        .collect();
    assert_eq!(
        ciphers,
        [
            (3, 192, 192),
            (11, 0, 0),
            (12, 128, 256),
            (13, 160, 288),
            (18, 160, 288),
            (19, 160, 288),
            (20, 160, 288),
            (22, 128, 256),
            (28, 288, 288),
        ],
        "salts are counted, and no single DES"
    );
    assert!(host.socket.is_registered(3) && !host.socket.is_registered(2));
    assert!(host.socket.hears(Audience::Registered(3), false));
}

#[test]
fn getspi_update_get_delete() {
    let mut host = Host::new(&[DST]);
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let range = (Spi(0x100), Spi(0x103));
    let ids = Ids { seq: 77, pid: 5 };
    let mut spis = Vec::new();
    for _ in 0..4 {
        let ask =
            request::get_spi(&mut buffer, ids, SaProto::Esp, a(SRC), a(DST), range).expect("built");
        let replies = host.ask(ask);
        let [(Audience::All, reply)] = &replies[..] else {
            panic!("{replies:?}")
        };
        let reply = Message::reply(reply).expect("well formed");
        assert_eq!((reply.seq(), reply.pid()), (77, 5));
        let sa = reply.sa().expect("an SA");
        assert_eq!(sa.state, SaState::Larval);
        spis.push(sa.spi.0);
    }
    spis.sort_unstable();
    assert_eq!(spis, [0x100, 0x101, 0x102, 0x103]);
    assert_eq!(host.klips.sadb().larvals(), 4);
    let ask =
        request::get_spi(&mut buffer, ids, SaProto::Esp, a(SRC), a(DST), range).expect("built");
    assert_eq!(host.errno(ask), errno::EEXIST, "none left");

    assert_eq!(added(&mut host, &aes(0x100)), errno::EEXIST);
    let limits = Lifetime {
        bytes: 1 << 40,
        addtime: 3600,
        usetime: 7200,
        packets: 9,
        allocations: 0,
    };
    let ident = pfkey::Ident {
        kind: IdentType::Fqdn,
        id: 4,
        text: "east.example",
    };
    let full = SaParams {
        hard: limits,
        ident_src: Some(ident),
        ..aes(0x100)
    };
    host.ok(|b| request::update(b, IDS, &full));
    assert_eq!(host.klips.sadb().larvals(), 3);
    assert_eq!(
        host.request(|b| request::update(b, IDS, &aes(0x999))),
        errno::ENOENT
    );

    let replies = host.ask(request::get(&mut buffer, IDS, &full.said, None).expect("built"));
    let [(Audience::Sender, reply)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let reply = Message::reply(reply).expect("well formed");
    let sa = reply.sa().expect("an SA");
    assert_eq!(
        (sa.state, sa.replay, sa.auth, sa.encrypt),
        (SaState::Mature, 64, AuthAlg::SHA1_HMAC, EncAlg::AES_CBC)
    );
    assert_eq!(reply.lifetime_hard(), Some(limits));
    assert_eq!(reply.ident_src(), Some(ident));
    assert_eq!(reply.src().map(|s| s.addr), Some(a(SRC)));
    assert!(reply.key_auth().is_none() && reply.key_encrypt().is_none());

    host.now += klips::LARVAL_LIFE + 1;
    host.tick();
    assert_eq!(
        (host.klips.sadb().len(), host.klips.sadb().larvals()),
        (1, 0)
    );
    host.ok(|b| request::delete(b, IDS, &full.said, None));
    assert_eq!(
        host.request(|b| request::delete(b, IDS, &full.said, None)),
        errno::ESRCH
    );
    assert_eq!(
        host.request(|b| request::get(b, IDS, &full.said, None)),
        errno::ESRCH
    );
}

#[test]
fn larval_sas_are_bounded() {
    let mut host = Host::new(&[DST]);
    let range = (Spi(0x1000), Spi(0xffff));
    for _ in 0..klips::MAX_LARVAL {
        host.ok(|b| request::get_spi(b, IDS, SaProto::Esp, a(SRC), a(DST), range));
    }
    assert_eq!(
        host.request(|b| request::get_spi(b, IDS, SaProto::Esp, a(SRC), a(DST), range)),
        errno::ENOSPC
    );
}

#[test]
fn add_answers_all_without_keys() {
    let mut host = Host::new(&[DST]);
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let replies = host.ask(request::add(&mut buffer, IDS, &aes(0x1000)).expect("built"));
    let [(Audience::All, reply)] = &replies[..] else {
        panic!("{replies:?}")
    };
    assert!(
        !reply
            .windows(8)
            .any(|w| w == &AES_KEY[..8] || w == &SHA1_KEY[..8])
    );
    assert_eq!(Message::reply(reply).expect("well formed").errno(), 0);
}

#[test]
fn bad_sas_are_refused() {
    let mut host = Host::new(&[DST]);
    let id = said(SaProto::Esp, 0x1000, DST);
    let with = |encrypt, enc_key| SaParams {
        encrypt,
        enc_key,
        ..aes(0x1000)
    };
    let single_des_thrice = [[7; 8]; 3].concat();
    let bad: [(&str, SaParams<'_>, u8); 8] = [
        (
            "single DES",
            with(EncAlg::DES_CBC, &AES_KEY[..8]),
            errno::EPROTONOSUPPORT,
        ),
        (
            "single DES thrice",
            with(EncAlg::TRIPLE_DES_CBC, &single_des_thrice),
            errno::EINVAL,
        ),
        (
            "a short key",
            with(EncAlg::AES_CBC, &AES_KEY[..15]),
            errno::EINVAL,
        ),
        ("no cipher", with(EncAlg::NONE, &[]), errno::EINVAL),
        ("a reserved SPI", aes(255), errno::EINVAL),
        (
            "IPCOMP beyond the CPI",
            comp(said(SaProto::Comp, 0x10000, DST), SRC),
            errno::EINVAL,
        ),
        (
            "a tunnel from nowhere",
            tun(said(SaProto::IpIp, 0x1000, DST), "0.0.0.0"),
            errno::EINVAL,
        ),
        (
            "a multicast destination",
            tun(said(SaProto::IpIp, 0x1000, "224.0.0.1"), SRC),
            errno::EINVAL,
        ),
    ];
    for (what, params, want) in &bad {
        assert_eq!(added(&mut host, params), *want, "{what}");
    }
    assert!(host.klips.sadb().get(&id).is_none() && host.klips.sadb().is_empty());
    assert_eq!(added(&mut host, &aes(0x1000)), 0);
    assert_eq!(added(&mut host, &aes(0x1000)), errno::EEXIST);
}

#[test]
fn broken_messages_are_answered() {
    let mut host = Host::new(&[DST]);
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let message = request::add(&mut buffer, IDS, &aes(0x1000))
        .expect("built")
        .to_vec();
    assert_eq!(host.errno(&message[..message.len() - 8]), errno::EMSGSIZE);
    assert!(host.ask(&message[..15]).is_empty(), "not even a header");
    let mut unknown = message.clone();
    unknown[1] = 200;
    assert_eq!(host.ask(&unknown).len(), 1);
    assert!(host.klips.sadb().is_empty());
}

#[test]
fn groups() {
    let mut host = Host::new(&[DST]);
    let ids: Vec<SaId> = (0..5)
        .map(|n| said(SaProto::Esp, 0x1000 + n, DST))
        .collect();
    for id in &ids {
        host.add(&aes(id.spi.0));
    }
    let link = |host: &mut Host, i: usize, o: usize| {
        host.request(|b| request::group(b, IDS, &ids[i], Some(&ids[o])))
    };
    assert_eq!(link(&mut host, 0, 0), errno::EEXIST);
    assert_eq!(link(&mut host, 0, 1), 0);
    assert_eq!(
        link(&mut host, 0, 2),
        errno::EEXIST,
        "has one outside already"
    );
    assert_eq!(
        link(&mut host, 2, 1),
        errno::EEXIST,
        "has one inside already"
    );
    assert_eq!(link(&mut host, 1, 0), errno::EEXIST, "a ring");
    assert_eq!(link(&mut host, 1, 2), 0);
    assert_eq!(link(&mut host, 2, 3), 0);
    assert_eq!(link(&mut host, 3, 4), errno::ENOSPC, "too deep");
    let text = host.proc(ProcFile::SpiGrp);
    assert!(
        text.contains(
            "esp0x1000@192.1.2.45 esp0x1001@192.1.2.45 esp0x1002@192.1.2.45 esp0x1003@192.1.2.45 \n"
        ),
        "{text}"
    );
    host.ok(|b| request::group(b, IDS, &ids[1], None));
    assert_eq!(host.proc(ProcFile::SpiGrp).lines().count(), 5);
    let missing = said(SaProto::Ah, 0x5000, DST);
    assert_eq!(
        host.request(|b| request::group(b, IDS, &ids[0], Some(&missing))),
        errno::ENOENT
    );
    assert_eq!(link(&mut host, 0, 1), 0);
    host.ok(|b| request::delete(b, IDS, &ids[1], None));
    assert_eq!(host.klips.sadb().len(), 3, "a group goes as a whole");
}

#[test]
fn dump_and_flush() {
    let mut host = Host::new(&[DST]);
    for spi in 0x1000..0x1010 {
        host.add(&aes(spi));
        host.add(&tun(said(SaProto::IpIp, spi, DST), SRC));
    }
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let replies = host.ask(request::dump(&mut buffer, IDS, SaType::Esp).expect("built"));
    let seqs: Vec<_> = replies
        .iter()
        .map(|r| Message::reply(&r.1).expect("well formed").seq())
        .collect();
    assert_eq!(seqs, (0..16).rev().collect::<Vec<_>>());
    host.ok(|b| request::flush(b, IDS, SaType::IpIp));
    assert_eq!(host.klips.sadb().len(), 16);
    host.ok(|b| request::flush(b, IDS, SaType::Unspec));
    assert!(host.klips.sadb().is_empty());
    assert_eq!(
        host.request(|b| request::dump(b, IDS, SaType::Unspec)),
        errno::ENOENT
    );
}

#[test]
fn flows() {
    let mut host = Host::new(&[DST]);
    let nets = flow("192.0.2.0/24", "192.0.1.0/24");
    let pass = SaId::magic(MagicSpi::Pass);
    host.eroute(&nets, pass);
    assert_eq!(
        host.request(|b| request::add_flow(b, IDS, &nets, pass, SaFlags::NONE)),
        errno::EEXIST
    );
    host.replace_eroute(&nets, said(SaProto::IpIp, 0x1000, DST));
    let mail = Selector {
        proto: 6,
        sport: 0,
        dport: 25,
        ..flow("2001:db8:1::/48", "2001:db8:2::/48")
    };
    host.eroute(&mail, SaId::magic(MagicSpi::Reject));
    let text = host.proc(ProcFile::Eroute);
    let want = "0          192.0.2.0/24       -> 192.0.1.0/24       => tun0x1000@192.1.2.45\n\
                0          2001:db8:1::/48    -> 2001:db8:2::/48:25 => %reject:6\n";
    assert_eq!(text, want);
    let unknown = SaId::new(SaProto::Int, Spi(999), a("0.0.0.0"));
    assert_eq!(
        host.request(|b| request::add_flow(b, IDS, &mail, unknown, SaFlags::REPLACEFLOW)),
        errno::EINVAL
    );
    let no_sa = said(SaProto::Esp, 0x1001, DST);
    assert_eq!(
        host.request(|b| request::set_inflow(b, IDS, &nets, no_sa)),
        errno::ENOENT
    );
    host.ok(|b| request::del_flow(b, IDS, &nets));
    assert_eq!(
        host.request(|b| request::del_flow(b, IDS, &nets)),
        errno::ENOENT
    );
    // Of one eroute KLIPS tells where it leads and how many packets it was found for.
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let replies = host.ask(request::get_flow(&mut buffer, IDS, &mail).expect("built"));
    let [(Audience::Sender, reply)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let reply = Message::reply(reply).expect("well formed");
    assert_eq!((reply.errno(), reply.selector()), (0, Some(mail)));
    assert_eq!(reply.said(), Some(SaId::magic(MagicSpi::Reject)));
    assert_eq!(reply.lifetime_current().map(|l| l.packets), Some(0));
    assert_eq!(
        host.request(|b| request::get_flow(b, IDS, &nets)),
        errno::ENOENT
    );
    host.ok(|b| request::clear_flows(b, IDS));
    assert!(host.klips.eroutes().is_empty());
}

#[test]
fn debug_and_promiscuous() {
    let mut host = Host::new(&[DST]);
    let (rcv, esp) = (
        DebugFlags::switch_on("rcv", 1),
        DebugFlags::switch_on("esp", 0x30),
    );
    let less = DebugFlags::switch_off("esp", 0x20);
    for flags in [rcv, esp, less] {
        host.ok(|b| request::debug(b, IDS, &flags));
    }
    assert_eq!(host.klips.sysctl_get("debug_esp"), Ok(0x10));
    assert_eq!(host.klips.sysctl_get("debug_rcv"), Ok(1));
    let text = host.proc(ProcFile::KlipsDebug);
    assert!(
        text.starts_with("debug_tunnel=00000000.\n") && text.contains("debug_esp=00000010.\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 9);
    host.ok(|b| request::promisc(b, IDS, true));
    assert!(host.socket.hears(Audience::Promiscuous, false));
    host.ok(|b| request::promisc(b, IDS, false));
    assert!(!host.socket.is_promiscuous());
}

#[test]
fn texts() {
    let (mut east, mut west) = tunnel_pair();
    for _ in 0..3 {
        let sealed = east.sealed(&udp("192.0.2.1", "192.0.1.1", (1, 2), 100));
        west.opened(&sealed);
    }
    east.now += 5;
    let text = east.proc(ProcFile::Spi);
    let (tun, esp) = text.split_once('\n').expect("two lines");
    assert_eq!(
        tun,
        "tun0x1000@192.1.2.45 IPIP: dir=out src=192.1.2.23 \
         life(c,s,h)=bytes(384,0,0)addtime(5,0,0)usetime(5,0,0)packets(3,0,0) idle=5 refcount=2 ref=1"
    );
    assert!(
        esp.starts_with(
            "esp0x1001@192.1.2.45 ESP_3DES_HMAC_MD5: dir=out src=192.1.2.23 iv_bits=64bits iv=0x"
        ),
        "{esp}"
    );
    assert!(
        esp.contains(" ooowin=64 seq=3 alen=128 aklen=128 eklen=192 life(c,s,h)="),
        "{esp}"
    );
    let text = west.proc(ProcFile::Spi);
    assert!(
        text.contains(
            " IPIP: dir=in  src=192.1.2.23 policy=192.0.2.0/24->192.0.1.0/24 flags=0x8<> life"
        ),
        "{text}"
    );
    assert!(text.contains(" seq=3 bit=0x7 "), "{text}");
    let text = east.proc(ProcFile::TnCfg);
    assert!(
        text.starts_with("ipsec0 -> eth0 mtu=16260(1500) -> 1500\nipsec1 -> NULL mtu=0(0) -> 0\n"),
        "{text}"
    );
    assert_eq!(
        east.proc(ProcFile::Version),
        format!("FreeS/WAN version: {}\n", klips::VERSION)
    );
}

/// A long table comes out whole over many calls.
#[test]
fn long_texts_resume() {
    let mut host = Host::new(&[DST]);
    for n in 0..500u32 {
        host.eroute(
            &flow("10.0.0.0/8", &format!("10.{}.{}.0/24", n / 256, n % 256)),
            SaId::magic(MagicSpi::Pass),
        );
    }
    let text = host.proc(ProcFile::Eroute);
    let lines: std::collections::BTreeSet<_> = text.lines().collect();
    assert_eq!((text.lines().count(), lines.len()), (500, 500));
}

/// Encryption without authentication (RFC 8221 section 4): every cipher that does not authenticate itself. An ESP SA that is to
/// have an AH SA around it is taken, and carries nothing, either way, until it is there.
#[test]
fn c6_encryption_without_authentication_is_refused() {
    let mut host = Host::new(&[DST]);
    let id = said(SaProto::Esp, 0x300, DST);
    let ciphers: [(EncAlg, &[u8]); 5] = [
        (EncAlg::TRIPLE_DES_CBC, &DES3_KEY),
        (EncAlg::AES_CBC, &AES_KEY),
        (EncAlg::CAMELLIA_CBC, &AES_KEY),
        (EncAlg::AES_CTR, &LONG_KEY[..20]),
        (EncAlg::NULL, &[]),
    ];
    for (cipher, key) in ciphers {
        for replay in [0, 64] {
            for said in [id, said(SaProto::Esp, 0x300, "192.0.2.77")] {
                let bare = SaParams {
                    replay,
                    ..esp(said, SRC, cipher, key, AuthAlg::NONE, &[])
                };
                assert_eq!(add_raw(&mut host, &bare), errno::EINVAL, "{cipher:?}");
            }
        }
    }
    let bare = SaParams {
        flags: SaFlags::AH_OUTSIDE,
        ..esp(id, SRC, EncAlg::AES_CBC, &AES_KEY, AuthAlg::NONE, &[])
    };
    let mut null = bare;
    (null.encrypt, null.enc_key) = (EncAlg::NULL, &[]);
    assert_eq!(add_raw(&mut host, &null), errno::EINVAL);
    let (mut east, mut west) = (Host::new(&[SRC]), Host::new(&[DST]));
    let around = ah(
        said(SaProto::Ah, 0x301, DST),
        SRC,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    for host in [&mut east, &mut west] {
        host.add(&bare);
        host.with(|klips, _| klips.sysctl_set("inbound_policy_check", 0))
            .expect("a switch");
    }
    east.eroute(&flow(&format!("{SRC}/32"), &format!("{DST}/32")), id);
    let packet = udp(SRC, DST, (1, 2), 100);
    assert_eq!(
        east.send(&packet).0,
        klips::Outbound::Drop(klips::DropReason::WrongGroup)
    );
    for host in [&mut east, &mut west] {
        host.add(&around);
        host.ok(|b| request::group(b, IDS, &id, Some(&around.said)));
    }
    let sealed = east.sealed(&packet);
    // The ESP packet by itself, taken out of its AH.
    let mut alone = sealed.clone();
    alone.drain(20..44);
    klips::packet::ip::patch(&mut alone, 9, 50);
    assert_eq!(
        west.receive(&alone).0,
        klips::Inbound::Drop(klips::DropReason::WrongGroup)
    );
    assert_eq!(west.opened(&sealed), packet);
}

/// An ADD as another program may write it, past what `request` checks.
fn add_raw(host: &mut Host, params: &SaParams<'_>) -> u8 {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let lawful = SaParams {
        flags: SaFlags::AH_OUTSIDE,
        ..*params
    };
    let bytes = match request::add(&mut buffer, IDS, params) {
        Ok(bytes) => bytes,
        Err(_) => match request::add(&mut buffer, IDS, &lawful) {
            Ok(bytes) => {
                // The flags of the SA extension, behind header and SPI.
                let mut bytes = bytes.to_vec();
                bytes[28..32].fill(0);
                return host.errno(&bytes);
            }
            Err(_) => return errno::EINVAL,
        },
    };
    let bytes = bytes.to_vec();
    host.errno(&bytes)
}

/// What does not go together is refused: by its errno, and without an SA left behind.
#[test]
fn algorithms_that_do_not_fit_are_refused() {
    let mut host = Host::new(&[DST]);
    let id = said(SaProto::Esp, 0x300, DST);
    let (none, key) = (AuthAlg::NONE, &LONG_KEY);
    let good = esp(id, SRC, EncAlg::AES_GCM_16, &key[..20], none, &[]);
    let esn = SaFlags::ESN;
    let cases = [
        (
            "no such cipher",
            SaParams {
                encrypt: EncAlg(200),
                ..good
            },
            errno::EPROTONOSUPPORT,
        ),
        (
            "single DES",
            esp(id, SRC, EncAlg(2), &key[..8], none, &[]),
            errno::EPROTONOSUPPORT,
        ),
        (
            "no such MAC",
            esp(id, SRC, EncAlg::AES_CBC, &key[..16], AuthAlg(77), key),
            errno::EPROTONOSUPPORT,
        ),
        (
            "a key without salt",
            SaParams {
                enc_key: &key[..16],
                ..good
            },
            errno::EINVAL,
        ),
        (
            "a key of a wrong length",
            SaParams {
                enc_key: &key[..24],
                ..good
            },
            errno::EINVAL,
        ),
        (
            "an AEAD and a MAC",
            esp(
                id,
                SRC,
                EncAlg::AES_GCM_16,
                &key[..20],
                AuthAlg::AES_CMAC,
                &key[..16],
            ),
            errno::EINVAL,
        ),
        (
            "counter mode alone",
            esp(id, SRC, EncAlg::AES_CTR, &key[..20], none, &[]),
            errno::EINVAL,
        ),
        (
            "NULL alone",
            esp(id, SRC, EncAlg::NULL, &[], none, &[]),
            errno::EINVAL,
        ),
        (
            "NULL with a key",
            esp(
                id,
                SRC,
                EncAlg::NULL,
                &key[..16],
                AuthAlg::AES_CMAC,
                &key[..16],
            ),
            errno::EINVAL,
        ),
        (
            "ESN without a window",
            SaParams {
                flags: esn,
                replay: 0,
                ..good
            },
            errno::EINVAL,
        ),
        (
            "ESN on a tunnel",
            SaParams {
                flags: esn,
                replay: 64,
                ..tun(said(SaProto::IpIp, 0x300, DST), SRC)
            },
            errno::EINVAL,
        ),
        (
            "a flag nobody knows",
            SaParams {
                flags: SaFlags(0x8000),
                ..good
            },
            errno::EINVAL,
        ),
    ];
    for (what, sa, want) in cases {
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let message = request::add(&mut buffer, IDS, &sa).expect("built");
        assert_eq!(host.errno(message), want, "{what}");
    }
    assert!(host.klips.sadb().is_empty());
    assert_eq!(added(&mut host, &SaParams { flags: esn, ..good }), 0);
    let text = host.proc(ProcFile::Spi);
    for part in [
        "ESP_AES_GCM_16:",
        " iv_bits=64bits ",
        " flags=0x400<ESN>",
        " eklen=128",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("aklen"), "{text}");
}

/// One call does a bounded part, and others may come in between: packets, and requests that change the table.
#[test]
fn d5_what_concerns_a_whole_table_is_done_in_pieces() {
    let mut host = Host::new(&[DST]);
    for spi in 0x1000..0x1300 {
        host.add(&aes(spi));
    }
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let message = request::dump(&mut buffer, IDS, SaType::Esp).expect("built");
    let mut socket = klips::Socket::new();
    host.with(|klips, cx| klips.pfkey(cx, &mut socket, message));
    let mut pieces = vec![host.out.messages.len() / 2];
    while socket.is_dumping() {
        // One that was told already goes, and one that was not.
        let gone = [
            0x1000 + 2 * pieces.len() as u32,
            0x12ff - pieces.len() as u32,
        ];
        for spi in gone {
            let mut buffer = [0; MAX_MESSAGE_LEN];
            let id = said(SaProto::Esp, spi, DST);
            let delete = request::delete(&mut buffer, IDS, &id, None).expect("built");
            let _ = host.ask(delete);
        }
        let before = host.out.messages.len();
        host.with(|klips, cx| klips.dump_more(cx, &mut socket));
        pieces.push((host.out.messages.len() - before) / 2);
        // Another DUMP has to wait for the end of this one.
        if socket.is_dumping() {
            host.with(|klips, cx| klips.pfkey(cx, &mut socket, message));
            let (_, busy) = host.out.messages.pop().expect("an answer");
            assert_eq!(
                Message::reply(&busy).expect("well formed").errno(),
                errno::EBUSY
            );
        }
    }
    assert!(
        pieces.len() > 10 && pieces.iter().all(|told| *told <= 64),
        "{pieces:?}"
    );
    let told: Vec<_> = host
        .out
        .messages
        .iter()
        .filter(|(to, _)| *to == Audience::Sender)
        .collect();
    let seqs: Vec<u32> = told
        .iter()
        .map(|(_, m)| Message::reply(m).expect("well formed").seq())
        .collect();
    assert!(
        seqs.windows(2).all(|two| two[0] >= two[1]),
        "it counts down"
    );
    assert_eq!(
        seqs.iter().filter(|seq| **seq == 0).count(),
        1,
        "and to 0 once, at the end"
    );

    let flush = request::flush(&mut buffer, IDS, SaType::Unspec).expect("built");
    let (mut socket, mut left) = (klips::Socket::new(), host.klips.sadb().len());
    host.out.messages.clear();
    loop {
        host.with(|klips, cx| klips.pfkey(cx, &mut socket, flush));
        let now = host.klips.sadb().len();
        assert!(left - now <= 128, "{left} {now}");
        left = now;
        if !socket.is_sweeping() {
            break;
        }
        assert_eq!(host.out.messages.len(), 0, "the answer comes at the end");
    }
    assert_eq!((left, host.out.messages.len()), (0, 1));
}

#[test]
fn d5_a_dump_ends_though_its_last_sa_goes() {
    let mut host = Host::new(&[DST]);
    (0x1000..0x1040).for_each(|spi| host.add(&aes(spi)));
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let message = request::dump(&mut buffer, IDS, SaType::Unspec).expect("built");
    let mut socket = klips::Socket::new();
    host.with(|klips, cx| klips.pfkey(cx, &mut socket, message));
    assert!(socket.is_dumping());
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let flush = request::flush(&mut buffer, IDS, SaType::Unspec).expect("built");
    let _ = host.ask(flush);
    host.out.messages.clear();
    while socket.is_dumping() {
        host.with(|klips, cx| klips.dump_more(cx, &mut socket));
    }
    let end = Message::reply(&host.out.messages[0].1).expect("well formed");
    assert_eq!(
        (end.msg_type(), end.seq(), end.errno()),
        (MsgType::Dump, 0, errno::ENOENT)
    );
}
