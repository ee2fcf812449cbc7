//! klips.ko as administrators and their firewalls meet it: files and modes, parameters and names, marks, what a stranger with a
//! namespace of his own may take.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto, Selector};
use nix::errno::Errno;
use pfkey::client::{Client, Control};
use pfkey::request::{self, Ids, SaParams};
use pfkey::{Header, MAX_MESSAGE_LEN, MsgType, SaFlags, SaType};
use testing::{Gateways, Host, Keys, Netns, Testbed, module, sh};
use tunnel::{EAST_INNER, Pair, Traffic, WEST, WEST_INNER, said, subnet};

mod tunnel;

testing::on_klips_ko!(
    k5_f4_files_parameters_and_names_are_as_freeswans,
    k3_f2_marks_and_what_firewalls_look_for,
    d5_a_dump_that_nobody_reads_takes_what_the_socket_has,
);

const IDS: Ids = Ids { seq: 7, pid: 7 };

/// What `find /proc/net/ipsec -ls` shows in FreeS/WAN's own test proc-fs-01, without sizes and dates.
const FILES: &str = "\
dr-xr-xr-x /proc/net/ipsec
dr-xr-xr-x /proc/net/ipsec/birth
-r-------- /proc/net/ipsec/birth/ipv4
-r-------- /proc/net/ipsec/birth/ipv6
dr-xr-xr-x /proc/net/ipsec/eroute
-r-------- /proc/net/ipsec/eroute/all
-r-------- /proc/net/ipsec/klipsdebug
dr-xr-xr-x /proc/net/ipsec/spi
-r-------- /proc/net/ipsec/spi/all
dr-xr-xr-x /proc/net/ipsec/spigrp
-r-------- /proc/net/ipsec/spigrp/all
dr-xr-xr-x /proc/net/ipsec/stats
-r-------- /proc/net/ipsec/stats/trap_count
-r-------- /proc/net/ipsec/stats/trap_sendcount
-r-------- /proc/net/ipsec/tncfg
-r-------- /proc/net/ipsec/version
";
/// And the names beside it.
const LINKS: &str = "\
/proc/net/ipsec_eroute -> ipsec/eroute/all
/proc/net/ipsec_klipsdebug -> ipsec/klipsdebug
/proc/net/ipsec_spi -> ipsec/spi/all
/proc/net/ipsec_spigrp -> ipsec/spigrp/all
/proc/net/ipsec_tncfg -> ipsec/tncfg
/proc/net/ipsec_version -> ipsec/version
";

fn k5_f4_files_parameters_and_names_are_as_freeswans() {
    files();
    names_and_counters();
    for (count, devices) in [
        ("0", None),
        ("11", None),
        ("x", None),
        ("2", Some(2)),
        ("10", Some(10)),
    ] {
        module::unload().expect("nobody uses it");
        let loaded = module::load_with(&format!("devices={count}"));
        match devices {
            None => {
                assert_eq!(loaded, Err(Errno::EINVAL), "devices={count}");
                let log = sh("dmesg | grep 'klips: devices=' | tail -n 1");
                assert!(log.contains("a number from 1 to 10"), "{log}");
                module::load().expect("it is well");
            }
            Some(devices) => {
                assert_eq!(loaded, Ok(()));
                let made = sh("ls -d /sys/class/net/ipsec* | wc -l");
                assert_eq!(made.trim(), devices.to_string());
            }
        }
    }
}

fn files() {
    let found = sh("find /proc/net/ipsec -printf '%M %p\\n' | sort -k2");
    assert_eq!(found, FILES);
    assert_eq!(
        sh("find /proc/net/ -name 'ipsec_*' -printf '%p -> %l\\n' | sort"),
        LINKS
    );
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    for name in LINKS.lines().filter_map(|line| line.split(' ').next()) {
        let refused = sh(&format!("{nobody} cat {name} 2>&1 || true"));
        assert!(refused.contains("ermission denied"), "{name}: {refused}");
        sh(&format!("cat {name}"));
    }
    // Root of a namespace has his own.
    sh("unshare --user --map-root-user --net cat /proc/net/ipsec_version");
    // A birth packet is what was written there, whatever octets it has, 256 at most.
    let birth = "/proc/net/ipsec/birth/ipv4";
    assert_eq!(fs::read(birth).expect("root may"), b"");
    fs::write(birth, [0, 255, b'a', 10]).expect("root may");
    assert_eq!(fs::read(birth).expect("root may"), [0, 255, b'a', 10]);
    fs::write(birth, [7; 300]).expect("what is too long is cut");
    assert_eq!(fs::read(birth).expect("root may"), [7; 256]);
    assert_eq!(
        fs::read("/proc/net/ipsec/birth/ipv6").expect("root may"),
        b""
    );
    assert!(fs::write("/proc/net/ipsec/version", "x").is_err());
    sh("rm -f /proc/net/ipsec_version 2>/dev/null; cat /proc/net/ipsec/stats/*");
}

