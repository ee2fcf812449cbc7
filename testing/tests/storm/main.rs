//! A storm: random events for simulated hours, in the test kernel that skips time, under traffic that never stops.
//!
//! Two gateways with a connection each to the other, a road warrior behind a NAT, and a gateway that is met by opportunism. Addresses,
//! links, devices and routes go and come back, daemons are killed, gateways boot anew, names and policies change, DNS falls silent, the
//! clock is stepped, packets are lost. Whatever happens: no packet between protected nets leaves in the clear; every tunnel is there a
//! minute after the last event; no state and no memory is left behind.
//!
//! It takes long, so it is for `make storm`, which sets `STORM_HOURS`, `STORM_CALM` and `STORM_SEED`; the test prints them. What can happen is in
//! `event`, where it happens in `world`, and who notices in `traffic`.

mod event;
mod traffic;
mod world;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use event::Event;
use world::World;

testing::for_hours!(a_storm);

/// Most events that overlap.
const AT_A_TIME: usize = 3;
/// How long events last, and how far apart they begin, in seconds at most.
const SPREAD: u32 = 90;
/// Seconds after the last event's end within which everything is back, and longest silence from then until the next event.
const BACK_WITHIN: u64 = 60;
/// Most seconds until the next events, in which keys are renewed and nothing else happens; `STORM_CALM` says others. Events cost the
/// processor much, and hours in which nothing happens little.
const CALM: u64 = 240;

fn setting(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => usual,
    }
}

fn a_storm() {
    let seed = setting("STORM_SEED", 1);
    let hours = setting("STORM_HOURS", 0);
    if hours == 0 {
        println!("no storm without STORM_HOURS: see `make storm`");
        return;
    }
    let calm = setting("STORM_CALM", CALM) as u32;
    println!("storm: STORM_SEED={seed} STORM_HOURS={hours} STORM_CALM={calm}");
    let mut rng = StdRng::seed_from_u64(seed);
    let testbed = testing::Testbed::new();
    let world = World::new(&testbed);
    world.start();
    let traffic = world.traffic();
    world.all_back(&traffic, BACK_WITHIN, "before the storm");
    let quiet = world.sizes();
    let end = world.uptime() + hours * 3600;
    let mut round = 0;
    while world.uptime() < end {
        round += 1;
        traffic.busy();
        let story = one_round(&world, &mut rng);
        println!("storm: {} s, round {round}: {story}", world.uptime());
        world.all_back(&traffic, BACK_WITHIN, &story);
        traffic.calm();
        world.stays(&traffic, below(&mut rng, calm).into(), BACK_WITHIN, &story);
        world.watched(&story);
    }
    drop(traffic);
    world.settle();
    let after = world.sizes();
    after.assert_near(&quiet);
    world.stop();
}

/// Some events that overlap, each undone when its time is over. Answers which they were.
fn one_round(world: &World<'_>, rng: &mut StdRng) -> String {
    let count = 1 + below(rng, AT_A_TIME as u32) as usize;
    let mut story = Vec::new();
    // Seconds from the round's begin, and what is done then.
    let mut agenda: Vec<(u32, usize, bool)> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..count {
        let event = Event::random(rng);
        if events.iter().any(|other| other.clashes(&event)) {
            continue;
        }
        let begin = below(rng, SPREAD / 3);
        let end = begin + 1 + below(rng, SPREAD);
        story.push(format!("{event:?} from {begin} s to {end} s"));
        agenda.push((begin, events.len(), true));
        agenda.push((end, events.len(), false));
        events.push(event);
    }
    agenda.sort_unstable();
    let mut at = 0;
    for (when, index, begins) in agenda {
        std::thread::sleep(std::time::Duration::from_secs((when - at).into()));
        at = when;
        if begins {
            events[index].begin(world);
        } else {
            events[index].end(world);
        }
    }
    story.join(", ")
}

/// A number below `limit`.
fn below(rng: &mut StdRng, limit: u32) -> u32 {
    rng.next_u32() % limit
}
