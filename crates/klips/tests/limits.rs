//! What ends an SA and what does not, on a clock that nobody sets; and SA groups that protect nothing.
//!
//! Not here: each limit by itself (`verdicts`), and the limits that pluto sets (its engine's tests).

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto, Selector};
use klips::{DropReason, Inbound, Outbound, ProcFile};
use pfkey::request::{self, SaParams};
use pfkey::{Lifetime, MAX_MESSAGE_LEN, Message, SaFlags, errno};

const SRC: &str = "192.1.2.23";
const DST: &str = "192.1.2.45";

fn ours() -> Vec<u8> {
    udp("192.0.2.1", "192.0.1.1", (1000, 2000), 30)
}

fn nets() -> Selector {
    flow("192.0.2.0/24", "192.0.1.0/24")
}

fn ipip() -> SaParams<'static> {
    tun(said(SaProto::IpIp, 0x1000, DST), SRC)
}

fn deflate() -> SaParams<'static> {
    comp(said(SaProto::Comp, 0x1003, DST), SRC)
}

fn aes() -> SaParams<'static> {
    let id = said(SaProto::Esp, 0x1001, DST);
    let (enc, auth) = (EncAlg::AES_CBC, AuthAlg::SHA1_HMAC);
    esp(id, SRC, enc, &AES_KEY, auth, &SHA1_KEY)
}

fn null() -> SaParams<'static> {
    SaParams {
        encrypt: EncAlg::NULL,
        enc_key: &[],
        ..aes()
    }
}

fn sha1() -> SaParams<'static> {
    ah(
        said(SaProto::Ah, 0x1002, DST),
        SRC,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    )
}

/// East, with a tunnel that has these limits.
fn limited(soft: Lifetime, hard: Lifetime) -> (Host, SaParams<'static>) {
    let mut east = Host::new(&[SRC]);
    let esp = SaParams {
        soft,
        hard,
        ..aes()
    };
    east.add_group(&[ipip(), esp]);
    east.eroute(&nets(), ipip().said);
    (east, esp)
}

/// What GET tells of an SA as used up.
fn current(host: &mut Host, params: &SaParams<'_>) -> Lifetime {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let ask = request::get(&mut buffer, IDS, &params.said, None).expect("built");
    let replies = host.ask(ask);
    let reply = Message::reply(&replies[0].1).expect("well formed");
    reply.lifetime_current().expect("told")
}

#[test]
fn c9_an_update_begins_no_limit_anew() {
    let packets = |n| Lifetime {
        packets: n,
        ..Lifetime::NONE
    };
    let (mut east, esp) = limited(packets(2), packets(4));
    for _ in 0..3 {
        east.sealed(&ours());
        east.now += 10;
    }
    let before = current(&mut east, &esp);
    let shown = east.proc(ProcFile::Spi);
    east.ok(|b| request::update(b, IDS, &esp));
    let after = current(&mut east, &esp);
    assert_eq!(
        (after.bytes, after.packets),
        (before.bytes, before.packets),
        "{after:?}"
    );
    assert!(after.usetime.abs_diff(before.usetime) <= 1 && after.usetime != 0);
    assert_eq!(east.proc(ProcFile::Spi), shown);
    east.sealed(&ours());
    east.sealed(&ours());
    assert_eq!(east.send(&ours()).0, Outbound::Drop(DropReason::Expired));
}

#[test]
fn c9_an_update_keeps_what_may_be_inside() {
    let (mut east, mut west) = tunnel_pair();
    let tunnel = tun(said(SaProto::IpIp, 0x1000, DST), SRC);
    west.ok(|b| request::update(b, IDS, &tunnel));
    let nets = flow("192.0.3.0/24", "192.0.1.0/24");
    east.eroute(&nets, tunnel.said);
    west.opened(&east.sealed(&ours()));
    let foreign = udp("192.0.3.1", "192.0.1.1", (1, 2), 9);
    assert_eq!(
        west.receive(&east.sealed(&foreign)).0,
        Inbound::Drop(DropReason::PolicyMismatch)
    );
}

/// The context's clock begins at the machine's start; what is shown is the time of day.
#[test]
fn c10_ages_are_measured_and_times_are_shown() {
    let limits = |addtime| Lifetime {
        addtime,
        ..Lifetime::NONE
    };
    let mut east = Host::new(&[SRC]);
    east.now = 0;
    let esp = SaParams {
        soft: limits(100),
        hard: limits(200),
        ..aes()
    };
    east.add_group(&[ipip(), esp]);
    east.eroute(&nets(), ipip().said);
    east.sealed(&ours());
    east.now = 60;
    let today = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock that is set")
        .as_secs();
    let life = current(&mut east, &esp);
    assert!(life.addtime.abs_diff(today - 60) <= 2, "{life:?}, {today}");
    assert!(life.usetime.abs_diff(today - 60) <= 3, "{life:?}, {today}");
    let text = east.proc(ProcFile::Spi);
    assert!(text.contains("addtime(60,100,200)"), "{text}");
    assert!(text.contains("usetime(59,0,0)"), "first second: {text}");
    east.now = 201;
    assert_eq!(east.send(&ours()).0, Outbound::Drop(DropReason::Expired));
}