fn names_and_counters() {
    let net = Netns::new();
    net.sh(
        "ip link add eth0 type veth peer name eth9 && ip link set eth0 up && ip link set eth9 up",
    );
    net.enter(|| Control::Kernel.attach("ipsec0", "eth0", None))
        .expect("attached");
    let dropped = |device: &str| {
        net.sh(&format!(
            "cat /sys/class/net/{device}/statistics/tx_dropped"
        ))
    };
    // One that is attached and one that is not; what IPv6 says then is for neighbours, of which there are none.
    net.sh("ip link set ipsec0 up && ip link set ipsec1 up && ip addr add 2001:db8::1/64 dev ipsec0 && sleep 2.5");
    assert_eq!(
        (dropped("ipsec0").trim(), dropped("ipsec1").trim()),
        ("0", "0")
    );
    net.sh("ip link set ipsec0 down && ip link set ipsec0 name vpn && ip link set vpn up");
    let shown = net.sh("cat /proc/net/ipsec_tncfg");
    assert!(
        shown.starts_with("vpn -> eth0 mtu=16260(1500) -> 1500\nipsec1 -> NULL"),
        "{shown}"
    );
    net.enter(|| Control::Kernel.detach("vpn"))
        .expect("by its new name");
    net.sh("ip link set vpn down && ip link set vpn name ipsec0");
    let shown = net.sh("cat /proc/net/ipsec_tncfg");
    assert!(
        shown.starts_with("ipsec0 -> NULL mtu=0(0) -> 0\n"),
        "{shown}"
    );
}

/// The packets that the rules with these comments have counted.
fn counted(host: &Host, comment: &str) -> u64 {
    let rules = host.run("nft list ruleset").ok().stdout;
    let rule = rules
        .lines()
        .find(|rule| rule.contains(&format!("\"{comment}\"")));
    let count = rule.and_then(|rule| rule.split_once("counter packets "));
    count
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{comment}: {rules}"))
}

fn k3_f2_marks_and_what_firewalls_look_for() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    // What sunset sends is marked, and what leaves west is looked at.
    net.west
        .run(
            "nft -f - <<'E'
table inet marks {
  chain in { type filter hook prerouting priority -150
    ip saddr 192.0.1.1 meta mark set 0x42
  }
  chain on { type filter hook forward priority 0
    ip saddr 192.0.1.1 meta priority set 1:7
  }
  chain out { type filter hook postrouting priority 300
    oifname eth1 ip protocol esp counter comment \"all\"
    oifname eth1 ip protocol esp meta mark 0x42 meta priority 1:7 counter comment \"marked\"
    oifname eth1 ip protocol esp ip frag-off & 0x1fff != 0 meta mark 0x42 counter comment \"later\"
  }
}
E",
        )
        .ok();
    net.east
        .run(
            "nft -f - <<'E'
table inet look {
  chain in { type filter hook prerouting priority -150
    iifname ipsec0 counter comment \"all\"
    iifname ipsec0 meta ipsec exists counter comment \"secured\"
    iifname eth0 meta ipsec exists counter comment \"plain\"
  }
}
E",
        )
        .ok();
    net.sunset
        .run("ping -n -q -c 2 -i 0.1 -s 4000 -M dont 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    let all = counted(&net.west, "all");
    assert!(all >= 6, "{all} fragments");
    assert_eq!(counted(&net.west, "marked"), all);
    assert!(counted(&net.west, "later") >= 4);
    let all = counted(&net.east, "all");
    assert!(all > 0);
    assert_eq!(
        (counted(&net.east, "secured"), counted(&net.east, "plain")),
        (all, 0)
    );

    // A held packet goes on as it came.
    let before = counted(&net.west, "marked");
    let eroute = |said: &str| {
        format!(
            "ipsec eroute --replace --eraf inet --src 192.0.1.0/24 --dst 192.0.2.0/24 --said {said}"
        )
    };
    let tunnel = net
        .west
        .run("ipsec eroute | sed -n 's/.* => \\(tun0x.*\\)/\\1/p' | head -n 1")
        .ok()
        .stdout;
    net.west.run(&eroute("%hold")).ok();
    net.sunset.run("ping -n -q -c 1 -W 0.3 192.0.2.1").fails();
    net.west.run(&eroute(tunnel.trim())).ok();
    net.west.wait_for(
        &format!("[ $(nft list ruleset | sed -n 's/.*counter packets \\([0-9]*\\).*\"marked\"/\\1/p') -gt {before} ]"),
        Duration::from_secs(10),
    );
    big_packets_are_asked_for();
}

