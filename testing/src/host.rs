//! One machine of the testbed.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::shell::Holder;
use crate::{Output, Segment, Testbed, kernel};

/// A host: its own network, process ids, name, `/etc`, `/run` and `/proc`.
pub struct Host {
    name: String,
    holder: Holder,
    env: Vec<(String, String)>,
}

/// `/etc` shows what may be read of the machine's own, without another IPsec's files, and tests write into it freely: an overlay where
/// that can be had and written to, and else a copy, which takes a thousand times as long in an emulated kernel.
const SETUP: &str = "mount -t tmpfs run /run && mkdir -p /run/etc/new /run/etc/work && laid= \
    && if mount -t overlay etc -o lowerdir=/etc,upperdir=/run/etc/new,workdir=/run/etc/work /etc 2>/dev/null; then \
        { rm -rf /etc/ipsec* && mkdir /etc/ipsec.d && rmdir /etc/ipsec.d && touch /etc/hosts; } 2>/dev/null && laid=yes || umount /etc; \
    fi && if [ -z \"$laid\" ]; then \
        rm -rf /run/etc/new && mkdir /run/etc/new && set -- \
        && for file in /etc/*; do case $file in /etc/ipsec*) ;; *) set -- \"$@\" \"$file\";; esac; done \
        && { cp -a \"$@\" /run/etc/new 2>/dev/null || true; } && mount --bind /run/etc/new /etc; \
    fi \
    && mount -t proc proc /proc && { mount -t sysfs sys /sys 2>/dev/null || true; } \
    && ip link set lo up \
    && echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding \
    && echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter && echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter \
    && echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad";

