//! Traps and holds: what is asked, what is kept, what goes on, and what must not.

mod common;

use common::*;
use ipsec_types::{MagicSpi, SaId, SaProto, Selector};
use klips::Outbound;
use pfkey::{Message, MsgType, request};

fn shunt(magic: MagicSpi) -> SaId {
    SaId::magic(magic)
}

fn ours() -> Vec<u8> {
    udp("192.0.2.1", "192.0.1.1", (1000, 2000), 30)
}

fn nets() -> Selector {
    flow("192.0.2.0/24", "192.0.1.0/24")
}

#[test]
fn trap_holds_and_releases_the_last_packet() {
    let (mut host, _) = tunnel_pair();
    let tunnel = said(SaProto::IpIp, 0x1000, "192.1.2.45");
    host.replace_eroute(&nets(), shunt(MagicSpi::Trap));
    let packets: Vec<_> = (1..4)
        .map(|n| udp("192.0.2.1", "192.0.1.1", (n, 9), 30))
        .collect();
    for packet in &packets {
        assert_eq!(host.send(packet).0, Outbound::Held);
    }
    let asked = told(&mut host, MsgType::Acquire);
    assert_eq!(asked.len(), 1, "one question for all packets of two hosts");
    let acquire = Message::reply(&asked[0]).expect("well formed");
    let wanted = acquire.acquired().expect("a packet");
    assert_eq!(
        (wanted.src, wanted.dst, wanted.proto),
        (a("192.0.2.1"), a("192.0.1.1"), 0)
    );
    assert!(acquire.proposal().is_some_and(|p| p.combs().count() == 6));
    let eroutes = host.proc(klips::ProcFile::Eroute);
    assert!(
        eroutes.contains("192.0.2.1/32       -> 192.0.1.1/32       => %hold\n"),
        "{eroutes}"
    );

    // As pluto does it: the broad hold first, then the narrow one away, then the tunnel.
    host.replace_eroute(&nets(), shunt(MagicSpi::Hold));
    let narrow = flow("192.0.2.1/32", "192.0.1.1/32");
    host.ok(|b| request::del_flow(b, IDS, &narrow));
    let moved = std::mem::take(&mut host.out.released);
    assert_eq!(moved, [(device(), packets[2].clone())]);
    assert_eq!(host.send(&moved[0].1).0, Outbound::Held);
    host.replace_eroute(&nets(), tunnel);
    let freed = std::mem::take(&mut host.out.released);
    assert_eq!(
        freed,
        [(device(), packets[2].clone())],
        "the last packet, once"
    );
    host.sealed(&freed[0].1);
}

#[test]
fn an_answer_frees_narrow_holds_by_itself() {
    let (mut host, _) = tunnel_pair();
    host.replace_eroute(&nets(), shunt(MagicSpi::Trap));
    for n in 1..=5 {
        assert_eq!(
            host.send(&udp(&format!("192.0.2.{n}"), "192.0.1.1", (7, 9), 30))
                .0,
            Outbound::Held
        );
    }
    assert_eq!(host.klips.eroutes().len(), 6);
    host.replace_eroute(&nets(), said(SaProto::IpIp, 0x1000, "192.1.2.45"));
    assert_eq!(host.klips.eroutes().len(), 1);
    assert_eq!(host.out.released.len(), 5);
}

#[test]
fn a_hold_given_up_lets_nothing_leak_or_loop() {
    let mut host = Host::new(&["192.1.2.23"]);
    host.eroute(&nets(), shunt(MagicSpi::Trap));
    assert_eq!(host.send(&ours()).0, Outbound::Held);
    let narrow = flow("192.0.2.1/32", "192.0.1.1/32");
    host.ok(|b| request::del_flow(b, IDS, &narrow));
    assert!(host.out.released.is_empty(), "not back into the trap");
    assert_eq!(host.send(&ours()).0, Outbound::Held);
    host.replace_eroute(&narrow, shunt(MagicSpi::Drop));
    assert!(host.out.released.is_empty());
}

#[test]
fn trapsubnet_becomes_the_hold() {
    let mut host = Host::new(&["192.1.2.23"]);
    host.eroute(&nets(), shunt(MagicSpi::TrapSubnet));
    assert_eq!(host.send(&ours()).0, Outbound::Held);
    assert_eq!(
        host.send(&udp("192.0.2.9", "192.0.1.9", (1, 2), 1)).0,
        Outbound::Held
    );
    assert_eq!(told(&mut host, MsgType::Acquire).len(), 1);
    assert_eq!(host.klips.eroutes().len(), 1);
}

