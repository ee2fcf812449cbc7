//! KLIPS in the kernel is what klipsd is: the same answers to the same PF_KEY messages, and the same texts. And what only
//! the kernel's has: `/proc`, sysctls, who may open its socket, and another owner of PF_KEY.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;

use ipsec_types::{MagicSpi, SaId, SaProto};
use messages::{broken, build, eroute, requests, said, timeless};
use pfkey::client::{Client, Control, Table};
use pfkey::request::{self, Ids};
use pfkey::{Header, MAX_MESSAGE_LEN, SaFlags, SaType};
use testing::Stage;

mod messages;

testing::on_klips_ko!(
    the_same_conversation,
    a_hundred_thousand_eroutes,
    switches,
    who_does_not_read_loses_and_waits,
    not_for_everybody,
    af_key_was_there_first,
    attached_by_tncfg,
);

const IDS: Ids = Ids { seq: 7, pid: 4242 };
/// The sequence number of the question whose answer comes after everything else.
const LAST: u32 = 0x00ff_ff00;

fn run(program: &str, args: &[&str]) -> Output {
    let path = format!(
        "{}:/usr/sbin:/usr/bin:/sbin:/bin",
        Stage::find().sbin().display()
    );
    Command::new(program)
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a shell script says on both its outputs, and whether it succeeded.
fn sh(script: &str) -> (bool, String) {
    let done = run("sh", &["-c", script]);
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn ok(script: &str) -> String {
    let (success, said) = sh(script);
    assert!(success, "{script}: {said}");
    said
}

/// A klipsd of its own, beside the module.
struct Klipsd(Child, tempfile::TempDir);

impl Klipsd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(Stage::find().execdir().join("klipsd"))
            .arg("--nofork")
            .arg("--rundir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(dir.path().join("log"))
            .spawn()
            .unwrap();
        let klipsd = Self(child, dir);
        while Client::connect_to(&klipsd.socket()).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        klipsd
    }

    fn socket(&self) -> std::path::PathBuf {
        self.1.path().join("pfkey.sock")
    }
}

impl Drop for Klipsd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One who asks, and one who only listens.
struct Pair([Client; 2]);

impl Pair {
    fn new(connect: impl Fn() -> Client) -> Self {
        Self([connect(), connect()])
    }

    /// Sends a request and gives what each of the two hears of it. A request too broken for an answer has none.
    fn ask(&self, message: &[u8]) -> [Vec<Vec<u8>>; 2] {
        if let Err(error) = self.0[0].send(message) {
            let errno = error.raw_os_error();
            assert!(
                matches!(errno, Some(22 | 90)),
                "{error} for a message of {} octets",
                message.len()
            );
        }
        [0, 1].map(|n| self.heard(n))
    }

    fn heard(&self, n: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let none = said(SaProto::Esp, 0xffff_fff0);
        let ids = Ids { seq: LAST, pid: 1 };
        let question = request::get(&mut buffer, ids, &none, None).unwrap();
        self.0[n].send(question).unwrap();
        let mut heard = Vec::new();
        loop {
            let reply = self.0[n].recv_within(Duration::from_secs(20)).unwrap();
            let reply = reply.expect("an answer to the last question");
            if Header::parse(reply.bytes()).is_ok_and(|h| h.seq == LAST && h.pid == 1) {
                return heard;
            }
            heard.push(timeless(reply.bytes()));
        }
    }
}

fn the_same_conversation() {
    let klipsd = Klipsd::start();
    let module = Pair::new(|| Client::connect().unwrap());
    let daemon = Pair::new(|| Client::connect_to(&klipsd.socket()).unwrap());
    let requests = requests();
    let mut wrong = broken(&requests);
    wrong.extend(requests.iter().cloned());
    let mut answers = 0;
    for message in requests.iter().chain(&wrong) {
        let (here, there) = (module.ask(message), daemon.ask(message));
        assert_eq!(here, there, "module and klipsd, to {message:02x?}");
        answers += here.iter().flatten().count();
    }
    assert!(answers > requests.len() * 2, "only {answers} answers");
    let control = Control::Daemon(klipsd.1.path().join("klips.ctl"));
    for table in [
        Table::Eroute,
        Table::Spi,
        Table::SpiGrp,
        Table::KlipsDebug,
        Table::Version,
    ] {
        assert_eq!(
            Control::Kernel.table(table).unwrap(),
            control.table(table).unwrap(),
            "{}",
            table.name()
        );
    }
}

fn a_hundred_thousand_eroutes() {
    const COUNT: u32 = 100_000;
    let client = Client::connect().unwrap();
    let mut buffer = [0; MAX_MESSAGE_LEN];
    for n in 0..COUNT {
        let message = eroute(n, SaId::magic(MagicSpi::Drop), SaFlags::NONE);
        client.send(&message).unwrap();
        let reply = Header::parse(client.recv(&mut buffer).unwrap()).unwrap();
        assert_eq!(reply.errno, 0, "eroute {n}");
    }
    let path = "/proc/net/ipsec_eroute";
    let whole = fs::read_to_string(path).unwrap();
    let distinct: HashSet<&str> = whole.lines().collect();
    assert_eq!(
        (whole.lines().count(), distinct.len()),
        (COUNT as usize, COUNT as usize)
    );
    for size in [333, 4096, 1 << 20] {
        let mut file = fs::File::open(path).unwrap();
        let (mut text, mut part) = (Vec::new(), vec![0; size]);
        loop {
            match file.read(&mut part).unwrap() {
                0 => break,
                n => text.extend_from_slice(&part[..n]),
            }
        }
        assert!(text == whole.as_bytes(), "read by {size} octets");
    }
    let file = fs::File::open(path).unwrap();
    let mut part = vec![0; 5000];
    let at = whole.len() / 2;
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, at as u64).unwrap();
    assert!(
        part == whole.as_bytes()[at..at + part.len()],
        "from the middle"
    );
    assert_eq!(
        ok("unshare --net cat /proc/net/ipsec_eroute | wc -l").trim(),
        "0",
        "another namespace has its own"
    );
    client
        .send(&build(|b| request::clear_flows(b, IDS)))
        .unwrap();
    client.recv(&mut buffer).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "");
}

