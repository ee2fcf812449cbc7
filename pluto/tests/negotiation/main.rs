//! Engines negotiate with each other in simulated time, over a net that loses, doubles and reorders.

mod algorithms;
mod fragments;
mod nat;
mod refusals;
mod rekeying;
mod world;

use ipsec_keys::{PrivateKey, secrets::secret_entry};
use pluto::engine::Event;
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{Host, Request};
use world::*;

/// The lines without what differs from run to run.
fn progress(said: &[String]) -> Vec<String> {
    said.iter()
        .map(|line| line.split(" {").next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_tunnel_comes_up_in_freeswans_words() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(5);
    let expected = [
        "104 \"net-to-net\" #1: STATE_MAIN_I1: initiate",
        "106 \"net-to-net\" #1: STATE_MAIN_I2: sent MI2, expecting MR2",
        "108 \"net-to-net\" #1: STATE_MAIN_I3: sent MI3, expecting MR3",
        "004 \"net-to-net\" #1: STATE_MAIN_I4: ISAKMP SA established",
        "112 \"net-to-net\" #2: STATE_QUICK_I1: initiate",
        "004 \"net-to-net\" #2: STATE_QUICK_I2: sent QI2, IPsec SA established",
    ];
    assert_eq!(
        progress(&world.nodes[1].said),
        expected,
        "{}",
        world.trace()
    );
    assert_eq!(world.nodes[1].finished, [0]);
    assert!(world.is_up(0, "net-to-net"), "{}", world.trace());
    // Nine datagrams and not one more.
    assert_eq!(world.nodes[0].datagrams + world.nodes[1].datagrams, 9);
    let status = world.status(1);
    assert!(
        status.contains("STATE_MAIN_I4 (ISAKMP SA established); EVENT_SA_REPLACE in"),
        "{status}"
    );
    assert!(status.contains("newest IPSEC; eroute owner"), "{status}");
}

#[test]
fn rsa_signatures() {
    let mut rng = StdRng::seed_from_u64(9);
    let keys: Vec<PrivateKey> = (0..3)
        .map(|_| PrivateKey::generate(&mut rng, 1024).unwrap())
        .collect();
    let entry = |n: usize, id: &str| secret_entry(&[id], &keys[n], "host", "today").to_string();
    let mut connection = net_to_net();
    connection.policy.psk = false;
    connection.policy.rsasig = true;
    for wrong in [false, true] {
        let mut world = World::new([&entry(0, "@east"), &entry(1, "@west")]);
        world.both(&add(connection.clone()));
        let west = if wrong { 2 } else { 1 };
        for (id, n) in [("@east", 0), ("@west", west)] {
            world.both(&Request::PublicKey {
                id: id.into(),
                add: false,
                alg: whack::PubkeyAlg::Rsa,
                key: Some(keys[n].public().to_text()),
            });
        }
        world.up(1, "net-to-net");
        world.run(5);
        assert_eq!(world.is_up(1, "net-to-net"), !wrong, "{}", world.trace());
        assert_eq!(
            world.count(0, "Signature check (on @west) failed (wrong key?)") > 0,
            wrong
        );
    }
}

#[test]
fn the_wrong_secret_is_called_so() {
    let mut world = World::new([PSK, "@west @east : PSK \"another\"\n"]);
    let mut connection = net_to_net();
    connection.lifetimes.keying_tries = 1;
    world.both(&add(connection));
    world.up(1, "net-to-net");
    world.run(200);
    assert!(
        world.count(
            0,
            "probable authentication failure (mismatch of preshared secrets?)"
        ) > 0,
        "{}",
        world.trace()
    );
    let said = world.nodes[1].said.join("\n");
    assert!(
        said.contains(
            "010 \"net-to-net\" #1: STATE_MAIN_I3: retransmission; will wait 1s for response"
        ),
        "{said}"
    );
    assert!(said.contains("031 \"net-to-net\" #1: max number of retransmissions (6) reached STATE_MAIN_I3.  Possible authentication failure"), "{said}");
    assert_eq!(world.nodes[1].finished.len(), 1);
    assert_ne!(world.nodes[1].finished, [0]);
}

#[test]
fn no_secret_and_no_connection_are_named() {
    let mut world = World::new(["", PSK]);
    world.ask(0, add(net_to_net()));
    world.up(0, "net-to-net");
    let said = world.nodes[0].said.join("\n");
    assert!(
        said.contains("no preshared secret for @east and @west: add the line `@east @west : PSK"),
        "{said}"
    );
    assert_eq!(world.nodes[0].finished.len(), 1);
    let mut world = World::new([PSK, PSK]);
    world.ask(1, add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(5);
    // Sent at 0, 0.5, 1.5 and 3.5 seconds.
    assert_eq!(
        world.count(0, "but no connection has been authorized"),
        4,
        "{}",
        world.trace()
    );
}

#[test]
fn many_connections_share_one_isakmp_sa() {
    let mut world = World::new([PSK, PSK]);
    let mut names = Vec::new();
    for west in 1..=3 {
        for east in 1..=2 {
            let name = format!("c{west}{east}");
            world.both(&add(conn(
                &name,
                &format!("10.1.{west}.0/24"),
                &format!("10.2.{east}.0/24"),
            )));
            names.push(name);
        }
    }
    for name in &names {
        world.up(1, name);
    }
    world.run(5);
    assert!(
        names
            .iter()
            .all(|name| world.is_up(0, name) && world.is_up(1, name)),
        "{}",
        world.trace()
    );
    assert_eq!(
        world.count(1, "initiating Main Mode"),
        1,
        "{}",
        world.trace()
    );
    // The first of them holds the ISAKMP SA; taken down, the others stay and can be negotiated again.
    world.ask(1, Request::Terminate { name: "c11".into() });
    world.run(5);
    assert!(
        !world.is_up(1, "c11") && !world.is_up(0, "c11"),
        "{}",
        world.trace()
    );
    assert!(
        names[1..]
            .iter()
            .all(|name| world.is_up(0, name) && world.is_up(1, name)),
        "{}",
        world.trace()
    );
    world.up(1, "c11");
    world.run(5);
    assert!(world.is_up(0, "c11"), "{}", world.trace());
    assert_eq!(
        world.count(1, "initiating Main Mode"),
        1,
        "{}",
        world.trace()
    );
    // Who ends says so of each tunnel, though one connection has the ISAKMP SA of all.
    world.ask(1, Request::Shutdown);
    world.run(5);
    assert!(
        names.iter().all(|name| !world.is_up(0, name)),
        "{}",
        world.trace()
    );
}

#[test]
fn loss_doubling_and_reordering_are_survived() {
    for seed in 0..30 {
        let mut world = World::new([PSK, PSK]);
        world.chance = StdRng::seed_from_u64(seed);
        world.both(&add(net_to_net()));
        (world.lost, world.doubled, world.jitter_ms) = (25, 30, 12_000);
        world.up(1, "net-to-net");
        world.run(900);
        assert!(
            world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
            "seed {seed}{}",
            world.trace()
        );
    }
}

#[test]
fn both_start_at_once() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(0, "net-to-net");
    world.up(1, "net-to-net");
    world.run(120);
    assert!(
        world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
        "{}",
        world.trace()
    );
}

#[test]
fn what_is_meddled_with_is_refused_and_the_exchange_goes_on() {
    // One octet of each of the nine datagrams in turn is changed once; the retransmission is not.
    let mut refused = 0;
    for target in 1..=9usize {
        for at in [30usize, 45, 60] {
            MEDDLE.with(|cell| cell.set((target, at)));
            let mut world = World::new([PSK, PSK]);
            world.both(&add(net_to_net()));
            world.meddle = Some(|seen, bytes| {
                let (target, at) = MEDDLE.with(std::cell::Cell::get);
                if seen == target {
                    let at = at.min(bytes.len() - 1);
                    bytes[at] ^= 0x40;
                }
            });
            world.up(1, "net-to-net");
            world.run(600);
            assert!(
                world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
                "{target} {at}{}",
                world.trace()
            );
            refused += usize::from(world.nodes[0].datagrams + world.nodes[1].datagrams > 9);
        }
    }
    assert!(refused >= 20, "{refused}");
}

thread_local! {
    static MEDDLE: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((0, 0)) };
}

