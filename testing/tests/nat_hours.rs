//! A tunnel through a NAT for hours, in a test kernel that skips idle time: keep-alives hold the mapping while nobody speaks, keys are
//! renewed, and a router that starts anew is found again.

use std::time::Duration;

use testing::road::{NET, VHOST};
use testing::{Host, Road, Testbed};

testing::for_hours!(
    an_hour_with_a_router_as_they_are_sold,
    an_hour_with_a_router_that_forgets_fast,
);

/// Keys for some minutes, so that an hour renews them often.
const LIVES: &str = "\tikelifetime=20m\n\tkeylife=8m\n\trekeymargin=1m\n";

/// A mapping lives half a minute, as Linux has it for what is answered seldom; keep-alives come as by default.
fn an_hour_with_a_router_as_they_are_sold() {
    an_hour(30, "");
}

fn an_hour_with_a_router_that_forgets_fast() {
    an_hour(5, "\tkeep_alive=3\n");
}

fn an_hour(lifetime: u64, setup: &str) {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.router.lifetime(lifetime);
    net.start(&format!("{VHOST}{LIVES}"));
    let conn = format!("{NET}{LIVES}");
    let road = net.warrior_with(&net.router, "road", "10.0.0.9", setup, &conn);
    net.up(&road);
    let first = spis(&road);
    assert!(!first.is_empty());
    let begun = uptime(&net.east);
    let mut states = Vec::new();
    for _ in 0..12 {
        quiet(300);
        // Who is outside speaks first: the mapping is there.
        net.pings(&net.sunrise, "10.0.0.9");
        net.pings(&road, "192.0.2.1");
        states.push(count(&net.east, "ipsec auto --status | grep -c STATE_"));
    }
    let passed = uptime(&net.east) - begun;
    assert!(passed > 3600, "{passed} s");
    assert!(spis(&road).iter().all(|spi| !first.contains(spi)));
    for (what, least) in [("sent MR3, ISAKMP SA", 3), ("IPsec SA established", 7)] {
        let both = format!("cat /run/pluto/pluto.log | grep -c '{what}'");
        let times = count(&net.east, &both) + count(&road, &both);
        assert!(times >= least, "{what}: {times}\n{}", net.east.log());
    }
    // Old ones go: at most two of each phase at a time, when the last were renewed just now.
    assert!(states.iter().all(|count| *count <= 4), "{states:?}");
    let moved = "grep -c 'peer has moved' /run/pluto/pluto.log";
    assert_eq!(count(&net.east, moved), 0, "{}", net.east.log());

    for round in 1..=2 {
        net.router.forget();
        // One may be lost, since its answer can be on its way to the old place.
        road.run("ping -n -q -c 3 -i 0.3 -W 1 192.0.2.1");
        net.pings(&road, "192.0.2.1");
        quiet(600);
        net.pings(&net.sunrise, "10.0.0.9");
        assert_eq!(count(&net.east, moved), round, "{}", net.east.log());
    }
    road.run("ipsec auto --down road").ok();
    net.east.wait_for(
        "! ipsec auto --status | grep -q STATE_",
        Duration::from_secs(5),
    );
}

fn quiet(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// Seconds since the kernel's boot, as it counts them.
fn uptime(host: &Host) -> u32 {
    count(host, "cut -d. -f1 /proc/uptime")
}

fn count(host: &Host, script: &str) -> u32 {
    let said = host.run(script).stdout;
    said.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{script}: {said}"))
}

/// The ESP SAs of a road warrior.
fn spis(host: &Host) -> Vec<String> {
    let said = host.run("ipsec spi").ok().stdout;
    let names = said.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| name.starts_with("esp0x"))
        .map(str::to_owned)
        .collect()
}
