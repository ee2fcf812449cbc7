//! Negotiation through a NAT: port 4500, mappings that change, several peers behind one NAT.

use std::time::Duration;

use super::world::*;
use whack::{End, Host, Request};

const ROAD: &str = "10.0.0.9";
const OTHER_ROAD: &str = "10.0.0.10";
const SECRET: &str = ": PSK \"for everybody\"\n";

/// What east has for anyone on the road.
fn for_anyone(virt: &str) -> whack::Connection {
    let mut c = net_to_net();
    c.name = "road".into();
    c.left = End::new(Host::Any);
    c.left.virt = (!virt.is_empty()).then(|| virt.parse().unwrap());
    c.left.updown = Some("ipsec _updown".into());
    c
}

/// What a road warrior has.
fn on_the_road(addr: &str, id: Option<&str>) -> whack::Connection {
    let mut c = net_to_net();
    c.name = "road".into();
    c.left = End::new(Host::Addr(addr.parse().unwrap()));
    c.left.id = id.map(Into::into);
    c.left.updown = Some("ipsec _updown".into());
    c
}

fn one_road(virt: &str) -> World {
    let mut world = World::behind_nat(SECRET, &[ROAD]);
    world.ask(0, add(for_anyone(virt)));
    world.ask(1, add(on_the_road(ROAD, Some("@road"))));
    world
}

#[test]
fn a_road_warrior_behind_nat() {
    let mut world = one_road("vhost:%no,%priv");
    world.up(1, "road");
    world.run(5);
    assert!(
        world.is_up(0, "road") && world.is_up(1, "road"),
        "{}",
        world.trace()
    );
    assert_eq!(world.nodes[1].finished, [0]);
    for (n, text) in [(0, "peer is NATed"), (1, "i am NATed")] {
        let line = format!("NAT-Traversal: Result using RFC 3947 (NAT-Traversal): {text}");
        assert_eq!(world.count(n, &line), 1, "{}", world.trace());
    }
    let status = world.status(0);
    // Its second mapping: port 500 has had the first.
    assert!(
        status.contains("\"road\"[2] 192.1.2.254:61002 STATE_MAIN_R3"),
        "{status}"
    );
    assert!(
        status.contains("===192.1.2.23[@east]...192.1.2.254:61002[@road]===10.0.0.9/32"),
        "{status}"
    );
    assert!(
        world.count(0, "NATD=192.1.2.254:61002") == 1,
        "{}",
        world.trace()
    );
    assert!(
        world.count(1, "NATD=192.1.2.23:4500") == 1,
        "{}",
        world.trace()
    );
}

#[test]
fn keep_alives_come_from_whoever_is_behind_nat() {
    let mut world = one_road("vhost:%priv");
    world.up(1, "road");
    world.run(65);
    assert_eq!(
        (world.nodes[0].keep_alives, world.nodes[1].keep_alives),
        (0, 3)
    );
    world.ask(
        1,
        Request::Terminate {
            name: "road".into(),
        },
    );
    world.run(100);
    assert_eq!(world.nodes[1].keep_alives, 3);
}

#[test]
fn a_new_mapping_is_followed_and_used() {
    let mut world = one_road("vhost:%priv");
    world.up(1, "road");
    world.run(5);
    world.nat.as_mut().unwrap().forget();
    // The responder's own messages are lost until the peer has spoken.
    world.ask(
        1,
        Request::Initiate {
            name: "road".into(),
            asynchronous: false,
        },
    );
    world.run(5);
    assert_eq!(world.nodes[1].finished, [0], "{}", world.trace());
    assert_eq!(
        world.count(
            0,
            "NAT-Traversal: peer has moved from 192.1.2.254:61002 to 192.1.2.254:61003"
        ),
        1,
        "{}",
        world.trace()
    );
    let status = world.status(0);
    assert!(status.contains("\"road\"[2] 192.1.2.254:61003"), "{status}");
    assert!(!status.contains("61002"), "{status}");
    // What the gateway says reaches the peer at its new place.
    world.ask(
        0,
        Request::Delete {
            name: "road".into(),
        },
    );
    world.run(2);
    assert!(
        world.count(1, "received Delete SA") >= 2,
        "{}",
        world.trace()
    );
}