#[test]
fn rekeying_never_leaves_a_gap() {
    let mut world = World::new([PSK, PSK]);
    let mut connection = net_to_net();
    connection.lifetimes = whack::Lifetimes {
        ike: 200,
        ipsec: 60,
        rekey_margin: 20,
        rekey_fuzz: 50,
        keying_tries: 0,
    };
    world.both(&add(connection));
    world.lost = 2;
    world.up(1, "net-to-net");
    world.run(60);
    for _ in 0..1200 {
        world.run(1);
        assert!(
            world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
            "{}",
            world.trace()
        );
    }
    assert!(
        world.count(1, "IPsec SA established") > 20,
        "{}",
        world.trace()
    );
    assert!(
        world.count(1, "ISAKMP SA established") > 5,
        "{}",
        world.trace()
    );
    // Old states go: two generations of each at most, and those being made.
    let states = world
        .status(1)
        .lines()
        .filter(|line| line.contains("STATE_"))
        .count();
    assert!(states <= 8, "{}", world.status(1));
}

#[test]
fn a_gateway_that_crashed_comes_back() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(5);
    let before = world.newest(1, "net-to-net");
    world.nodes[0] = node(EAST, 99);
    world.boot(0, PSK);
    world.ask(0, add(net_to_net()));
    world.run(60);
    world.up(0, "net-to-net");
    world.run(30);
    assert!(world.is_up(0, "net-to-net"), "{}", world.trace());
    assert!(world.newest(1, "net-to-net") > before, "{}", world.trace());
    assert_eq!(world.count(1, "INITIAL-CONTACT"), 1, "{}", world.trace());
}