/// Sends frames that come in hex, a line each, through a packet socket bound to the interface it is given.
const SENDER: &str = r#"
use Socket;
socket(my $s, 17, SOCK_RAW, 0) or die "packet socket: $!";
open(my $f, "<", "/sys/class/net/$ARGV[0]/ifindex") or die "$ARGV[0]: $!";
my $to = pack("S n i S C C a8", 17, 0, <$f>, 0, 0, 0, "");
while (<STDIN>) { chomp; defined(send($s, pack("H*", $_), 0, $to)) or die "send: $!" }
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Host {
    pub(crate) fn new(testbed: &Testbed, name: &str) -> Host {
        let flags = ["--net", "--mount", "--pid", "--uts"];
        let setup = format!("{SETUP} && hostname {name}");
        let holder = Holder::new(name, Some(&testbed.world), &flags, &setup);
        let stage = &testbed.stage;
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", stage.sbin().display());
        let env = vec![
            ("PATH".to_owned(), path),
            (
                "IPSEC_EXECDIR".to_owned(),
                stage.execdir().display().to_string(),
            ),
            ("LC_ALL".to_owned(), "C".to_owned()),
            // The machine's own home is not theirs to write in.
            ("HOME".to_owned(), "/run".to_owned()),
        ];
        Host {
            name: name.to_owned(),
            holder,
            env,
        }
    }

    /// The same host with a variable more in the environment of its commands.
    pub fn with_env(mut self, name: &str, value: &str) -> Host {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an interface on a segment, up, with addresses (`192.1.2.45/24`; several separated by blanks).
    pub fn attach(&self, segment: &Segment<'_>, interface: &str, addresses: &str) -> &Host {
        let bridge = &segment.bridge;
        let port = format!("{}-{interface}", self.name);
        assert!(
            port.len() < 16,
            "{port} is too long for an interface's name"
        );
        segment.testbed.run(&format!(
            "ip link add {port} type veth peer name {interface} netns {pid} && ip link set {port} master {bridge} up",
            pid = self.holder.pid()
        ));
        segment.port_added(&port);
        let mut script = format!("ip link set {interface} up");
        for address in addresses.split_whitespace() {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            script += &format!(" && ip addr add {address} dev {interface} {nodad}");
        }
        self.run(&script).ok();
        self
    }

    /// The default route.
    pub fn gateway(&self, address: &str) -> &Host {
        let family = if address.contains(':') { "-6" } else { "-4" };
        self.run(&format!("ip {family} route replace default via {address}"))
            .ok();
        self
    }

    /// Writes a file; directories on the way are made.
    pub fn write(&self, path: &str, text: &str) -> &Host {
        let script = format!("mkdir -p \"$(dirname {path})\" && umask 077 && cat >{path}");
        self.holder
            .run(&self.env, &script, text.as_bytes(), Duration::from_secs(10))
            .ok();
        self
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        self.run(&format!("cat {path}")).ok().stdout
    }

    /// Writes `/etc/ipsec.conf`.
    pub fn conf(&self, text: &str) -> &Host {
        self.write("/etc/ipsec.conf", text)
    }

    /// Writes `/etc/ipsec.secrets`.
    pub fn secrets(&self, text: &str) -> &Host {
        self.write("/etc/ipsec.secrets", text)
    }

    /// Runs a shell script to its end, a minute at most.
    pub fn run(&self, script: &str) -> Output {
        self.run_for(script, Duration::from_secs(60))
    }

    /// Runs a shell script with another time limit.
    pub fn run_for(&self, script: &str, limit: Duration) -> Output {
        self.holder.run(&self.env, script, b"", limit)
    }

    /// The name by which the machine itself reaches a file of this host's.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.pid()))
    }

    /// Runs `f` in a thread that is in this host's network, so that sockets it opens are this host's. Only as root: a user
    /// namespace can't be entered by a program of several threads.
    pub fn in_network<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let network = File::open(format!("/proc/{}/ns/net", self.holder.pid()))
            .expect("a host has its network");
        let enter = || {
            setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            f()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Sends Ethernet frames by one of this host's interfaces, as they are.
    pub fn send_frames(&self, interface: &str, frames: &[Vec<u8>]) -> &Host {
        let lines: String = frames.iter().map(|frame| hex(frame) + "\n").collect();
        let script = format!("perl -e {} {interface}", crate::shell::quote(SENDER));
        self.holder
            .run(
                &self.env,
                &script,
                lines.as_bytes(),
                Duration::from_secs(30),
            )
            .ok();
        self
    }

    /// Starts a command that goes on in the background until it ends or the host does.
    pub fn spawn(&self, script: &str) -> Background {
        let child = self.holder.command(&self.env, script).spawn();
        Background(child.expect("nsenter(1) can be run"))
    }

    /// Runs the script again and again until it succeeds; panics with its last output after `limit`.
    #[track_caller]
    pub fn wait_for(&self, script: &str, limit: Duration) -> Output {
        let limit = kernel::patience(limit);
        let end = Instant::now() + limit;
        loop {
            let output = self.run(script);
            if output.status == 0 {
                return output;
            }
            assert!(
                Instant::now() < end,
                "not within {limit:?}: {output}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until pluto's log has a line with `text`: it is written a moment after what it tells of.
    #[track_caller]
    pub fn logs(&self, text: &str) -> &Self {
        let script = format!("grep -qF -- '{text}' /run/pluto/pluto.log");
        self.wait_for(&script, Duration::from_secs(10));
        self
    }

    /// The daemons' logs, for messages of failed assertions.
    pub fn log(&self) -> String {
        let script = "for f in /run/pluto/*.log /run/charon.log; do [ -f $f ] && echo \"--- $f\" && tail -n 60 $f; done; true";
        format!("logs of {}:\n{}", self.name, self.run(script).stdout)
    }

    /// What a person types to run a command in this host, with the testbed's `ipsec` first on the path.
    pub fn how_to_enter(&self) -> String {
        let env: Vec<String> = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{} env {}", self.holder.how_to_enter(), env.join(" "))
    }
}

/// A command that goes on in the background; dropping this ends it.
pub struct Background(Child);

impl Background {
    /// Waits for its end, and gives what it wrote.
    pub fn finish(mut self) -> String {
        let mut said = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut said).ok();
        }
        self.0.wait().ok();
        said
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
