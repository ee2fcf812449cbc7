//! The daemon's own life: starting, errors with their remedy, kill -9, interfaces that change, PF_KEY upcalls.

mod common;

use std::time::Duration;

use common::*;
use ipsec_types::{MagicSpi, SaId};
use pfkey::{Message, MsgType};
use testing::Testbed;

const LIMIT: Duration = Duration::from_secs(10);

fn one(testbed: &Testbed) -> Gateway {
    let segment = testbed.segment("net", "192.0.2.254/24");
    Gateway::new(testbed, &segment, "east", "192.0.2.1/24", "10.1.0.1/24")
}

#[test]
fn kill_9_leaves_nothing_that_hinders_the_next_one() {
    let testbed = Testbed::new();
    let mut east = one(&testbed);
    assert!(east.ctl("get ipsec_tncfg").contains("ipsec0 -> eth1"));
    east.host.run(&format!("kill -9 {}", east.pid())).ok();
    east.host
        .wait_for("! ip link show ipsec0 2>/dev/null", LIMIT);
    assert!(east.rundir.join("pfkey.sock").exists());
    east.start();
    east.ctl("attach ipsec0 eth1 1400");
    let link = east.host.run("ip link show ipsec0").ok();
    assert!(link.stdout.contains("mtu 1400"), "{link}");
    east.host.run(&format!("kill {}", east.pid())).ok();
    east.host
        .wait_for("! ip link show ipsec0 2>/dev/null", LIMIT);
    east.host.wait_for(
        &format!(
            "! test -e {0}/klipsd.pid && ! test -e {0}/klips.ctl",
            east.rundir.display()
        ),
        LIMIT,
    );
}

#[test]
fn a_second_klipsd_names_the_first() {
    let testbed = Testbed::new();
    let east = one(&testbed);
    for options in ["", "--nofork"] {
        let second = east.host.run(&east.command(options));
        assert_eq!(second.status, 1);
        assert!(
            second.stderr.contains(&format!("pid {}", east.pid())),
            "{second}"
        );
    }
    assert!(
        east.ctl("get ipsec_tncfg").contains("eth1"),
        "the first lives on"
    );
}

