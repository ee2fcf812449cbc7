//! Real peers that freeze, are killed and started again, or get another address; and we that do so, to them. With the times that people
//! configure, in a test kernel that skips idle time.

use std::time::Duration;

use testing::Testbed;
use testing::interop::{Bench, Role, plain_row};
use testing::peer::Kind;

/// The tests of this file with one peer.
macro_rules! with_peer {
    ($module:ident, $kind:expr, $($name:ident),+ $(,)?) => {
        mod $module {
            $(fn $name() { super::$name($kind) })+
            testing::for_hours!($($name),+);
        }
    };
}

with_peer!(
    strongswan,
    super::Kind::Strongswan,
    frozen,
    killed_and_started_again,
    at_another_address,
    moves_while_it_runs,
    asks_after_us,
);
with_peer!(
    libreswan,
    super::Kind::Libreswan,
    frozen,
    killed_and_started_again,
    at_another_address,
    asks_after_us,
);

/// Who is silent is asked after 30 s, and dead after two minutes.
const DPD: &str = "\tdpddelay=30s\n\tdpdtimeout=120s\n";
/// The silence that kills, counted from before the peer fell silent, one question more, and some seconds for a loaded machine.
const DEAD: u32 = 120 + 30 + 15;
/// How long an IKE message may wait until it is sent again, to a peer that has come back meanwhile.
const AGAIN: u32 = 60;

const DECLARED: &str = "DPD: no response from peer - declaring peer dead";
const PING: &str = "ping -n -q -c 1 -W 1 192.0.2.1";

struct Watched<'a>(Bench<'a>);

impl Watched<'_> {
    /// Gives both sides the plain row, with more for ours and something put into theirs, and lets `role` bring the tunnel up.
    #[track_caller]
    fn tunnel(&self, role: Role, more: &str, change: impl Fn(String) -> String) {
        let bench = &self.0;
        let row = plain_row(bench.peer().kind());
        let theirs = change(bench.theirs_of(&row));
        bench
            .load_texts(&(bench.ours_of(&row) + more), &theirs)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        self.up(role);
    }

    #[track_caller]
    fn up(&self, role: Role) {
        if let Err(error) = self.0.up(role) {
            panic!("{error}\n{}", self.logs());
        }
        self.reaches(10);
    }

    /// The tunnel as it is in `dpdaction=`'s tests: we begin, and watch.
    #[track_caller]
    fn with_action(&self, action: &str) {
        let more = format!("{DPD}\tdpdaction={action}\n");
        self.tunnel(Role::We, &more, |theirs| theirs);
    }

    /// Within so many seconds a script on west succeeds.
    #[track_caller]
    fn west(&self, seconds: u32, script: &str) {
        self.within(&self.0.net().west, seconds, script);
    }

    /// Within so many seconds a ping through the tunnel is answered.
    #[track_caller]
    fn reaches(&self, seconds: u32) {
        self.within(&self.0.net().sunset, seconds, PING);
    }

    #[track_caller]
    fn within(&self, host: &testing::Host, seconds: u32, script: &str) {
        // Once a second, since each look costs time that is not skipped.
        let script = format!(
            "end=$(($(cut -d. -f1 /proc/uptime) + {seconds}))
             until {script} >/dev/null 2>&1; do [ $(cut -d. -f1 /proc/uptime) -lt $end ] || exit 1; sleep 1; done"
        );
        let limit = Duration::from_secs(u64::from(seconds) + 60);
        let said = host.run_for(&script, limit);
        assert!(
            said.status == 0,
            "not within {seconds} s: {said}\n{}",
            self.logs()
        );
    }

    /// West has declared the peer dead so many times.
    #[track_caller]
    fn declared_dead(&self, times: u32) {
        let script = format!("[ \"$(grep -c '{DECLARED}' /run/pluto/pluto.log)\" = {times} ]");
        self.west(DEAD, &script);
    }

    /// Ends the tunnel from both sides.
    fn down(&self) {
        self.0.net().west.run("ipsec auto --down cell");
        self.0.peer().down("cell");
    }

    fn logs(&self) -> String {
        let west = &self.0.net().west;
        format!(
            "{}\n{}\n{}\n{}\n{}",
            west.log(),
            west.run("ipsec auto --status; ipsec eroute").stdout,
            self.0.peer().log(),
            self.0.peer().status(),
            self.0.peer().kernel_sas()
        )
    }
}