#[test]
fn down_tells_the_peer_and_what_should_be_up_comes_back() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    world.run(5);
    world.ask(
        0,
        Request::Terminate {
            name: "net-to-net".into(),
        },
    );
    world.run(2);
    assert!(!world.is_up(0, "net-to-net"));
    assert_eq!(
        world.count(1, "received Delete SA payload: replace IPSEC State #2"),
        1,
        "{}",
        world.trace()
    );
    world.run(60);
    assert!(
        world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
        "{}",
        world.trace()
    );
    // Taken down where it was brought up, it stays down at both ends.
    world.ask(
        1,
        Request::Terminate {
            name: "net-to-net".into(),
        },
    );
    world.run(60);
    assert!(
        !world.is_up(0, "net-to-net") && !world.is_up(1, "net-to-net"),
        "{}",
        world.trace()
    );
}

#[test]
fn nobody_home_is_tried_again() {
    let mut world = World::new([PSK, PSK]);
    let mut connection = net_to_net();
    connection.lifetimes.keying_tries = 3;
    world.both(&add(connection));
    world.cut = true;
    world.up(1, "net-to-net");
    world.run(71);
    let said = world.nodes[1].said.join("\n");
    assert!(
        said.contains("starting keying attempt 2 of at most 3, but releasing whack"),
        "{said}"
    );
    assert_eq!(world.nodes[1].finished.len(), 1);
    world.run(600);
    assert_eq!(
        world.count(1, "starting keying attempt"),
        2,
        "{}",
        world.trace()
    );
    assert_eq!(
        world.count(1, "max number of retransmissions (6) reached STATE_MAIN_I1"),
        3,
        "{}",
        world.trace()
    );
}

#[test]
fn a_road_warrior_is_an_instance() {
    let psk = ": PSK \"all the same\"\n";
    let mut world = World::new([psk, psk]);
    let mut road = net_to_net();
    road.left.host = Host::Any;
    road.left.client = None;
    let mut own = net_to_net();
    own.left.client = None;
    world.ask(0, add(road));
    world.ask(1, add(own));
    world.up(1, "net-to-net");
    world.run(5);
    assert!(world.is_up(1, "net-to-net"), "{}", world.trace());
    let status = world.status(0);
    assert!(
        status.contains("\"net-to-net\"[") && status.contains("IPsec SA established"),
        "{status}{}",
        world.trace()
    );
}

#[test]
fn forged_first_messages_cost_little_and_shut_nobody_out() {
    let mut world = World::new([PSK, PSK]);
    world.both(&add(net_to_net()));
    world.up(1, "net-to-net");
    let first = world.wire.values().next().unwrap().clone();
    let (remote, local) = (first.0, first.1);
    let quiet = world.lines(0);
    for n in 0..5000u32 {
        let mut forged = first.2.clone();
        forged[..4].copy_from_slice(&n.to_be_bytes());
        world.give(
            0,
            Event::Datagram {
                local,
                remote,
                bytes: forged,
            },
        );
    }
    assert!(world.lines(0) - quiet < 100, "{} lines", world.lines(0));
    world.run(5);
    assert!(world.is_up(0, "net-to-net"));
}

/// West began first and was not heard; east's tunnel, made meanwhile, stays when west's exchange goes on.
#[test]
fn who_has_met_meanwhile_does_not_say_initial_contact() {
    let mut world = World::new([PSK, PSK]);
    world.ask(1, add(net_to_net()));
    world.up(1, "net-to-net");
    // Sent until 3.5 seconds, and again at 7.5.
    world.run(4);
    world.ask(0, add(net_to_net()));
    world.up(0, "net-to-net");
    world.run(10);
    assert!(world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"));
    assert_eq!(
        world.count(0, "peer says INITIAL-CONTACT: deleting"),
        0,
        "{}",
        world.trace()
    );
}
