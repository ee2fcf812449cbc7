//! What the daemons can do once they run, and what the service manager hears of them.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(g11_daemons_keep_only_what_they_use);

/// Bits of `Cap*` in /proc/PID/status.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;

fn pid(host: &Host, daemon: &str) -> Option<String> {
    let found = host.run(&format!("cat /run/pluto/{daemon}.pid"));
    (found.status == 0).then(|| found.stdout.trim().to_owned())
}

fn check(host: &Host, daemon: &str, kept: u64) {
    let Some(pid) = pid(host, daemon) else {
        // klips.ko.
        assert_eq!(daemon, "klipsd");
        return;
    };
    let status = host.run(&format!("cat /proc/{pid}/status")).ok().stdout;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches(':').trim().to_owned())
    };
    let set = |name: &str| {
        let text = field(name).unwrap_or_else(|| panic!("{daemon} has no {name}: {status}"));
        u64::from_str_radix(&text, 16).expect("a number")
    };
    assert_eq!(set("CapEff"), kept, "{daemon}: {status}");
    assert_eq!(set("CapPrm"), kept, "{daemon}: {status}");
    assert_eq!(set("CapBnd"), kept, "{daemon}: {status}");
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0), "{daemon}: {status}");
    assert_eq!(
        field("NoNewPrivs").as_deref(),
        Some("1"),
        "{daemon}: {status}"
    );
    match field("Seccomp") {
        Some(mode) => assert_eq!(mode, "2", "{daemon}: {status}"),
        None => host.log_says("no seccomp filters"),
    }
    // Not dumpable: not even the same user with the same capabilities sees its memory.
    let alike = "setpriv --bounding-set=-all,+net_admin,+net_raw,+net_bind_service";
    let look = |whose: &str| host.run(&format!("{alike} cat /proc/{whose}/environ >/dev/null"));
    look("self").ok();
    look(&pid).fails();
    let limits = host.run(&format!("grep 'Max core' /proc/{pid}/limits"));
    let limits = limits.ok().stdout;
    assert!(
        limits.split_whitespace().filter(|w| *w == "0").count() == 2,
        "{limits}"
    );
}

trait Log {
    fn log_says(&self, text: &str);
}

impl Log for Host {
    fn log_says(&self, text: &str) {
        assert!(self.log().contains(text), "{}", self.log());
    }
}

/// A tunnel with all that goes with it: updown scripts, secrets read again, an address and an ipsecN that come later.
fn g11_daemons_keep_only_what_they_use() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    check(&net.west, "pluto", NET_ADMIN | NET_BIND_SERVICE);
    check(&net.west, "klipsd", NET_ADMIN | NET_RAW);
    assert_eq!(net.pings(3, "0.1", "ff"), 3);

    net.west.run("ipsec auto --rereadsecrets").ok();
    net.west.run("ip addr add 192.1.2.46/24 dev eth1").ok();
    net.west.wait_for(
        "ss -Huln | grep -q '192.1.2.46:500 '; ipsec auto --ready; ss -Huln | grep -q '192.1.2.46:500 '",
        Duration::from_secs(10),
    );
    net.west.run("ipsec auto --down net-to-net").ok();
    net.up("net-to-net");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    net.west.run("ipsec setup stop").ok();
    net.west.run("pgrep -x 'pluto|klipsd|pluto-updown'").fails();
}

/// Waits for a message to the service manager that holds `text`.
fn hears(manager: &UnixDatagram, text: &str) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    let mut heard = String::new();
    while Instant::now() < end {
        let mut buffer = [0; 1024];
        if let Ok(length) = manager.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.contains(text) {
                return message;
            }
            heard.push_str(&message);
        }
    }
    panic!("no {text} in: {heard}");
}

#[test]
fn g11_the_service_manager_is_told() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    let path = testbed.scratch("manager").join("notify");
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let patience = Some(Duration::from_secs(1));
    manager.set_read_timeout(patience).expect("a time-out");

    let start = format!(
        "NOTIFY_SOCKET={} WATCHDOG_USEC=1500000 ipsec setup start",
        path.display()
    );
    net.west.run(&start).ok();
    let ready = hears(&manager, "READY=1");
    let main = ready.lines().find_map(|line| line.strip_prefix("MAINPID="));
    let main = main
        .unwrap_or_else(|| panic!("no main process in {ready}"))
        .to_owned();
    net.west.run(&format!("kill -0 {main}")).ok();
    hears(&manager, "WATCHDOG=1");

    // A daemon that hangs is not said to work.
    let pluto = pid(&net.west, "pluto").expect("pluto runs");
    net.west.run(&format!("kill -STOP {pluto}")).ok();
    let silent = Instant::now();
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(3) {
        assert!(
            silent.elapsed() < Duration::from_secs(30),
            "it is said to work"
        );
        let mut buffer = [0; 1024];
        if manager.recv(&mut buffer).is_ok() {
            last = Instant::now();
        }
    }
    net.west.run(&format!("kill -CONT {pluto}")).ok();
    hears(&manager, "WATCHDOG=1");

    // One that dies is started again, and the main process stays.
    net.west.run(&format!("kill -KILL {pluto}")).ok();
    hears(&manager, "STATUS=pluto has died");
    hears(&manager, "STATUS=restarted");
    assert_ne!(pid(&net.west, "pluto"), Some(pluto));
    net.west.run(&format!("kill -0 {main}")).ok();

    // It ends with IPsec.
    net.west.run("ipsec setup stop").ok();
    let gone = format!("! kill -0 {main} 2>/dev/null");
    net.west.wait_for(&gone, Duration::from_secs(10));
}

#[test]
fn g11_the_unit_is_sandboxed() {
    let testbed = Testbed::new();
    let host = testbed.host("alone");
    if host.run("command -v systemd-analyze").status != 0 {
        eprintln!("systemd-analyze is not installed: the unit is not looked at");
        return;
    }
    let unit = include_str!("../../conf/ipsec.service").replace("@PREFIX@", "/usr/local");
    host.write("/run/ipsec.service", &unit);
    let said = host
        .run("systemd-analyze security --offline=true /run/ipsec.service")
        .ok();
    let level = said
        .lines()
        .find_map(|line| line.split("ipsec.service: ").nth(1)?.split(' ').next())
        .expect("an exposure level");
    let level: f32 = level.parse().expect("a number");
    assert!(level < 3.5, "{said}");
}