fn switches() {
    let path = |name: &str| format!("/proc/sys/net/ipsec/{name}");
    for (name, value, answer) in [
        ("icmp", "0\n", "0\n"),
        ("icmp", "1", "1\n"),
        ("inbound_policy_check", "0", "0\n"),
        ("tos", "0", "0\n"),
        ("hidetos", "1", "1\n"),
        ("fragicmp", "0", "0\n"),
        ("debug_esp", "0xffffffff", "4294967295\n"),
        ("debug_verbose", "17", "17\n"),
    ] {
        fs::write(path(name), value).unwrap();
        assert_eq!(fs::read_to_string(path(name)).unwrap(), answer, "{name}");
    }
    assert_eq!(
        fs::read_to_string(path("tos")).unwrap(),
        "1\n",
        "hidetos is tos"
    );
    for (name, value) in [
        ("icmp", "2"),
        ("icmp", "yes"),
        ("icmp", "-1"),
        ("debug_esp", "-1"),
        ("debug_esp", "0x100000000"),
        ("tos", "1x"),
    ] {
        let error = fs::write(path(name), value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}={value}");
    }
    let error = Control::Kernel
        .set_sysctl("icmp", "2")
        .unwrap_err()
        .to_string();
    assert!(error.contains("`2' not taken"), "{error}");
    assert!(ok("ipsec klipsdebug").contains("debug_esp=ffffffff."));
    ok("ipsec klipsdebug --none");
    assert_eq!(fs::read_to_string(path("debug_esp")).unwrap(), "0\n");
    assert_eq!(
        ok("unshare --net sh -c 'echo 0 >/proc/sys/net/ipsec/icmp; cat /proc/sys/net/ipsec/icmp'"),
        "0\n"
    );
    assert_eq!(
        fs::read_to_string(path("icmp")).unwrap(),
        "1\n",
        "each namespace its own"
    );
}