#[test]
fn a_message_that_proves_nothing_moves_nobody() {
    let mut world = one_road("vhost:%priv");
    world.up(1, "road");
    world.run(5);
    world.nat.as_mut().unwrap().forget();
    world.meddle = Some(|_, bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    world.up(1, "road");
    world.run(5);
    assert_eq!(world.count(0, "peer has moved"), 0, "{}", world.trace());
    // What proves the peer brings it back from where it is now: by a new Main Mode, since nothing was heard over the ISAKMP SA.
    world.meddle = None;
    world.run(120);
    assert!(world.is_up(1, "road"), "{}", world.trace());
    let established = world.count(0, "IPsec SA established {");
    assert!(established >= 2, "{}", world.trace());
}

#[test]
fn both_sides_rekey_through_nat_for_hours() {
    let mut world = one_road("vhost:%priv");
    world.up(1, "road");
    let lost = [17, 40, 90];
    for minute in 0..12 * 60 {
        if lost.contains(&minute) {
            world.nat.as_mut().unwrap().forget();
        }
        world.run(60);
    }
    assert!(
        world.is_up(0, "road") && world.is_up(1, "road"),
        "{}",
        world.trace()
    );
    assert!(world.nodes[1].keep_alives > 2000);
    let instances = world
        .status(0)
        .lines()
        .filter(|line| line.contains("eroute owner: #"))
        .count();
    // The template and one instance.
    assert_eq!(instances, 2, "{}", world.status(0));
    assert_eq!(
        world.count(1, "max number of retransmissions"),
        0,
        "{}",
        world.trace()
    );
}

#[test]
fn several_behind_one_nat_are_told_apart_by_port_and_name() {
    let mut world = World::behind_nat(SECRET, &[ROAD, OTHER_ROAD]);
    world.ask(0, add(for_anyone("vhost:%priv")));
    world.ask(1, add(on_the_road(ROAD, Some("@one"))));
    world.ask(2, add(on_the_road(OTHER_ROAD, None)));
    for n in [1, 2] {
        world.up(n, "road");
        world.run(5);
        assert_eq!(world.nodes[n].finished, [0], "{}", world.trace());
    }
    let status = world.status(0);
    for line in [
        "192.1.2.254:61002[@one]===10.0.0.9/32; erouted",
        "192.1.2.254:61004[10.0.0.10]===10.0.0.10/32; erouted",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // One goes, the other stays.
    world.ask(
        1,
        Request::Terminate {
            name: "road".into(),
        },
    );
    world.run(2);
    let status = world.status(0);
    assert!(
        !status.contains("@one") && status.contains("10.0.0.10/32; erouted"),
        "{status}"
    );
}

#[test]
fn of_two_with_the_same_private_address_the_newer_has_the_eroute() {
    let mut world = World::behind_nat(SECRET, &[ROAD, OTHER_ROAD]);
    world.ask(0, add(for_anyone("vhost:%priv")));
    world.ask(1, add(on_the_road(ROAD, Some("@one"))));
    let mut same = on_the_road(OTHER_ROAD, Some("@two"));
    same.left.client = Some("10.0.0.9/32".parse().unwrap());
    world.ask(2, add(same));
    for n in [1, 2] {
        world.up(n, "road");
        world.run(5);
        assert_eq!(world.nodes[n].finished, [0], "{}", world.trace());
    }
    assert_eq!(
        world.count(
            0,
            "route to peer's client conflicts with \"road\"[2] 192.1.2.254:61002"
        ),
        1,
        "{}",
        world.trace()
    );
    let status = world.status(0);
    assert!(
        status.contains("[@two]===10.0.0.9/32; erouted") && !status.contains("@one"),
        "{status}"
    );
}

#[test]
fn a_private_address_that_is_not_allowed_is_refused() {
    for (virt, ok) in [
        ("vhost:%no", false),
        ("", false),
        ("vhost:%v4:10.0.0.0/24", true),
        ("vhost:%v4:10.0.1.0/24", false),
    ] {
        let mut world = one_road(virt);
        world.up(1, "road");
        world.run(5);
        assert_eq!(world.is_up(1, "road"), ok, "{virt}: {}", world.trace());
        let refused = world.count(
            0,
            "cannot respond to IPsec SA request because no connection is known for",
        ) > 0;
        assert_eq!(refused, !ok, "{virt}: {}", world.trace());
    }
}

#[test]
fn encapsulation_can_be_forced_and_a_peer_without_nat_traversal_be_met() {
    for (offered, forced) in [
        ([true, true], 0),
        ([true, true], 1),
        ([true, false], 1),
        ([false, true], 0),
    ] {
        let mut world = World::new(["", ""]);
        for (n, addr) in [EAST, WEST].into_iter().enumerate() {
            world.nodes[n] = node_with(addr, n as u64, |config| config.nat.traversal = offered[n]);
            world.boot(n, PSK);
            let mut c = net_to_net();
            c.policy.force_encaps = n == forced;
            world.ask(n, add(c));
        }
        world.up(1, "net-to-net");
        world.run(5);
        assert!(
            world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
            "{}",
            world.trace()
        );
        let udp = offered == [true, true];
        assert_eq!(
            world.count(1, "NATD=192.1.2.23:4500"),
            usize::from(udp),
            "{}",
            world.trace()
        );
        assert_eq!(
            world.count(0, "NATD=192.1.2.45:4500"),
            usize::from(udp),
            "{}",
            world.trace()
        );
    }
}

#[test]
fn transport_mode_tells_the_addresses_behind_nat() {
    let mut world = World::behind_nat(SECRET, &[ROAD]);
    let transport = |mut c: whack::Connection| {
        c.policy.tunnel = false;
        c.right.client = None;
        c
    };
    world.ask(0, add(transport(for_anyone(""))));
    world.ask(1, add(transport(on_the_road(ROAD, Some("@road")))));
    world.up(1, "road");
    world.run(5);
    assert_eq!(world.nodes[1].finished, [0], "{}", world.trace());
    assert_eq!(
        world.count(0, "NATOA=10.0.0.9 NATD=192.1.2.254:61002"),
        1,
        "{}",
        world.trace()
    );
    assert_eq!(
        world.count(1, "NATOA=192.1.2.23 NATD=192.1.2.23:4500"),
        1,
        "{}",
        world.trace()
    );
}

#[test]
fn ah_is_refused_through_nat() {
    let mut world = World::behind_nat(SECRET, &[ROAD]);
    let ah = |mut c: whack::Connection| {
        c.policy.authenticate = true;
        c
    };
    world.ask(0, add(ah(for_anyone("vhost:%priv"))));
    world.ask(1, add(ah(on_the_road(ROAD, None))));
    world.up(1, "road");
    world.run(5);
    let said = world.nodes[1].said.join("\n");
    assert!(said.contains("AH cannot pass a NAT"), "{said}");
}

#[test]
fn set_ups_through_nat_survive_a_bad_net() {
    for seed in 0..30 {
        let mut world = one_road("vhost:%priv");
        (world.lost, world.doubled, world.jitter_ms) = (10, 5, 50);
        for _ in 0..seed {
            rand::Rng::next_u32(&mut world.chance);
        }
        world.up(1, "road");
        world.run(300);
        assert!(
            world.is_up(0, "road") && world.is_up(1, "road"),
            "{seed}: {}",
            world.trace()
        );
        assert!(world.now.since_zero() > Duration::from_secs(300));
    }
}

/// A message of Main Mode that comes to port 500 again after both have gone over to port 4500 is old, and moves nobody back
/// (RFC 3947 section 4).
#[test]
fn what_comes_again_at_port_500_moves_nobody_back() {
    let mut world = one_road("vhost:%priv");
    world.doubled = 100;
    world.up(1, "road");
    // The first messages at port 4500 are lost.
    for _ in 0..100 {
        world.run_millis(1);
        world.wire.retain(|_, (_, to, _)| to.port() != 4500);
    }
    world.run(30);
    assert!(
        world.is_up(0, "road") && world.is_up(1, "road"),
        "{}",
        world.trace()
    );
    let there = world.count(1, "NATD=192.1.2.23:4500");
    assert_eq!(there, 1, "{}", world.trace());
    let old = world.count(1, "discarding old message of Main Mode at port 500");
    assert!(old >= 1, "{}", world.trace());
}

/// Where only we are behind a NAT the peer has no reason to move: its genuine message, which somebody in between sends on from
/// another address and faster, moves nothing (RFC 7296 section 2.23).
#[test]
fn a8_who_alone_is_behind_nat_does_not_follow_a_raced_message() {
    let mut world = World::behind_nat(SECRET, &[ROAD]);
    let mut watched = for_anyone("vhost:%priv");
    watched.dpd = whack::Dpd {
        delay: 5,
        timeout: 60,
        action: whack::DpdAction::Clear,
    };
    world.ask(0, add(watched));
    world.ask(1, add(on_the_road(ROAD, Some("@road"))));
    world.up(1, "road");
    world.run(3);
    assert!(world.is_up(1, "road"), "{}", world.trace());
    let mut raced = 0;
    // A datagram is on its way for 5 ms.
    for _ in 0..20_000 {
        world.run_millis(1);
        for (from, _, _) in world.wire.values_mut() {
            if from.ip().to_string() == EAST {
                *from = "203.0.113.66:4500".parse().unwrap();
                raced += 1;
            }
        }
    }
    assert!(raced >= 2, "{raced} {}", world.trace());
    assert_eq!(world.count(1, "peer has moved"), 0, "{}", world.trace());
    // The road's answers go where east is, which goes on believing in it.
    assert_eq!(
        world.count(0, "declaring peer dead"),
        0,
        "{}",
        world.trace()
    );
    assert!(world.is_up(0, "road") && world.is_up(1, "road"));
}