#[test]
fn a_scan_does_not_fill_memory() {
    let mut host = Host::new(&["192.1.2.23"]);
    host.eroute(&flow("0.0.0.0/0", "0.0.0.0/0"), shunt(MagicSpi::Trap));
    for n in 0..2 * klips::MAX_HOLDS {
        host.send(&udp(
            "192.0.2.1",
            &format!("10.0.{}.{}", n / 256, n % 256),
            (1, 2),
            1,
        ));
    }
    assert_eq!(host.klips.eroutes().len(), klips::MAX_HOLDS + 1);
    assert_eq!(told(&mut host, MsgType::Acquire).len(), klips::MAX_HOLDS);
    host.now += klips::HOLD_IDLE + 1;
    host.with(|klips, cx| klips.tick(cx, klips::MAX_HOLDS));
    assert_eq!(host.klips.eroutes().len(), 1);
}

/// There is no memory for what the core says, as in a kernel now and then.
struct NoMemoryLeft;

impl klips::Output for NoMemoryLeft {
    fn pfkey(&mut self, _: klips::Audience, _: &[u8]) -> Result<(), klips::NoMemory> {
        Err(klips::NoMemory)
    }

    fn release(&mut self, _: klips::DeviceId, _: &[u8], _: klips::packet::Tag) {}
}

#[test]
fn f2_an_acquire_that_nobody_hears_leaves_the_trap_to_ask_again() {
    for magic in [MagicSpi::Trap, MagicSpi::TrapSubnet] {
        let (mut host, _) = tunnel_pair();
        host.replace_eroute(&nets(), shunt(magic));
        let before = host.proc(klips::ProcFile::Eroute);

        // No memory for the ACQUIRE.
        let mut bytes = ours();
        let end = bytes.len();
        let mut packet = klips::Packet::new(&mut bytes, 0, end).expect("range");
        let mut cx = klips::Context {
            home: &klipsd::home::UserHome,
            now: host.now,
            out: &mut NoMemoryLeft,
        };
        let verdict = host.klips.trap(&mut cx, device(), &mut packet);
        assert_eq!(
            verdict,
            Outbound::Drop(klips::DropReason::Home),
            "{magic:?}"
        );
        let after = host.proc(klips::ProcFile::Eroute);
        let targets = |text: &str| -> Vec<String> {
            let last = |line: &str| line.rsplit(' ').next().map(str::to_owned);
            text.lines().filter_map(last).collect()
        };
        assert_eq!(targets(&after), targets(&before), "{magic:?}");

        // Said, but the daemon's socket had no room: the home says so, and the next packet asks again.
        assert_eq!(host.send(&ours()).0, Outbound::Held);
        let asked = told(&mut host, MsgType::Acquire);
        assert_eq!(asked.len(), 1);
        host.klips.acquire_lost(&asked[0]);
        assert_eq!(host.send(&ours()).0, Outbound::Held);
        assert_eq!(told(&mut host, MsgType::Acquire).len(), 1, "{magic:?}");
        assert_eq!(host.send(&ours()).0, Outbound::Held);
        assert_eq!(told(&mut host, MsgType::Acquire).len(), 0, "{magic:?}");
        assert_eq!(host.proc(klips::ProcFile::TrapCount), "00000003\n");
        assert_eq!(host.proc(klips::ProcFile::TrapSendCount), "00000002\n");
    }
}

#[test]
fn f2_a_held_packet_keeps_what_the_home_wrote_beside_it() {
    let (mut host, _) = tunnel_pair();
    host.replace_eroute(&nets(), shunt(MagicSpi::Hold));
    let mut bytes = ours();
    let end = bytes.len();
    let tag = [0x10, 6, 77];
    let mut packet = klips::Packet::new(&mut bytes, 0, end)
        .expect("range")
        .with_tag(tag);
    let held = host.with(|klips, cx| klips.outbound(cx, device(), &mut packet));
    assert_eq!(held, Outbound::Held);

    struct Released(Vec<klips::packet::Tag>);
    impl klips::Output for Released {
        fn pfkey(&mut self, _: klips::Audience, _: &[u8]) -> Result<(), klips::NoMemory> {
            Ok(())
        }
        fn release(&mut self, _: klips::DeviceId, _: &[u8], tag: klips::packet::Tag) {
            self.0.push(tag);
        }
    }
    let mut out = Released(Vec::new());
    let mut cx = klips::Context {
        home: &klipsd::home::UserHome,
        now: host.now,
        out: &mut out,
    };
    let mut buffer = [0; pfkey::MAX_MESSAGE_LEN];
    let pass = request::add_flow(
        &mut buffer,
        IDS,
        &nets(),
        shunt(MagicSpi::Pass),
        pfkey::SaFlags::REPLACEFLOW,
    );
    host.klips
        .pfkey(&mut cx, &mut host.socket, pass.expect("a request"));
    assert_eq!(out.0, [tag]);
}