fn who_does_not_read_loses_and_waits() {
    let asker = Client::connect().unwrap();
    let sleeper = Client::connect().unwrap();
    asker.set_nonblocking(true).unwrap();
    sleeper.set_nonblocking(true).unwrap();
    let flush = build(|b| request::flush(b, IDS, SaType::Unspec));
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let mut sent = 0;
    let refused = loop {
        match asker.send(&flush) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1_000_000, "what is not read is kept without end");
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert!(sent > 1000, "only {sent} answers have room");
    // All of its own answers are there.
    for n in 0..sent {
        assert!(asker.recv(&mut buffer).is_ok(), "answer {n} of {sent}");
    }
    asker.send(&flush).unwrap();
    // The sleeper had as much room, then lost some, and learns so.
    let error = sleeper.recv(&mut buffer).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(105), "{error}");
    assert!(sleeper.recv(&mut buffer).is_ok());
}

fn not_for_everybody() {
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let (done, said) = sh(&format!("{nobody} \"$(command -v ipsec)\" eroute --clear"));
    assert!(!done && said.contains("must be run as root"), "{said}");
    let (done, said) = sh(&format!(
        "{nobody} sh -c 'echo 0 >/proc/sys/net/ipsec/icmp'"
    ));
    assert!(!done && said.contains("ermission denied"), "{said}");
    let (done, said) = sh(&format!("{nobody} cat /proc/net/ipsec_spi"));
    assert!(!done && said.contains("ermission denied"), "{said}");
    let (done, said) = sh(&format!("{nobody} cat /proc/net/ipsec_eroute"));
    assert!(!done && said.contains("ermission denied"), "{said}");
    let (done, said) = sh(&format!("{nobody} \"$(command -v ipsec)\" tncfg --clear"));
    assert!(!done && said.contains("must be run as root"), "{said}");
    // Root without the capability is nobody too.
    let (done, said) = sh("setpriv --bounding-set=-net_admin ipsec eroute --clear");
    assert!(!done && said.contains("must be run as root"), "{said}");
}

fn af_key_was_there_first() {
    let module = fs::read_to_string("/run/result/module").unwrap();
    ok("rmmod klips && modprobe af_key");
    let (loaded, said) = sh(&format!("insmod {}", module.trim()));
    let log = ok("dmesg");
    ok("rmmod af_key");
    ok(&format!("insmod {}", module.trim()));
    assert!(!loaded && said.contains("File exists"), "{said}");
    assert!(
        log.contains("klips: PF_KEY belongs to another module already, most likely af_key"),
        "{log}"
    );
    assert!(!Path::new("/proc/net/pfkey").exists() && ok("ipsec eroute").is_empty());
}

fn attached_by_tncfg() {
    ok(
        "ip link add name phys0 type veth peer name phys1 && ip addr add 192.0.2.1/24 dev phys0 && ip link set phys0 up && ip link set phys1 up",
    );
    let free = ok("ipsec tncfg");
    assert!(free.starts_with("ipsec0 -> NULL mtu=0(0) -> 0\n"), "{free}");
    ok("ipsec tncfg --attach --virtual ipsec0 --physical phys0");
    ok("ipsec tncfg --attach --virtual ipsec1 --physical phys1");
    assert!(ok("ipsec tncfg").starts_with(
        "ipsec0 -> phys0 mtu=16260(1500) -> 1500\nipsec1 -> phys1 mtu=16260(1500) -> 1500\n"
    ));
    for (what, remedy) in [
        (
            "--attach --virtual ipsec0 --physical phys0",
            "already attached",
        ),
        ("--attach --virtual ipsec2 --physical c", "no device c"),
        (
            "--attach --virtual ipsec2 --physical ipsec0",
            "an IPsec interface itself",
        ),
        ("--attach --virtual ipsec9 --physical phys0", "devices=N"),
        ("--attach --virtual phys1 --physical phys0", "no ipsecN"),
        ("--detach --virtual ipsec2", "not attached"),
    ] {
        let (done, said) = sh(&format!("ipsec tncfg {what}"));
        assert!(!done && said.contains(remedy), "{what}: {said}");
    }
    ok("ipsec tncfg --detach --virtual ipsec1");
    Control::Kernel
        .attach("ipsec1", "phys0", Some(1400))
        .unwrap();
    assert!(ok("ipsec tncfg").contains("ipsec1 -> phys0 mtu=1400(1500) -> 1500\n"));
    assert!(ok("ip link show ipsec1").contains("mtu 1400"));
    ok("ipsec tncfg --clear");
    assert_eq!(ok("ipsec tncfg"), free);
}