/// Its tunnel is cleared, held for or begun anew. Thawed, it is met by hand, by the first packet, or with nobody doing anything.
fn frozen(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Watched(Bench::new(&testbed, kind));
    let (west, peer) = (&bench.0.net().west, bench.0.peer());

    bench.with_action("clear");
    peer.freeze();
    bench.declared_dead(1);
    bench.west(5, "! ipsec auto --status | grep STATE_");
    west.run("ipsec eroute").ok().never_says("192.0.2.0");
    peer.thaw();
    bench.up(Role::We);
    bench.down();

    bench.with_action("hold");
    peer.freeze();
    bench.declared_dead(2);
    bench.west(5, "ipsec eroute | grep %trap");
    peer.thaw();
    bench.reaches(AGAIN);
    bench.down();

    bench.with_action("restart");
    let before = peer.spis();
    peer.freeze();
    bench.declared_dead(3);
    // For some minutes more nobody answers.
    west.run_for("sleep 200", Duration::from_secs(260)).ok();
    peer.thaw();
    bench.west(AGAIN, "ipsec eroute | grep '=> tun0x'");
    bench.reaches(10);
    assert_all_new(&before, &peer.spis());
}

/// It knows nothing of its tunnels: as after a reboot.
fn killed_and_started_again(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Watched(Bench::new(&testbed, kind));
    let (west, peer) = (&bench.0.net().west, bench.0.peer());

    // It is there again before anybody has noticed, and nobody does anything.
    bench.with_action("restart");
    let before = peer.spis();
    peer.crash();
    peer.start();
    assert_eq!(peer.spis(), Vec::<String>::new());
    bench.reaches(DEAD + AGAIN);
    west.run("grep 'DPD: restarting connection' /run/pluto/pluto.log")
        .ok();
    assert_all_new(&before, &peer.spis());

    // It comes after it was missed.
    let before = peer.spis();
    peer.crash();
    bench.declared_dead(2);
    west.run_for("sleep 300", Duration::from_secs(360)).ok();
    peer.start();
    bench.west(AGAIN, "ipsec eroute | grep '=> tun0x'");
    bench.reaches(10);
    assert_all_new(&before, &peer.spis());
    bench.down();

    // Held for, the first packet brings it.
    bench.with_action("hold");
    peer.crash();
    bench.declared_dead(3);
    peer.start();
    bench.west(5, "ipsec eroute | grep %trap");
    bench.reaches(AGAIN);
    bench.down();

    // It begins itself, as soon as it is back.
    bench.with_action("clear");
    let before = peer.spis();
    peer.crash();
    peer.start();
    bench.up(Role::They);
    assert_all_new(&before, &peer.spis());
    // What it forgot is never the reason to end what it has now.
    west.run_for("sleep 300", Duration::from_secs(360)).ok();
    bench.reaches(1);
}

/// A road warrior that goes without a word, and comes again from elsewhere: at once, or after it was missed.
fn at_another_address(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Watched(Bench::new(&testbed, kind));
    let (west, east, peer) = (&bench.0.net().west, &bench.0.net().east, bench.0.peer());
    let row = plain_row(kind);
    let ours = bench.0.ours_of(&row);
    let ours = ours.replace("right=192.1.2.23", "right=%any") + DPD + "\tdpdaction=clear\n";
    let theirs = bench.0.theirs_of(&row);
    bench.0.load_texts(&ours, &theirs).unwrap();
    bench.up(Role::They);

    let moves = |from: &str, to: &str, wait: bool| {
        peer.crash();
        east.run(&format!(
            "ip addr flush dev eth1 && ip addr add {to}/24 dev eth1 && ip route replace default via 192.1.2.254"
        ))
        .ok();
        let gone = format!("! ipsec auto --status | grep -F '{from}'");
        if wait {
            bench.west(DEAD, &gone);
            west.run("ipsec eroute").ok().never_says("192.0.2.0");
        }
        let theirs = theirs.replace("192.1.2.23", to);
        let file = match kind {
            Kind::Libreswan => "/etc/ipsec.conf",
            _ => "/etc/swanctl/swanctl.conf",
        };
        east.write(file, &theirs);
        peer.start();
        bench.up(Role::They);
        bench.west(DEAD, &gone);
        bench.reaches(1);
    };
    moves("192.1.2.23", "192.1.2.24", true);
    moves("192.1.2.24", "192.1.2.25", false);
}

/// strongSwan's configuration, with dead peer detection that begins anew.
fn strongswan_asking(theirs: &str) -> String {
    theirs
        .replace(
            "version = 1\n",
            "version = 1\n        keyingtries = 0\n        dpd_delay = 30s\n        dpd_timeout = 120s\n",
        )
        .replace(
            "mode = tunnel\n",
            "mode = tunnel\n                dpd_action = restart\n",
        )
}

