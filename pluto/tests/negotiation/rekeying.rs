//! Both sides replace their SAs at once, over and over, on nets that lose and shuffle.

use super::*;

/// Both sides begin at the same moment for as long as SAs live, with lives of both kinds that end together or not.
fn world(seed: u64, lost: u32) -> World {
    let mut world = World::new([PSK, PSK]);
    world.chance = SeedableRng::seed_from_u64(seed);
    world.jitter_ms = [0, 3, 40, 400][seed as usize % 4];
    world.doubled = 10 * (seed as u32 % 3);
    let mut connection = net_to_net();
    connection.lifetimes = whack::Lifetimes {
        ike: if seed.is_multiple_of(2) { 300 } else { 420 },
        ipsec: 300,
        rekey_margin: 60,
        rekey_fuzz: 0,
        keying_tries: 0,
    };
    world.both(&add(connection));
    world.up(0, "net-to-net");
    world.run_millis(seed % 5 * 7);
    world.up(1, "net-to-net");
    world.run(30);
    world.lost = lost;
    world
}

fn states(world: &mut World, n: usize) -> usize {
    let status = world.status(n);
    status.lines().filter(|l| l.contains("STATE_")).count()
}

fn together(seed: u64, lost: u32) {
    let mut world = world(seed, lost);
    let up = |world: &World| world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net");
    assert!(up(&world), "seed {seed}{}", world.trace());
    let made = |world: &World| {
        world.count(0, "IPsec SA established") + world.count(1, "IPsec SA established")
    };
    let before = made(&world);
    let mut most = 0;
    for _ in 0..3600 {
        world.run(1);
        assert!(up(&world), "seed {seed}: no tunnel{}", world.trace());
        if world.order.is_multiple_of(7) {
            most = most.max(states(&mut world, 0)).max(states(&mut world, 1));
        }
    }
    // Each side has a line for each SA, and may have made one of its own for each of some 15 lives.
    let made = made(&world) - before;
    assert!(
        (20..=80).contains(&made),
        "seed {seed}: {made} SAs in an hour"
    );
    assert!(most <= 14, "seed {seed}: {most} states");

    // On a good net all but what is in use goes, and both mean the same SAs by it.
    world.lost = 0;
    world.run(400);
    for n in [0, 1] {
        let count = states(&mut world, n);
        assert!(
            count <= 8,
            "seed {seed}: {count} states: {}",
            world.status(n)
        );
    }
    world.both(&whack::Request::Delete {
        name: "net-to-net".into(),
    });
    world.run(60);
    for n in [0, 1] {
        let left = world.status(n);
        assert!(!left.contains("STATE_"), "seed {seed}: {left}");
    }
}

#[test]
fn in_any_order_no_tunnel_is_lost_and_nothing_left() {
    for seed in 0..12 {
        together(seed, 0);
    }
}

#[test]
fn on_a_bad_net_no_tunnel_is_lost_and_nothing_left() {
    for seed in 100..108 {
        together(seed, 5);
    }
}

/// Both press the button at once, again and again.
#[test]
fn by_hand_from_both_sides_at_once() {
    for seed in 0..20 {
        let mut world = world(seed, 0);
        for _ in 0..10 {
            world.up(0, "net-to-net");
            world.run_millis(seed % 3 * 4);
            world.up(1, "net-to-net");
            world.run(2);
            assert!(
                world.is_up(0, "net-to-net") && world.is_up(1, "net-to-net"),
                "seed {seed}{}",
                world.trace()
            );
        }
        world.run(700);
        for n in [0, 1] {
            let count = states(&mut world, n);
            assert!(count <= 8, "seed {seed}: {}", world.status(n));
        }
    }
}
