//! Two gateways, one of them a peer's, and the attempt at one row after the other.

use std::time::{Duration, Instant};

use super::matrix::{Mode, Role, Row};
use super::text::{self, PublicKeys};
use crate::peer::Kind;
use crate::{Gateways, Host, Keys, Output, Peer, Testbed};

/// Bytes sent each way.
const BYTES: usize = 1 << 20;
/// Sends them.
const BOTH_WAYS: &str = include_str!("both-ways.pl");
/// How long a state or an SA may stay after it was deleted, and a rekeying take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a row failed.
#[derive(Debug)]
pub struct Failure {
    /// In a line.
    pub reason: String,
    /// Configurations and logs of both sides.
    pub logs: String,
}

/// west with our programs and east with a peer's, subnets behind both.
pub struct Bench<'a> {
    net: Gateways<'a>,
    kind: Kind,
    keys: PublicKeys,
}

impl<'a> Bench<'a> {
    /// Hosts, keys and daemons; no connection yet.
    pub fn new(testbed: &'a Testbed, kind: Kind) -> Bench<'a> {
        let net = Gateways::new(testbed, Keys::Psk);
        net.watch.only_from(
            &["192.0.1.0/24", "2001:db8:0:1::/64"],
            "what another program at east lets out is its own",
        );
        net.west
            .run(
                "ipsec newhostkey --output /etc/ipsec.secrets --bits 2048 && \
                 echo '@west @east : PSK \"a secret of at least some length\"' >>/etc/ipsec.secrets",
            )
            .ok();
        let left = net.west.run("ipsec showhostkey --left").ok().stdout;
        let west = left
            .split_once("leftrsasigkey=")
            .unwrap_or_else(|| panic!("no key in {left}"))
            .1
            .trim()
            .to_owned();
        let peer = Peer::unstarted(&net.east, kind);
        let east = peer.rsa_key();
        match kind {
            Kind::Strongswan | Kind::Libipsec => {
                let pem = net.west.run("ipsec showhostkey --pem").ok().stdout;
                net.east.write("/etc/swanctl/pubkey/west.pem", &pem);
                peer.run(
                    "pki --pub --type rsa --in /etc/swanctl/rsa/key.pem --outform pem >/etc/swanctl/pubkey/east.pem",
                )
                .ok();
                net.east.write("/etc/swanctl/swanctl.conf", "");
            }
            Kind::Libreswan => {
                net.east
                    .secrets(&format!("@west @east : PSK \"{}\"\n", text::SECRET))
                    .conf("config setup\n\tikev1-policy=accept\n");
            }
        }
        for host in [&net.sunset, &net.sunrise, &net.west, &net.east] {
            host.run(&format!("head -c {BYTES} /dev/urandom >/run/data"))
                .ok();
            host.write("/run/both-ways.pl", BOTH_WAYS);
        }
        peer.start();
        net.west
            .conf("version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n");
        net.west.run("ipsec setup start").ok();
        Bench {
            net,
            kind,
            keys: PublicKeys { west, east },
        }
    }

    /// The hosts and the wire between the gateways.
    pub fn net(&self) -> &Gateways<'a> {
        &self.net
    }