/// A packet for which the table needs more memory than may be had at once.
fn big_packets_are_asked_for() {
    let pair = Pair::new();
    pair.key();
    let flow = Selector::nets(subnet("10.0.1.1/32"), subnet("10.0.2.1/32"));
    let client = pair.west.enter(|| {
        let mut client = Client::connect().expect("the module is loaded");
        client
            .call(|buf, ids| request::register(buf, ids, SaType::Esp))
            .expect("an answer");
        client
            .call(|buf, ids| {
                request::add_flow(
                    buf,
                    ids,
                    &flow,
                    SaId::magic(MagicSpi::Trap),
                    SaFlags::REPLACEFLOW,
                )
            })
            .expect("it is replaced");
        client
    });
    pair.west.sh("ip link set ipsec0 mtu 60000");
    pair.west.sh(&format!(
        "ping -n -q -c 1 -W 1 -M dont -s 30000 -I {WEST_INNER} {EAST_INNER} || true"
    ));
    let mut asked = 0;
    while let Ok(Some(message)) = client.recv_within(Duration::from_secs(1)) {
        asked += u32::from(
            Header::parse(message.bytes()).is_ok_and(|h| h.msg_type == MsgType::Acquire as u8),
        );
    }
    assert_eq!(
        asked,
        1,
        "{}",
        pair.west
            .sh("cat /proc/net/ipsec_eroute; dmesg | tail -n 5")
    );
    assert_eq!(
        pair.west.sh("cat /proc/net/ipsec/stats/trap_sendcount"),
        "00000001\n"
    );
}

const SAS: u32 = 1500;

/// Whoever has a namespace of his own may ask for all that is in it, as often as he likes, and never read an answer.
fn d5_a_dump_that_nobody_reads_takes_what_the_socket_has() {
    if std::env::var_os("KLIPS_STRANGER").is_none() {
        // As root of a user namespace.
        let me = std::env::current_exe().expect("a running program has a name");
        let done = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(me)
            .args([
                "--exact",
                "klips_ko::d5_a_dump_that_nobody_reads_takes_what_the_socket_has",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env("KLIPS_STRANGER", "1")
            .output()
            .expect("unshare(1) can be run");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        return whole_tables_under_traffic();
    }
    let mut client = Client::connect().expect("the module is loaded");
    for spi in 0x1000..0x1000 + SAS {
        add(&mut client, WEST, spi);
    }
    let room = memory(&client)[1];
    assert!(room < 1 << 20, "a stranger's socket takes {room} octets");
    for _ in 0..3 {
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let dump = request::dump(&mut buffer, IDS, SaType::Esp).expect("a request");
        client.set_nonblocking(true).expect("a socket");
        // The second and third wait for the first one's end.
        let _ = client.send(dump);
    }
    let [taken, room] = memory(&client);
    assert!(
        taken < room + 100_000,
        "{taken} octets wait where {room} may"
    );
    let (mut told, mut buffer) = (0, [0; MAX_MESSAGE_LEN]);
    loop {
        let message = client
            .recv(&mut buffer)
            .expect("the dump goes on as it is read");
        let header = Header::parse(message).expect("a header");
        assert_eq!(
            (header.msg_type, header.errno),
            (MsgType::Dump as u8, 0),
            "{told}"
        );
        told += 1;
        assert_eq!(header.seq, SAS - told);
        if header.seq == 0 {
            break;
        }
    }
    assert_eq!(told, SAS);
}

fn add(client: &mut Client, dst: Ipv4Addr, spi: u32) {
    let params = SaParams {
        auth: AuthAlg::SHA1_HMAC,
        encrypt: EncAlg::AES_CBC,
        auth_key: &[5; 20],
        enc_key: &[6; 16],
        replay: 64,
        ..SaParams::new(
            said(dst, spi, SaProto::Esp),
            Ipv4Addr::new(192, 0, 2, 9).into(),
        )
    };
    client
        .call(|buf, ids| request::add(buf, ids, &params))
        .unwrap_or_else(|error| panic!("{spi}: {error}"));
}

/// What waits in the socket, and how much may, in bytes of the kernel's memory.
fn memory(client: &Client) -> [usize; 2] {
    const SO_MEMINFO: i32 = 55;
    let (mut words, mut len) = ([0u32; 9], 36u32);
    // SAFETY: the array is as long as `len` says.
    let done = unsafe {
        nix::libc::getsockopt(
            client.as_raw_fd(),
            nix::libc::SOL_SOCKET,
            SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    assert_eq!(done, 0);
    [words[0] as usize, words[1] as usize]
}

/// All SAs told and all taken away while packets go on.
fn whole_tables_under_traffic() {
    let pair = Pair::new();
    pair.key();
    let traffic = Traffic::start(&pair);
    traffic.goes_on(10);
    pair.west.enter(|| {
        let mut client = Client::connect().expect("the module is loaded");
        for spi in 0x10_0000..0x10_0000 + SAS {
            add(&mut client, Ipv4Addr::new(192, 0, 2, 77), spi);
        }
        let mut told = 0;
        client
            .dump(SaType::Esp, |_| told += 1)
            .expect("a whole dump");
        assert_eq!(told, SAS + 2);
    });
    traffic.goes_on(10);
    pair.west.enter(|| {
        let mut client = Client::connect().expect("the module is loaded");
        client
            .call(|buf, ids| request::flush(buf, ids, SaType::Unspec))
            .expect("an answer when all are gone");
        client.call(request::clear_flows).expect("an answer");
        assert_eq!(
            fs::read_to_string("/proc/net/ipsec_spi").expect("a file"),
            ""
        );
    });
}
