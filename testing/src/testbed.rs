//! The small internet that a test's hosts live in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::shell::Holder;
use crate::{Capture, Host, Stage, Watch, watch};

/// A world: segments join its hosts; all of it ends when this value is dropped.
///
/// The world itself has an address on each segment and forwards between them, as the `nic` host of FreeS/WAN's
/// testing did; hosts that should reach another segment through it take that address as their gateway.
pub struct Testbed {
    pub(crate) world: Holder,
    pub(crate) stage: Stage,
    scratch: TempDir,
}

impl Testbed {
    /// An empty world. Panics with the reason where namespaces can't be made.
    pub fn new() -> Testbed {
        let setup = "ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward \
                     && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding \
                     && echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad";
        Testbed {
            world: Holder::new("world", None, &["--net", "--mount", "--uts"], setup),
            stage: Stage::find(),
            scratch: tempfile::Builder::new()
                .prefix("testbed")
                .tempdir()
                .expect("a scratch directory"),
        }
    }

    /// A segment, as `br-NAME` in the world, with the world's address on it (`192.1.2.254/24`; none if empty).
    pub fn segment(&self, name: &str, address: &str) -> Segment<'_> {
        let bridge = format!("br-{name}");
        let mut script =
            format!("ip link add {bridge} type bridge mcast_snooping 0 && ip link set {bridge} up");
        if !address.is_empty() {
            script += &format!(" && ip addr add {address} dev {bridge} nodad");
        }
        self.run(&script);
        Segment {
            testbed: self,
            bridge,
            watched: AtomicBool::new(false),
        }
    }

    /// A host with nothing but a loopback interface.
    pub fn host(&self, name: &str) -> Host {
        Host::new(self, name)
    }

    /// A direct link between two hosts' interfaces of one name, for measurements where a bridge would count.
    pub fn link(&self, interface: &str, ends: [(&Host, &str); 2]) {
        let [(a, _), (b, _)] = ends;
        self.run(&format!(
            "ip link add {interface} netns {} type veth peer name {interface} netns {}",
            a.pid(),
            b.pid()
        ));
        for (host, address) in ends {
            host.run(&format!(
                "ip addr add {address} dev {interface} && ip link set {interface} up"
            ))
            .ok();
        }
    }

    /// Runs a script in the world, which must succeed.
    pub fn run(&self, script: &str) -> crate::Output {
        self.world
            .run(&[], script, b"", Duration::from_secs(60))
            .ok()
    }

    fn try_run(&self, script: &str) -> crate::Output {
        self.world.run(&[], script, b"", Duration::from_secs(60))
    }

    /// A file name for the test's own use; the file goes with the testbed.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The directory that [`Testbed::scratch`] is in.
    pub fn scratch_dir(&self) -> &Path {
        self.scratch.path()
    }
}

impl Default for Testbed {
    fn default() -> Self {
        Testbed::new()
    }
}

/// A wire between hosts, which the world can watch.
pub struct Segment<'a> {
    pub(crate) testbed: &'a Testbed,
    pub(crate) bridge: String,
    watched: AtomicBool,
}

impl<'a> Segment<'a> {
    /// Watches the wire from now on: the test fails if a packet passes in the clear between the two nets of a pair, in either
    /// direction, unless it says that this is right. One observer a wire.
    pub fn watch(&self, pairs: &[(&str, &str)]) -> Watch<'a> {
        let watch = Watch::start(self, pairs);
        self.watched.store(true, Ordering::Relaxed);
        watch
    }

    /// A cable has come to this port.
    pub(crate) fn port_added(&self, port: &str) {
        if self.watched.load(Ordering::Relaxed) {
            self.testbed.run(&watch::watch_port(&self.bridge, port));
        }
    }

    /// Starts to record what passes; `filter` is in tcpdump's language, empty for all.
    pub fn capture(&self, filter: &str) -> Capture {
        Capture::start(self.testbed, &self.bridge, filter)
    }

    /// Loses this share of the packets that pass, at random; 0 ends it.
    ///
    /// By netem where the kernel has it, else by nftables where each host's cable enters.
    pub fn lose(&self, percent: f64) {
        let table = format!("loss-{}", self.bridge);
        self.testbed.run(&format!(
            "nft delete table netdev {table} 2>/dev/null; true"
        ));
        if self.try_netem(&match percent {
            ..=0.0 => String::new(),
            _ => format!("loss {percent}%"),
        }) || percent <= 0.0
        {
            return;
        }
        let last = (percent * 10.0).round().clamp(1.0, 1000.0) as u32 - 1;
        self.testbed.run(&format!(
            "nft add table netdev {table} || exit 1; \
             ip -o link show master {bridge} | sed 's/^[0-9]*: //; s/[@:].*//' | while read -r port; do \
               nft \"add chain netdev {table} $port {{ type filter hook ingress device $port priority 0; }}\" \
               && nft \"add rule netdev {table} $port numgen random mod 1000 <= {last} drop\" || exit 1; \
             done",
            bridge = self.bridge
        ));
    }

    /// What hosts send into the segment passes netem with these parameters (`delay 30ms 5ms reorder 25%`); none ends it.
    ///
    /// Only in a test kernel: others may have no netem.
    pub fn netem(&self, parameters: &str) {
        assert!(self.try_netem(parameters), "this kernel has no netem");
    }

    fn try_netem(&self, parameters: &str) -> bool {
        let change = if parameters.is_empty() {
            // A device that came meanwhile has none.
            "if tc qdisc show dev $port | grep -q netem; then tc qdisc del dev $port root; fi"
                .to_owned()
        } else {
            format!("tc qdisc replace dev $port root netem {parameters}")
        };
        let script = format!(
            "ip -o link show master {} | sed 's/^[0-9]*: //; s/[@:].*//' | while read -r port; do \
               {{ {change}; }} || exit 1; \
             done",
            self.bridge
        );
        self.testbed.try_run(&script).status == 0
    }
}
