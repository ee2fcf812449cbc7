//! What becomes of an exchange that the peer refuses, or seems to, or takes with a shorter life.

use crate::world::*;

use pluto::engine::Event;
use whack::Request;

/// West would have AES-256, east takes nothing but 3DES.
fn different_esp(keying_tries: u32) -> World {
    let mut world = World::new([PSK, PSK]);
    for (n, esp) in [(0, "3des-sha1!"), (1, "aes256-sha1!")] {
        let mut connection = net_to_net();
        connection.esp = Some(esp.into());
        connection.lifetimes.keying_tries = keying_tries;
        world.ask(n, add(connection));
    }
    world
}

#[test]
fn a_quick_mode_that_the_peer_refuses_ends_at_once() {
    let mut world = different_esp(1);
    world.up(1, "net-to-net");
    world.run(2);
    assert_eq!(world.nodes[1].finished, [214], "{}", world.trace());
    let said = world.nodes[1].said.join("\n");
    assert!(
        said.contains("003 \"net-to-net\" #2: peer answers NO_PROPOSAL_CHOSEN: it accepts none"),
        "{said}"
    );
    assert!(
        said.contains(
            "214 \"net-to-net\" #2: STATE_QUICK_I1: refused by the peer: NO_PROPOSAL_CHOSEN"
        ),
        "{said}"
    );
    let status = world.status(1);
    assert!(!status.contains("STATE_QUICK"), "{status}");
    world.run(600);
    assert_eq!(world.count(1, "initiating Quick Mode"), 1);
}

#[test]
fn a_refused_quick_mode_is_tried_again_ever_later() {
    let mut world = different_esp(3);
    world.up(1, "net-to-net");
    world.run(2);
    // Whoever asked need not wait for the next attempt.
    assert_eq!(world.nodes[1].finished, [214], "{}", world.trace());
    let status = world.status(1);
    assert!(status.contains("EVENT_RETRY in 1"), "{status}");
    for (seconds, attempts) in [(15, 1), (5, 2), (35, 2), (5, 3), (600, 3)] {
        world.run(seconds);
        assert_eq!(
            world.count(1, "initiating Quick Mode"),
            attempts,
            "{}",
            world.trace()
        );
    }
    let status = world.status(1);
    assert!(!status.contains("STATE_QUICK"), "{status}");
}

#[test]
fn an_attempt_by_hand_takes_the_place_of_one_that_waits() {
    let mut world = different_esp(0);
    world.up(1, "net-to-net");
    world.run(2);
    let mut connection = net_to_net();
    connection.esp = Some("aes256-sha1!".into());
    world.ask(
        0,
        Request::Delete {
            name: "net-to-net".into(),
        },
    );
    world.ask(0, add(connection));
    world.run(1);
    world.up(1, "net-to-net");
    world.run(2);
    assert_eq!(world.nodes[1].finished, [0], "{}", world.trace());
    world.run(300);
    assert_eq!(
        world.count(1, "initiating Quick Mode"),
        2,
        "{}",
        world.trace()
    );
}

#[test]
fn of_two_quick_modes_the_one_that_is_meant_ends() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    let mut other = conn("other", "10.0.3.0/24", "10.0.2.0/24");
    other.lifetimes.keying_tries = 1;
    world.ask(1, add(other));
    world.up(1, "net-to-net");
    world.up(1, "other");
    world.run(2);
    assert!(world.is_up(1, "net-to-net"), "{}", world.trace());
    assert!(!world.is_up(1, "other"));
    let said = world.nodes[1].said.join("\n");
    assert!(
        said.contains("\"other\" #3: peer answers INVALID_ID_INFORMATION: it has no connection"),
        "{said}{}",
        world.trace()
    );
    assert!(world.nodes[1].finished.contains(&218));
}

#[test]
fn in_main_mode_anybody_may_say_no_and_is_not_believed() {
    // Genuine: it is told at once, and the attempt takes its time.
    let mut world = World::new([PSK, PSK]);
    for (n, ike) in [(0, "aes128-sha1-modp2048!"), (1, "3des-sha1-modp1024!")] {
        let mut connection = net_to_net();
        connection.ike = Some(ike.into());
        connection.lifetimes.keying_tries = 1;
        world.ask(n, add(connection));
    }
    world.up(1, "net-to-net");
    world.run(2);
    let said = world.nodes[1].said.join("\n");
    assert!(
        said.contains("003 \"net-to-net\" #1: peer seems to answer NO_PROPOSAL_CHOSEN"),
        "{said}"
    );
    assert!(world.nodes[1].finished.is_empty());
    world.run(100);
    assert_eq!(world.nodes[1].finished.len(), 1);
    assert_ne!(world.nodes[1].finished, [0]);
    assert_eq!(
        world.count(1, "NO_PROPOSAL_CHOSEN came from the peer's address"),
        1,
        "{}",
        world.trace()
    );

    // Forged, by somebody who reads along, ten thousand times: the tunnel comes up, and the log stays short.
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    let (_, (local, remote, first)) = world.wire.first_key_value().unwrap();
    let (local, remote) = (*local, *remote);
    let mut forged = first[..16].to_vec();
    forged.extend_from_slice(&[11, 0x10, 5, 0, 1, 2, 3, 4, 0, 0, 0, 40]);
    forged.extend_from_slice(&[0, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0, 14]);
    let before = world.lines(1);
    for _ in 0..10_000 {
        world.give(
            1,
            Event::Datagram {
                local,
                remote,
                bytes: forged.clone(),
            },
        );
    }
    assert!(world.lines(1) - before <= 60, "{}", world.lines(1));
    assert!(world.count(1, "peer seems to answer NO_PROPOSAL_CHOSEN") > 0);
    world.run(5);
    assert_eq!(world.nodes[1].finished, [0], "{}", world.trace());
}