#[test]
fn it_goes_to_the_background_when_ready() {
    let testbed = Testbed::new();
    let host = testbed.host("alone");
    let dir = testbed.scratch("alone");
    let command = format!(
        "{} --rundir {}",
        env!("CARGO_BIN_EXE_klipsd"),
        dir.display()
    );
    host.run(&command).ok();
    assert!(dir.join("pfkey.sock").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(dir.join("pfkey.sock"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let pid = std::fs::read_to_string(dir.join("klipsd.pid")).unwrap();
    host.run(&format!("kill {pid}")).ok();
    let bad = host.run(&format!(
        "{} --rundir /proc/nowhere",
        env!("CARGO_BIN_EXE_klipsd")
    ));
    assert!(
        bad.status == 1 && bad.stderr.contains("/proc/nowhere") && bad.stderr.contains("--rundir"),
        "{bad}"
    );
}

#[test]
fn wrong_attachments_say_why() {
    let testbed = Testbed::new();
    let east = one(&testbed);
    east.host
        .run("ip link add down0 type bridge && ip tuntap add dev ipsec4 mode tun")
        .ok();
    for (line, part) in [
        ("attach ipsec1 nosuch0", "no physical interface `nosuch0`"),
        ("attach ipsec1 down0", "ip link set down0 up"),
        ("attach ipsec0 eth1", "ipsec0: already attached"),
        ("attach eth7 eth1", "`eth7` is no IPsec interface name"),
        ("attach ipsec1 ipsec0", "an IPsec interface itself"),
        ("attach ipsec1 eth1 20", "MTU must be at least 68"),
        ("attach ipsec4 eth1", "ip link del ipsec4"),
        ("detach ipsec1", "ipsec1: not attached"),
        ("sysctl nosuch 1", "nosuch"),
        ("sysctl icmp 7", "value not taken"),
    ] {
        let answer = east.ask(line);
        assert!(
            answer.starts_with("error: ") && answer.contains(part),
            "{line}: {answer}"
        );
    }
    assert_eq!(east.ctl("sysctl inbound_policy_check"), "1\n");
    east.ctl("sysctl inbound_policy_check 0");
    assert_eq!(east.ctl("sysctl inbound_policy_check"), "0\n");
}

#[test]
fn without_the_capability_it_says_which_is_missing() {
    let testbed = Testbed::new();
    let host = testbed.host("weak");
    let segment = testbed.segment("net", "");
    host.attach(&segment, "eth1", "192.0.2.1/24");
    let dir = testbed.scratch("weak");
    let klipsd = format!(
        "{} --rundir {}",
        env!("CARGO_BIN_EXE_klipsd"),
        dir.display()
    );
    host.run(&format!(
        "setpriv --bounding-set -net_admin --inh-caps -net_admin -- {klipsd}"
    ))
    .ok();
    let ask = format!(
        "python3 -c \"import socket; s=socket.socket(socket.AF_UNIX); s.connect('{}/klips.ctl'); \
         s.send(b'attach ipsec0 eth1\\n'); print(s.recv(999).decode())\"",
        dir.display()
    );
    let answer = host.run(&ask).ok();
    assert!(answer.stdout.contains("CAP_NET_ADMIN"), "{answer}");
}

#[test]
fn the_physical_device_is_followed() {
    let testbed = Testbed::new();
    let east = one(&testbed);
    east.host.run("ip link set eth1 mtu 1300").ok();
    let follows = |part: &str| {
        for _ in 0..100 {
            if east.ctl("get ipsec_tncfg").contains(part) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no `{part}` in {}", east.ctl("get ipsec_tncfg"));
    };
    follows("1300");
    east.host
        .run("ip link set eth1 down && ip link set eth1 name wan && ip link set wan up")
        .ok();
    follows("wan");
    // ipsec0 stays while there is no wan, with the routes to it, and is attached to the next one.
    east.host
        .run("ip link set ipsec0 up && ip route add 192.0.9.0/24 dev ipsec0 && ip link del wan")
        .ok();
    follows("ipsec0 -> NULL");
    let route = "ip route get 192.0.9.1";
    east.host.run(route).ok().says("dev ipsec0");
    east.host
        .run("ip link add wan type veth peer name peer && ip addr add 192.0.2.1/24 dev wan && ip link set wan up")
        .ok();
    follows("ipsec0 -> wan");
    east.host.run(route).ok().says("dev ipsec0");
    // Detached by a person it waits for nothing.
    east.host.run("ip link del wan").ok();
    follows("ipsec0 -> NULL");
    east.ctl("detach ipsec0");
    east.host
        .wait_for("! ip link show ipsec0 2>/dev/null", LIMIT);
}

#[test]
fn a_trapped_packet_is_held_and_sent_when_the_eroute_passes_it() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "192.0.2.254/24");
    let east = Gateway::new(&testbed, &segment, "east", "192.0.2.1/24", "");
    let flow = nets("192.0.2.1/32", "192.0.2.254/32");
    let daemon = east.register();
    east.eroute(&flow, SaId::magic(MagicSpi::Trap));
    east.host
        .run("ip route add 192.0.2.254/32 dev ipsec0 src 192.0.2.1")
        .ok();
    let ping = east.host.spawn("ping -c 1 -W 8 192.0.2.254");
    let acquire = loop {
        let heard = daemon.recv_within(LIMIT).unwrap().expect("an ACQUIRE");
        if heard.message().unwrap().msg_type() == MsgType::Acquire {
            break heard;
        }
    };
    let message = Message::reply(acquire.bytes()).unwrap();
    assert_eq!(message.acquired().unwrap().dst, address("192.0.2.254"));
    east.pfkey()
        .call(|buf, ids| {
            let pass = SaId::magic(MagicSpi::Pass);
            pfkey::request::add_flow(buf, ids, &flow, pass, pfkey::SaFlags::REPLACEFLOW)
        })
        .expect("ADDFLOW");
    let said = ping.finish();
    assert!(
        said.contains(" 0% packet loss"),
        "{said}\n{}\n{}",
        east.ctl("get ipsec_eroute"),
        east.log()
    );
}

#[test]
fn a_rejected_packet_is_answered_by_icmp() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "192.0.2.254/24");
    let east = Gateway::new(&testbed, &segment, "east", "192.0.2.1/24", "");
    east.eroute(
        &nets("192.0.2.1/32", "192.0.2.254/32"),
        SaId::magic(MagicSpi::Reject),
    );
    east.host
        .run("ip route add 192.0.2.254/32 dev ipsec0 src 192.0.2.1")
        .ok();
    let ping = east.host.run("ping -c 1 -W 2 192.0.2.254");
    assert!(
        ping.stdout.contains("Packet filtered"),
        "{ping}\n{}",
        east.log()
    );
}