/// A road warrior whose address changes while it runs, under traffic. In IKEv1 there is no word for that: it begins anew from there, or
/// we find that it does not answer any more. In the end it has no address at all, for longer than anybody may be silent.
fn moves_while_it_runs(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Watched(Bench::new(&testbed, kind));
    let why = "dpdaction=clear takes the route to a dead road warrior's net away";
    bench.0.net().watch.end(why);
    let (west, east) = (&bench.0.net().west, &bench.0.net().east);
    let row = plain_row(kind);
    let ours = bench.0.ours_of(&row);
    let ours = ours.replace("right=192.1.2.23", "right=%any") + DPD + "\tdpdaction=clear\n";
    let theirs = bench.0.theirs_of(&row);
    let theirs = theirs.replace("local_addrs = 192.1.2.23", "local_addrs = %any");
    let theirs = strongswan_asking(&theirs);
    bench.0.load_texts(&ours, &theirs).unwrap();
    bench.up(Role::They);
    let process = east.run("pgrep -x charon").ok().stdout;
    let _traffic = bench.0.net().sunset.spawn("exec ping -n -q -i 1 192.0.2.1");

    let gone = |from: &str| format!("! ipsec auto --status | grep -F '{from}'");
    let gets = |to: &str| {
        let script = format!(
            "ip addr flush dev eth1 && ip addr add {to}/24 dev eth1 && ip route replace default via 192.1.2.254"
        );
        east.run(&script).ok();
    };
    let here = |to: &str| {
        bench.west(DEAD + AGAIN, &format!("ipsec eroute | grep -F '@{to}'"));
        bench.reaches(10);
    };
    for (from, to) in [("192.1.2.23", "192.1.2.24"), ("192.1.2.24", "192.1.2.25")] {
        gets(to);
        bench.west(DEAD, &gone(from));
        here(to);
        west.run_for("sleep 60", Duration::from_secs(120)).ok();
        bench.reaches(1);
    }

    east.run("ip addr flush dev eth1").ok();
    bench.west(DEAD, &gone("192.1.2.25"));
    west.run("ipsec eroute").ok().never_says("192.0.2.0");
    west.run_for("sleep 200", Duration::from_secs(260)).ok();
    gets("192.1.2.26");
    here("192.1.2.26");
    assert_eq!(east.run("pgrep -x charon").ok().stdout, process);
}

/// It is configured to ask after us and to begin anew.
fn asks_after_us(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Watched(Bench::new(&testbed, kind));
    let (west, peer) = (&bench.0.net().west, bench.0.peer());
    bench.tunnel(Role::They, "", |theirs| match kind {
        Kind::Libreswan => format!("{theirs}{DPD}\tdpdaction=restart\n"),
        _ => strongswan_asking(&theirs),
    });

    if kind == Kind::Libreswan {
        // It logs only then what it asks.
        peer.run("ipsec whack --debug base").ok();
    }

    // Idle for ten minutes: it asks, and we answer.
    let before = peer.spis();
    west.run_for("sleep 600", Duration::from_secs(660)).ok();
    let answers = match kind {
        Kind::Libreswan => "grep -c 'DPD: R_U_THERE_ACK, seqno received' /run/pluto/pluto.log",
        _ => "grep -c 'parsed INFORMATIONAL_V1 .*N(DPD_ACK)' /run/charon.log",
    };
    let answers = peer.run(answers).stdout;
    assert!(
        answers.trim().parse().is_ok_and(|count: u32| count >= 10),
        "{answers} answers: {}",
        bench.logs()
    );
    assert_eq!(peer.spis(), before);
    bench.reaches(1);

    // Frozen, for longer than it waits for us.
    west.run("pkill -STOP -x pluto").ok();
    west.run_for("sleep 400", Duration::from_secs(460)).ok();
    let still: Vec<String> = peer.spis();
    assert!(
        before.iter().all(|spi| !still.contains(spi)),
        "{still:?} {}",
        bench.logs()
    );
    west.run("pkill -CONT -x pluto").ok();
    bench.reaches(DEAD + AGAIN);
    let after = peer.spis();
    assert_all_new(&before, &after);

    // Killed; who watches starts us again. The kernel module goes on with the old keys, until the peer has found that nobody answers.
    west.run("pkill -KILL -x 'pluto|klipsd'").ok();
    let old = after.join("' -e '");
    let gone = format!("! ip xfrm state | grep -F -e '{old}'");
    bench.within(peer.host(), DEAD + AGAIN, &gone);
    bench.reaches(AGAIN);
    assert_all_new(&after, &peer.spis());
}

#[track_caller]
fn assert_all_new(before: &[String], after: &[String]) {
    assert!(
        after.len() >= 2 && after.iter().all(|spi| !before.contains(spi)),
        "{before:?} {after:?}"
    );
}
