//! Messages too long for one packet.

use std::sync::LazyLock;

use crate::world::*;

use ipsec_keys::{PrivateKey, secrets::secret_entry};
use pluto::engine::Event;
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{Fragmentation, Request};

/// What fits a packet of 1280 octets, with room for RFC 3948's marker.
const LIMIT: usize = 1280 - 20 - 8 - 4;
const FRAGMENT: u8 = 132;

/// Two gateways with names and keys so long that MI3 and MR3 don't fit.
fn long_names(east: Fragmentation, west: Fragmentation) -> World {
    static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| {
        let mut rng = StdRng::seed_from_u64(11);
        [0, 1].map(|_| PrivateKey::generate(&mut rng, 2048).unwrap())
    });
    let keys = &*KEYS;
    let names = ["@east", "@west"].map(|name| {
        let label = "a-label-of-forty-nine-octets-and-not-one-octet-less.";
        format!("{name}.{}example", label.repeat(19))
    });
    let entry = |n: usize| {
        let entry = secret_entry(&[&names[n]], &keys[n], "host", "today");
        entry.to_string()
    };
    let mut world = World::new([&entry(0), &entry(1)]);
    let mut connection = net_to_net();
    connection.policy.psk = false;
    connection.policy.rsasig = true;
    connection.right.id = Some(names[0].clone());
    connection.left.id = Some(names[1].clone());
    for (n, fragmentation) in [(0, east), (1, west)] {
        connection.fragmentation = fragmentation;
        world.ask(n, add(connection.clone()));
        for (id, key) in names.iter().zip(keys) {
            world.ask(
                n,
                Request::PublicKey {
                    id: id.clone(),
                    add: false,
                    alg: whack::PubkeyAlg::Rsa,
                    key: Some(key.public().to_text()),
                },
            );
        }
    }
    world
}

/// Brings the tunnel up; the lengths of the longest whole message and the longest piece, and how many pieces there were.
fn up(world: &mut World) -> (usize, usize, usize) {
    let (mut whole, mut piece, mut pieces) = (0, 0, 0);
    world.up(1, "net-to-net");
    for _ in 0..8000 {
        for (_, _, bytes) in world.wire.values() {
            if bytes[16] == FRAGMENT {
                piece = piece.max(bytes.len());
                pieces += 1;
            } else {
                whole = whole.max(bytes.len());
            }
        }
        world.run_millis(5);
    }
    (whole, piece, pieces)
}

#[test]
fn what_is_too_long_goes_in_pieces_if_both_understand_them() {
    use Fragmentation::{Force, No, Yes};
    for (east, west, cut) in [(Yes, Yes, true), (Force, Yes, true), (No, Yes, false)] {
        let mut world = long_names(east, west);
        let (whole, piece, pieces) = up(&mut world);
        assert!(world.is_up(0, "net-to-net"), "{}", world.trace());
        assert_eq!(world.nodes[1].finished, [0]);
        assert_eq!(pieces > 0, cut, "{east:?} {west:?}: {pieces} pieces");
        assert_eq!(whole <= LIMIT, cut, "{east:?} {west:?}: {whole}");
        assert!(piece <= LIMIT);
    }
    // Forced upon a peer that won't have them: nothing comes of it, and the peer says why.
    let mut world = long_names(No, Force);
    world.up(1, "net-to-net");
    world.run(20);
    assert!(!world.is_up(0, "net-to-net"));
    assert!(world.count(0, "ignoring a fragment: fragmentation=no") > 0);
}

#[test]
fn pieces_get_lost_doubled_and_out_of_order() {
    for seed in 0..10 {
        let mut world = long_names(Fragmentation::Yes, Fragmentation::Yes);
        world.chance = StdRng::seed_from_u64(seed);
        (world.lost, world.doubled, world.jitter_ms) = (20, 20, 400);
        world.up(1, "net-to-net");
        world.run(300);
        assert!(
            world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
            "seed {seed}{}",
            world.trace()
        );
    }
}

#[test]
fn pieces_of_strangers_are_not_kept() {
    let mut world = World::new([PSK, PSK]);
    let mut connection = net_to_net();
    connection.fragmentation = Fragmentation::Yes;
    world.both(&add(connection));
    let (local, remote) = (
        format!("{EAST}:500").parse().unwrap(),
        format!("{WEST}:500").parse().unwrap(),
    );
    let quiet = world.lines(0);
    for n in 0..5000u32 {
        let mut piece = n.to_be_bytes().repeat(4);
        piece[0] |= 1;
        piece.extend_from_slice(&[FRAGMENT, 0x10, 2, 0, 0, 0, 0, 0, 0, 0, 0, 46]);
        piece.extend_from_slice(&[0, 0, 0, 18, 0, 1, 1, 0]);
        piece.extend_from_slice(&[7; 10]);
        let bytes = piece;
        world.give(
            0,
            Event::Datagram {
                local,
                remote,
                bytes,
            },
        );
    }
    assert!(world.lines(0) - quiet <= 60);
    assert!(world.count(0, "ignoring a fragment of an unknown exchange") > 0);
    world.up(1, "net-to-net");
    world.run(5);
    assert!(world.is_up(0, "net-to-net"));
}
