//! IPsec that other people wrote, on a host of the testbed: strongSwan and libreswan, each with the kernel's own ESP, and strongSwan
//! with ESP of its own in user space.
//!
//! `testing/prereqs interop` unpacks them in a cache. A peer's host sees its files laid over `/usr`, has an `/etc` and
//! a `/run` of its own as every host, and no `ipsec` of ours on its path. The kernel's ESP is in test kernels only, so
//! tests with peers go through [`on_klips_ko`](crate::on_klips_ko) or [`in_test_kernel`](crate::in_test_kernel).
//!
//! What a test of ours expects of a peer belongs in `tests/`.

mod libreswan;
mod strongswan;
mod wireshark;

pub use wireshark::WiresharkKeys;

use std::path::PathBuf;
use std::time::Duration;

use crate::{Host, Output};

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// charon, driven by swanctl.
    Strongswan,
    /// libreswan's pluto, driven by its `ipsec`.
    Libreswan,
    /// charon with its plugin kernel-libipsec: ESP in user space, in UDP only, in tunnel mode only. Needs no test kernel.
    Libipsec,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 3] = [Kind::Strongswan, Kind::Libreswan, Kind::Libipsec];

    /// The project's name, and how it does ESP if that is not the kernel's.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Strongswan => "strongswan",
            Kind::Libreswan => "libreswan",
            Kind::Libipsec => "strongswan-libipsec",
        }
    }

    /// Where its programs are unpacked.
    fn files(self) -> PathBuf {
        cache().join(match self {
            Kind::Strongswan | Kind::Libipsec => "strongswan",
            Kind::Libreswan => "libreswan",
        })
    }

    /// The version of Debian's package.
    pub fn version(self) -> String {
        let file = self.files().join("versions");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!(
                "{}: {error}: run testing/prereqs interop first",
                file.display()
            )
        });
        let line = text
            .lines()
            .next()
            .and_then(|line| line.rsplit_once(' '))
            .unwrap_or_else(|| panic!("{} has no version", file.display()));
        line.1.to_owned()
    }
}

/// A running peer.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    host: &'a Host,
    kind: Kind,
}

/// What every command on a peer's host begins with.
const PRELUDE: &str = "unset IPSEC_EXECDIR; PATH=/usr/sbin:/usr/bin:/sbin:/bin\n";

/// A host with a tmpfs where state is kept, and the peer's files over `/usr`. The modules come first, since they lie
/// below `/usr` too; nothing loads them by itself in a test kernel. IPCOMP wants xfrm4_tunnel for what is not worth it.
const LAY: &str =
    "modprobe -qa esp4 esp6 ah4 ah6 ipcomp ipcomp6 xfrm4_tunnel xfrm6_tunnel xfrm_user authenc
mountpoint -q /var/lib || mount -t tmpfs state /var/lib || exit 1
[ -e /run/peer ] || { mount -t overlay peer -o lowerdir=$PEER/usr:/usr /usr && touch /run/peer; }
";