    /// The peer on east.
    pub fn peer(&self) -> Peer<'_> {
        Peer::running(&self.net.east, self.kind)
    }

    /// Gives both sides a row's configuration.
    ///
    /// # Errors
    /// What the side that refused said.
    pub fn load(&self, row: &Row) -> Result<(), String> {
        self.load_with(row, "")
    }

    /// The same, with lines more at the end of our conn.
    ///
    /// # Errors
    /// What the side that refused said.
    pub fn load_with(&self, row: &Row, more: &str) -> Result<(), String> {
        self.load_apart((row, more), row)
    }

    /// Gives each side its own row, and ours lines more at the end of its conn.
    ///
    /// # Errors
    /// What the side that refused said.
    pub fn load_apart(&self, ours: (&Row, &str), theirs: &Row) -> Result<(), String> {
        let (row, more) = ours;
        self.load_texts(&(self.ours_of(row) + more), &self.theirs_of(theirs))
    }

    /// Our ipsec.conf for a row.
    pub fn ours_of(&self, row: &Row) -> String {
        text::ours(row, &self.keys)
    }

    /// The peer's configuration file for a row.
    pub fn theirs_of(&self, row: &Row) -> String {
        text::theirs(row, &self.keys)
    }

    /// Gives each side its configuration file, where something was changed in a row's.
    ///
    /// # Errors
    /// What the side that refused said.
    pub fn load_texts(&self, ours: &str, theirs: &str) -> Result<(), String> {
        self.net.west.conf(ours);
        match self.kind {
            Kind::Strongswan | Kind::Libipsec => {
                self.net.east.write("/etc/swanctl/swanctl.conf", theirs)
            }
            Kind::Libreswan => self.net.east.conf(theirs),
        };
        said(
            "our configuration",
            &self.net.west.run("ipsec auto --replace cell"),
        )?;
        said("their configuration", &self.peer().reload("cell"))
    }

    /// Brings the row's connection up from the side whose turn it is.
    ///
    /// # Errors
    /// What that side said.
    pub fn up(&self, role: Role) -> Result<(), String> {
        match role {
            Role::We => said("we initiate", &self.ours("timeout 55 ipsec auto --up cell")),
            Role::They => said("they initiate", &self.peer().up("cell")),
        }
    }

    /// Brings the row's connection up `count` times, from both sides in turn, each time ending it on both sides.
    ///
    /// # Errors
    /// Which set-up failed, or left something behind.
    pub fn set_ups(&self, row: &Row, count: u32) -> Result<(), String> {
        self.load(row)?;
        let (here, there) = self.ends(row);
        for turn in 1..=count {
            let role = if turn % 2 == 1 { Role::We } else { Role::They };
            let told =
                |error: String| format!("set-up {turn} of {count}: {error}\n{}", self.logs(row));
            self.up(role).map_err(told)?;
            // The third message of Quick Mode can be lost more than once, and charon asks for it after 4, 11, 24, 47 s.
            let pings = here.run(&format!("ping -n -q -c 5 -i 0.2 -w 55 {there}"));
            if pings.contains(" 0 received") {
                return Err(told(format!("no ping is answered: {pings}")));
            }
            // A lost deletion is nobody's fault, so both are told; and whoever comes back is told again.
            let quiet = wait_until(Duration::from_secs(60), || {
                self.ours("ipsec auto --down cell");
                self.peer().down("cell");
                self.left_of_ours().is_empty() && self.peer().leftovers().is_empty()
            });
            quiet.ok_or_else(|| {
                told(format!(
                    "left behind: ours {}, theirs {}",
                    one_line(&self.left_of_ours()),
                    one_line(&self.peer().leftovers())
                ))
            })?;
        }
        Ok(())
    }

    /// All that is tried of a row; daemons are started anew after a failure.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn attempt(&self, row: &Row) -> Result<(), Failure> {
        assert_eq!(row.peer, self.kind, "the row is for another peer");
        let done = self.steps(row);
        let logs = done.is_err().then(|| self.logs(row));
        self.ours("ipsec auto --delete cell");
        done.map_err(|reason| {
            self.ours("ipsec setup restart");
            self.peer().crash();
            self.peer().start();
            Failure {
                reason,
                logs: logs.unwrap_or_default(),
            }
        })
    }

    fn steps(&self, row: &Row) -> Result<(), String> {
        self.load(row)?;
        self.up(row.role)?;
        self.transfer(row)?;
        self.delete_ours()?;
        self.nothing_left("after our delete")?;
        self.up(row.role)?;
        let (here, there) = self.ends(row);
        said(
            "after the second set-up",
            &here.run(&format!("ping -n -q -c 2 -i 0.1 -W 3 {there}")),
        )?;
        said("their delete", &self.peer().down("cell"))?;
        if row.role == Role::We {
            self.ours_would_come_back()?;
        }
        self.nothing_left("after their delete")
    }

    /// Who talks to whom: our end, and the other's address.
    fn ends(&self, row: &Row) -> (&Host, &'static str) {
        match row.mode {
            Mode::Tunnel => (&self.net.sunset, "192.0.2.1"),
            Mode::Transport => (&self.net.west, "192.1.2.23"),
        }
    }

    /// [`BYTES`] go each way over one TCP connection, while first we and then they replace the SAs.
    fn transfer(&self, row: &Row) -> Result<(), String> {
        let (here, address) = self.ends(row);
        let there = match row.mode {
            Mode::Tunnel => &self.net.sunrise,
            Mode::Transport => &self.net.east,
        };
        let server = there.spawn("exec perl /run/both-ways.pl listen 5001");
        wait_until(PATIENCE, || {
            there.run("ss -ltn | grep -q :5001").status == 0
        })
        .ok_or("no TCP server: the testbed's fault")?;
        let client = here.spawn(&format!("exec perl /run/both-ways.pl {address} 5001"));
        let rekeyed = self.rekeyed();
        for host in [here, there] {
            host.run("touch /run/rekeyed");
        }
        rekeyed?;
        let (ours, theirs) = (client.finish(), server.finish());
        let hashes = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        match (&hashes(&ours)[..], &hashes(&theirs)[..]) {
            ([sent, got], [their_sent, their_got]) => {
                if sent != their_got {
                    return Err("the data that we sent did not arrive whole".into());
                }
                if their_sent != got {
                    return Err("the data that they sent did not arrive whole".into());
                }
                Ok(())
            }
            _ => Err("the transfer did not end".into()),
        }
    }

    fn rekeyed(&self) -> Result<(), String> {
        // Some of the data first.
        std::thread::sleep(Duration::from_millis(300));
        let before = self.outgoing()?;
        said(
            "our rekeying",
            &self.ours("timeout 40 ipsec auto --up cell"),
        )?;
        let after = self.outgoing()?;
        if after == before {
            return Err("our rekeying changed nothing".into());
        }
        said("their rekeying", &self.peer().rekey("cell"))?;
        wait_until(PATIENCE, || {
            self.outgoing().is_ok_and(|newest| newest != after)
        })
        .ok_or("their rekeying changed nothing")?;
        Ok(())
    }

    /// The SA that our eroute leads to.
    fn outgoing(&self) -> Result<String, String> {
        let eroutes = self.ours("ipsec eroute");
        let target = eroutes
            .lines()
            .filter_map(|line| line.split_once("=>"))
            .map(|(_, target)| target.trim().to_owned())
            .find(|target| target.contains("0x"));
        target.ok_or_else(|| format!("no eroute leads to an SA: {}", eroutes.stdout.trim()))
    }

    /// Neither side knows of an SA any more.
    fn nothing_left(&self, when: &str) -> Result<(), String> {
        wait_until(PATIENCE, || self.left_of_ours().is_empty())
            .ok_or_else(|| format!("{when} we still have {}", one_line(&self.left_of_ours())))?;
        let theirs = || self.peer().leftovers();
        wait_until(PATIENCE, || theirs().is_empty())
            .ok_or_else(|| format!("{when} they still have {}", one_line(&theirs())))
    }

    /// States of pluto, and SAs and eroutes of KLIPS that are there.
    fn left_of_ours(&self) -> String {
        let script = "ipsec auto --status | grep STATE_; ipsec eroute | grep 0x; ipsec spi | grep -v ' int0x'";
        self.ours(script).stdout.trim().to_owned()
    }

    /// Our delete reaches them: none of their SAs stays. libreswan, which was told `--up` for its rekeying, begins anew at
    /// once, until it is told to end it too.
    fn delete_ours(&self) -> Result<(), String> {
        let old = self.peer().spis();
        said("our delete", &self.ours("ipsec auto --down cell"))?;
        let gone = || {
            let left = self.peer().spis();
            old.iter().all(|spi| !left.contains(spi))
        };
        wait_until(PATIENCE, gone).ok_or("our delete did not reach them")?;
        if self.kind == Kind::Libreswan {
            // What it is told in the middle of a negotiation leaves ours to wait for an answer.
            wait_until(Duration::from_secs(5), || self.peer().spis().len() >= 2);
            said("their end of what we deleted", &self.peer().down("cell"))?;
        }
        Ok(())
    }

    /// What we brought up and they delete, we would bring back, ten seconds later; told to end it, we let it go.
    fn ours_would_come_back(&self) -> Result<(), String> {
        let planned =
            "ipsec auto --status | grep -q 'IPsec SA established.*EVENT_SA_REPLACE in [0-9]s'";
        wait_until(PATIENCE, || self.ours(planned).status == 0)
            .ok_or("after their delete we plan nothing")?;
        said(
            "our end of what they deleted",
            &self.ours("ipsec auto --down cell"),
        )
    }

    fn ours(&self, script: &str) -> Output {
        self.net.west.run(script)
    }

    /// Configurations and logs of both sides.
    pub fn logs(&self, row: &Row) -> String {
        format!(
            "--- ours\n{}\n{}\n--- theirs\n{}\n{}\n{}\n{}",
            self.ours_of(row),
            self.ours(
                "ipsec auto --status; ipsec eroute; ipsec spi; tail -n 120 /run/pluto/pluto.log"
            )
            .stdout,
            self.theirs_of(row),
            self.peer().status(),
            self.peer().kernel_sas(),
            self.peer().log()
        )
    }
}

/// Ok, or the last words of a command that failed.
fn said(what: &str, output: &Output) -> Result<(), String> {
    if output.status == 0 {
        return Ok(());
    }
    let lines = || output.stderr.lines().chain(output.lines());
    // Ours says what is wrong first and what would be right last; a peer's last line is what matters.
    let word = lines()
        .find(|line| line.starts_with("error:"))
        .or_else(|| lines().filter(|line| !line.trim().is_empty()).last())
        .map_or_else(|| format!("exit status {}", output.status), str::to_owned);
    Err(format!("{what}: {}", word.trim()))
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if line.len() > 160 {
        line.truncate(
            (0..=160)
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0),
        );
        line += " …";
    }
    line
}

/// Asks until it is so; None after `limit`.
fn wait_until(limit: Duration, mut so: impl FnMut() -> bool) -> Option<()> {
    let end = Instant::now() + limit;
    loop {
        if so() {
            return Some(());
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