/// Groups without ESP and AH: no eroute leads there, and nothing comes from there.
#[test]
fn c11_no_eroute_leads_to_a_group_that_protects_nothing() {
    let groups = [
        (vec![ipip()], false),
        (vec![deflate()], false),
        (vec![ipip(), deflate()], false),
        (vec![aes()], true),
        (vec![sha1()], true),
        (vec![ipip(), null()], true),
        (vec![ipip(), sha1()], true),
        (vec![ipip(), deflate(), aes()], true),
        (vec![ipip(), deflate(), aes(), sha1()], true),
    ];
    for (group, protects) in groups {
        let names: Vec<String> = group.iter().map(|p| p.said.to_string()).collect();
        let mut east = Host::new(&[SRC]);
        east.add_group(&group);
        let first = group[0].said;
        let net = if group.len() == 1 {
            flow("192.1.2.23/32", "192.1.2.45/32")
        } else {
            nets()
        };
        for flags in [SaFlags::NONE, SaFlags::REPLACEFLOW] {
            let answer = east.request(|b| request::add_flow(b, IDS, &net, first, flags));
            let expected = if protects { 0 } else { errno::ENOKEY };
            assert_eq!(answer, expected, "{names:?}");
            assert_eq!(east.klips.eroutes().len(), usize::from(protects));
        }
    }
}

/// Eroute, SAs and group may come in any order, and go in any: nothing passes while there is no protection.
#[test]
fn c11_what_an_eroute_leads_to_may_come_and_go() {
    let mut east = Host::new(&[SRC]);
    let dropped = |why| Outbound::Drop(why);
    let (inner, outer) = (ipip().said, aes().said);
    east.eroute(&nets(), inner);
    assert_eq!(east.send(&ours()).0, dropped(DropReason::NoSa));
    east.add(&ipip());
    assert_eq!(east.send(&ours()).0, dropped(DropReason::Unprotected));
    east.add(&aes());
    assert_eq!(east.send(&ours()).0, dropped(DropReason::Unprotected));
    east.ok(|b| request::group(b, IDS, &inner, Some(&outer)));
    east.sealed(&ours());
    east.ok(|b| request::group(b, IDS, &inner, None));
    assert_eq!(east.send(&ours()).0, dropped(DropReason::Unprotected));
    east.ok(|b| request::delete(b, IDS, &outer, None));
    assert_eq!(east.send(&ours()).0, dropped(DropReason::Unprotected));
    east.ok(|b| request::delete(b, IDS, &inner, None));
    assert_eq!(east.send(&ours()).0, dropped(DropReason::NoSa));
    let stats = &east.klips.device(device()).stats;
    let count = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&stats.tx_dropped), count(&stats.tx_packets)), (6, 1));
}

/// A compressed packet by itself proves nothing of its sender.
#[test]
fn c11_what_is_only_compressed_does_not_come_in() {
    for group in [vec![deflate()], vec![ipip(), deflate()]] {
        let mut east = Host::new(&[SRC]);
        let mut with_esp = group.clone();
        with_esp.push(aes());
        east.add_group(&with_esp);
        let net = flow("0.0.0.0/0", "0.0.0.0/0");
        east.eroute(&net, group[0].said);
        let inner = match group.len() {
            1 => udp(SRC, DST, (1, 2), 400),
            _ => udp("192.0.2.1", "192.0.1.1", (1, 2), 400),
        };
        let mut middle = Host::new(&[DST]);
        middle.add_group(&with_esp);
        let sealed = east.sealed(&inner);
        assert_eq!(middle.opened(&sealed), inner);
        // What ESP had around it, as anybody could send it.
        let mut bare = Host::new(&[DST]);
        bare.add_group(&group);
        bare.add(&aes());
        let forged = match group.len() {
            1 => compressed(SRC, DST, 0x1003, 17, &inner[20..]),
            _ => compressed(SRC, DST, 0x1003, 4, &inner),
        };
        assert_eq!(
            bare.receive(&forged).0,
            Inbound::Drop(DropReason::Unprotected)
        );
    }
}