impl<'a> Peer<'a> {
    /// charon with this `swanctl.conf`, loaded; what the file names in `rsa` and `pubkey` has to be there.
    pub fn strongswan(host: &'a Host, conf: &str) -> Peer<'a> {
        let peer = Peer::unstarted(host, Kind::Strongswan);
        host.write("/etc/swanctl/swanctl.conf", conf);
        peer.start();
        peer
    }

    /// libreswan's pluto with this `ipsec.conf` and `ipsec.secrets`; connections with `auto=add` are loaded.
    pub fn libreswan(host: &'a Host, conf: &str, secrets: &str) -> Peer<'a> {
        let peer = Peer::unstarted(host, Kind::Libreswan);
        host.conf(conf).secrets(secrets);
        peer.start();
        peer
    }

    /// The peer on a host where it was started before.
    pub fn running(host: &'a Host, kind: Kind) -> Peer<'a> {
        Peer { host, kind }
    }

    /// A host that has the peer's programs, which do not run yet: to make its keys and files first.
    pub fn unstarted(host: &'a Host, kind: Kind) -> Peer<'a> {
        let files = kind.files();
        assert!(
            files.join("versions").exists(),
            "{} is missing: run testing/prereqs interop first",
            files.display()
        );
        host.run(&format!("PEER={}\n{LAY}", files.display())).ok();
        let peer = Peer { host, kind };
        match kind {
            Kind::Strongswan | Kind::Libipsec => strongswan::prepare(&peer),
            Kind::Libreswan => libreswan::prepare(&peer),
        }
        peer
    }

    /// Its host.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Whose it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Runs a script on its host, where `ipsec`, `swanctl` and `pki` are the peer's.
    pub fn run(&self, script: &str) -> Output {
        self.host.run(&format!("{PRELUDE}{script}"))
    }

    /// Starts the daemon, waits until it listens, and loads what is configured.
    pub fn start(&self) {
        match self.kind {
            Kind::Strongswan | Kind::Libipsec => strongswan::start(self),
            Kind::Libreswan => libreswan::start(self),
        }
    }

    /// Ends the daemon as its own stop does, which deletes its SAs, and tells their other ends.
    pub fn stop(&self) {
        self.run(match self.kind {
            Kind::Strongswan | Kind::Libipsec => "kill $(cat /run/charon.pid)",
            Kind::Libreswan => "ipsec whack --shutdown",
        });
        let gone = "! pgrep -x 'charon|pluto' >/dev/null";
        self.host.wait_for(gone, Duration::from_secs(10));
    }

    /// Kills the daemon, which has no time to tell anybody, and takes out what it left in the kernel.
    pub fn crash(&self) {
        self.host.run(
            "pkill -KILL -x 'charon|pluto'; while pgrep -x 'charon|pluto' >/dev/null; do sleep 0.1; done
             ip xfrm state flush; ip xfrm policy flush; rm -f /run/pluto/pluto.pid /run/pluto/pluto.ctl /run/charon.*",
        );
    }

    /// Stops the daemon where it is; what it has in the kernel goes on.
    pub fn freeze(&self) {
        self.host.run("pkill -STOP -x 'charon|pluto'").ok();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.host.run("pkill -CONT -x 'charon|pluto'").ok();
    }

    /// Loads its configuration anew after its files were changed. `conn` is the one whose text changed.
    pub fn reload(&self, conn: &str) -> Output {
        self.run(&match self.kind {
            Kind::Strongswan | Kind::Libipsec => "swanctl --load-all".to_owned(),
            Kind::Libreswan => {
                format!("ipsec whack --rereadsecrets; ipsec auto --replace {conn}")
            }
        })
    }

    /// Brings a connection up: with strongSwan, the child of that name.
    pub fn up(&self, name: &str) -> Output {
        self.run(&match self.kind {
            Kind::Strongswan | Kind::Libipsec => {
                format!("swanctl --initiate --child {name} --timeout 55")
            }
            Kind::Libreswan => format!("timeout 55 ipsec auto --up {name}"),
        })
    }

    /// Takes it down, ISAKMP SA and all.
    pub fn down(&self, name: &str) -> Output {
        self.run(&match self.kind {
            Kind::Strongswan | Kind::Libipsec => {
                format!("swanctl --terminate --ike {name} --timeout 10")
            }
            Kind::Libreswan => format!("ipsec auto --down {name}"),
        })
    }

    /// Replaces its IPsec SA by a new one.
    pub fn rekey(&self, name: &str) -> Output {
        self.run(&match self.kind {
            Kind::Strongswan | Kind::Libipsec => format!("swanctl --rekey --child {name}"),
            // Its --rekey-ipsec is for IKEv2 only.
            Kind::Libreswan => format!("timeout 55 ipsec auto --up {name}"),
        })
    }

    /// What it says of its SAs, in its own words.
    pub fn status(&self) -> String {
        let script = match self.kind {
            Kind::Strongswan | Kind::Libipsec => "swanctl --list-sas",
            Kind::Libreswan => "ipsec whack --showstates; ipsec whack --trafficstatus",
        };
        self.run(script).stdout
    }

    /// The kernel's SAs on its host. What has no algorithm is none: an SPI that was given out for a negotiation, which
    /// goes by itself, or the IPIP that IPCOMP leans on.
    pub fn kernel_sas(&self) -> String {
        if self.kind == Kind::Libipsec {
            return String::new();
        }
        let all = self.host.run("ip xfrm state").ok().stdout;
        let mut sas: Vec<String> = Vec::new();
        for line in all.lines() {
            match sas.last_mut() {
                Some(sa) if !line.starts_with("src ") => *sa += &format!("{line}\n"),
                _ => sas.push(format!("{line}\n")),
            }
        }
        let algorithm = ["\tauth", "\tenc ", "\taead ", "\tcomp "];
        sas.retain(|sa| algorithm.iter().any(|name| sa.contains(name)));
        sas.concat()
    }

    /// What is left of SAs, in the daemon and in the kernel; empty when nothing is.
    pub fn leftovers(&self) -> String {
        let said = self.status();
        let states = said
            .lines()
            // libreswan closes its list with a blank line or with the code alone.
            .filter(|line| !line.trim_start_matches("000").trim().is_empty());
        let states: Vec<&str> = states.collect();
        states.join("\n") + &self.kernel_sas()
    }

    /// The SPIs of its IPsec SAs, in order.
    pub fn spis(&self) -> Vec<String> {
        let spi = |line: &str| -> Option<String> {
            if self.kind != Kind::Libipsec {
                return Some(line.split_once("spi ")?.1.split(' ').next()?.to_owned());
            }
            // `    in  c9d94d40,     60 bytes, ...`
            let mut words = line.split_whitespace();
            let way = words.next()?;
            let spi = words.next()?.trim_end_matches(',');
            matches!(way, "in" | "out").then(|| format!("0x{spi}"))
        };
        let said = match self.kind {
            Kind::Libipsec => self.status(),
            _ => self.kernel_sas(),
        };
        let mut spis: Vec<String> = said.lines().filter_map(spi).collect();
        spis.sort();
        spis
    }

    /// The end of the daemon's log.
    pub fn log(&self) -> String {
        let file = match self.kind {
            Kind::Strongswan | Kind::Libipsec => "/run/charon.log",
            Kind::Libreswan => "/run/pluto/pluto.log",
        };
        let text = self.host.run(&format!("tail -n 80 {file}")).stdout;
        format!(
            "log of {} on {}:\n{text}",
            self.kind.name(),
            self.host.name()
        )
    }

    /// Makes an RSA key, if there is none, and gives the public half as `leftrsasigkey=` takes it (RFC 3110, `0s…`).
    pub fn rsa_key(&self) -> String {
        match self.kind {
            Kind::Strongswan | Kind::Libipsec => strongswan::rsa_key(self),
            Kind::Libreswan => libreswan::rsa_key(self),
        }
    }
}

/// The directory that `testing/prereqs interop` unpacks to.
fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("there is a home directory");
            PathBuf::from(home).join(".cache")
        },
        PathBuf::from,
    );
    base.join("freeswan-peers")
}