/// The tunnels whose turn comes once Main Mode is done have people waiting too, and so has one that is asked for later.
#[test]
fn g16_everybody_who_waits_for_main_mode_hears_what_the_peer_seems_to_answer() {
    let mut world = World::new([PSK, PSK]);
    let mut first = net_to_net();
    first.ike = Some("3des-sha1-modp1024!".into());
    let mut second = conn("second", "10.0.3.0/24", "10.0.2.0/24");
    let mut third = conn("third", "10.0.4.0/24", "10.0.2.0/24");
    for other in [&mut second, &mut third] {
        other.ike = first.ike.clone();
    }
    let mut theirs = net_to_net();
    theirs.ike = Some("aes128-sha1-modp2048!".into());
    world.ask(0, add(theirs));
    for connection in [first, second, third] {
        world.ask(1, add(connection));
    }
    world.up(1, "net-to-net");
    world.up(1, "second");
    world.run(2);
    let mut said = world.nodes[1].said.join("\n");
    world.up(1, "third");
    said += &world.nodes[1].said.join("\n");
    for name in ["net-to-net", "second", "third"] {
        let line = format!("003 \"{name}\" #1: peer seems to answer NO_PROPOSAL_CHOSEN");
        assert_eq!(said.matches(&line).count(), 1, "{line}\n{said}");
    }
    // The exchange goes on, and however often it is said, people hear it once.
    assert!(world.nodes[1].finished.is_empty());
    world.run(30);
    let said = world.nodes[1].said.join("\n");
    assert_eq!(said.matches("peer seems to").count(), 1, "{said}");
}

#[test]
fn an_isakmp_sa_that_goes_takes_its_unfinished_quick_modes_to_a_new_one() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(2);
    world.ask(
        1,
        Request::Terminate {
            name: "net-to-net".into(),
        },
    );
    // The Delete of the peer and our Quick Mode cross on the way.
    world.both(&add(conn("other", "10.0.3.0/24", "10.0.2.0/24")));
    world.up(1, "net-to-net");
    world.run(2);
    world.ask(
        0,
        Request::Delete {
            name: "net-to-net".into(),
        },
    );
    world.up(1, "other");
    world.run(3);
    assert!(
        world.is_up(1, "other") && world.is_up(0, "other"),
        "{}",
        world.trace()
    );
    assert_eq!(world.count(1, "the ISAKMP SA under it is gone"), 1);
    assert!(world.nodes[1].finished.contains(&0), "{}", world.trace());
}

#[test]
fn the_shorter_of_two_lives_is_used_and_told() {
    let mut world = World::new([PSK, PSK]);
    for (n, ipsec) in [(0, 1200), (1, 3600)] {
        let mut connection = net_to_net();
        connection.lifetimes.ipsec = ipsec;
        connection.lifetimes.rekey_margin = 60;
        world.ask(n, add(connection));
    }
    world.up(1, "net-to-net");
    world.run(2);
    let told = "the peer lets the SA live 1200 s, shorter than was offered";
    assert_eq!(world.count(1, told), 1, "{}", world.trace());
    let first = world.newest(1, "net-to-net").1;
    world.run(1000);
    assert_eq!(world.newest(1, "net-to-net").1, first);
    // Rekeyed before it ends, not after an hour.
    world.run(190);
    assert!(world.newest(1, "net-to-net").1 > first, "{}", world.trace());
}

#[test]
fn two_that_begin_at_once_settle_and_stay() {
    for seed in 0..10 {
        let mut world = World::new([PSK, PSK]);
        world.chance = rand::SeedableRng::seed_from_u64(seed);
        world.jitter_ms = 40;
        let mut connection = net_to_net();
        connection.lifetimes = whack::Lifetimes {
            ike: 3600,
            ipsec: 600,
            rekey_margin: 60,
            rekey_fuzz: 0,
            keying_tries: 0,
        };
        world.both(&add(connection));
        world.up(0, "net-to-net");
        world.up(1, "net-to-net");
        world.run(30);
        // The first minutes may see each side's own SAs; from then on nothing is made but in its time.
        let made = |world: &World| world.count(0, "IPsec SA established");
        assert!(world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"));
        assert!(made(&world) <= 2, "seed {seed}{}", world.trace());
        let before = made(&world);
        world.run(1800);
        assert!(world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"));
        assert!(
            made(&world) - before <= 8,
            "seed {seed}: {} SAs in half an hour{}",
            made(&world) - before,
            world.trace()
        );
        let status = world.status(0);
        let states = status.lines().filter(|l| l.contains("STATE_")).count();
        assert!(states <= 8, "{status}");
    }
}

#[test]
fn an_isakmp_sa_that_goes_takes_what_was_answered_under_it() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(2);
    // QI2 is lost: east has answered, and waits.
    world.both(&add(conn("other", "10.0.3.0/24", "10.0.2.0/24")));
    world.up(1, "other");
    world.run_millis(8);
    assert!(
        world.status(0).contains("STATE_QUICK_R1"),
        "{}",
        world.trace()
    );
    world.cut = true;
    world.run_millis(8);
    world.cut = false;
    world.ask(
        1,
        Request::Delete {
            name: "other".into(),
        },
    );
    world.ask(
        1,
        Request::Delete {
            name: "net-to-net".into(),
        },
    );
    world.run_millis(100);
    let status = world.status(0);
    assert!(!status.contains("STATE_"), "{status}{}", world.trace());
}
