//! A manually keyed connection as this host sees it: its SAs in both directions, and the steps up and down.

use super::step::{Step, Undo, Verb};
use crate::auto::connection::complain;
use crate::auto::ends::Gateway;
use ipsec_conf::{Conn, ConnType, Diagnostic, Side};
use ipsec_types::{EspSuite, SaId, SaProto, Spi, Subnet};
use std::net::IpAddr;

/// Which address on which ipsecN this host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    pub address: IpAddr,
    pub interface: String,
}

/// What is known of one end.
#[derive(Clone, Debug)]
pub struct Place {
    pub address: IpAddr,
    /// Behind it, or itself.
    pub client: Subnet,
    pub id: String,
}

/// An SA and the words that make it, after `ipsec spi`; keys among them.
#[derive(Debug)]
struct Sa {
    id: SaId,
    words: Vec<String>,
}

/// A connection, ready to be taken up or down.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub interface: String,
    pub next_hop: IpAddr,
    pub updown: String,
    /// Where this gateway's own packets to the peer's subnet come from.
    pub source_ip: Option<std::net::IpAddr>,
    /// Whether there is a subnet behind this end: `…-client`, or else `…-host`.
    pub client: bool,
    pub me: Place,
    pub peer: Place,
    /// The outermost header's SA first; empty for a shunt.
    out: Vec<Sa>,
    inward: Vec<Sa>,
    shunt: Option<&'static str>,
}

type Outcome<T> = Result<T, Box<Diagnostic>>;

impl Plan {
    /// `ends` are left and right; `other` takes the other end's part.
    ///
    /// # Errors
    /// What the section lacks or says wrong.
    pub fn new(conn: &Conn, ends: [Gateway; 2], here: &Here, other: bool) -> Outcome<Self> {
        let [left, right] = &ends;
        let found = match (here.address == left.address, here.address == right.address) {
            (true, _) => Side::Left,
            (_, true) => Side::Right,
            _ => {
                let message = format!(
                    "this host is {}, which is neither left {} nor right {}",
                    here.address, left.address, right.address
                );
                return Err(complain(conn, "left", message, "correct one of them"));
            }
        };
        let side = if other { found.flip() } else { found };
        let (this, that, end) = match side {
            Side::Left => (left, right, &conn.left),
            Side::Right => (right, left, &conn.right),
        };
        let shunt = match conn.conn_type {
            ConnType::Passthrough => Some("%pass"),
            ConnType::Drop => Some("%drop"),
            ConnType::Reject => Some("%reject"),
            ConnType::Tunnel | ConnType::Transport => None,
        };
        let place = |gateway: &Gateway, side| {
            let end = match side {
                Side::Left => &conn.left,
                Side::Right => &conn.right,
            };
            Place {
                address: gateway.address,
                client: end.subnet.unwrap_or(Subnet::host(gateway.address)),
                id: end
                    .id
                    .clone()
                    .unwrap_or_else(|| gateway.address.to_string()),
            }
        };
        let (me, peer) = (place(this, side), place(that, side.flip()));
        let (mut out, mut inward) = (Vec::new(), Vec::new());
        if shunt.is_none() {
            let keys = Keys::new(conn)?;
            out = keys.sas(&me, &peer, side.flip())?;
            inward = keys.sas(&peer, &me, side)?;
        } else if let Some(key) = ["esp", "ah"]
            .into_iter()
            .find(|k| conn.settings.get(k).is_some())
        {
            return Err(complain(
                conn,
                key,
                format!("a shunt has no {key}="),
                "remove it, or type=",
            ));
        }
        Ok(Self {
            name: conn.name.clone(),
            interface: here.interface.clone(),
            next_hop: this.next_hop.unwrap_or(that.address),
            source_ip: end.source_ip,
            updown: end.updown.clone(),
            client: end.subnet.is_some(),
            me,
            peer,
            out,
            inward,
            shunt,
        })
    }

    fn eroute(&self, how: &str, from: &Place, to: &Place, said: Option<String>) -> Step {
        let family = if from.client.addr().is_ipv6() {
            "inet6"
        } else {
            "inet"
        };
        let (src, dst) = (from.client.to_string(), to.client.to_string());
        let mut words = vec![how, "--eraf", family, "--src", &src, "--dst", &dst];
        if let Some(said) = &said {
            words.extend(["--said", said]);
        }
        Step::new("eroute", &self.name, words)
    }

    /// SAs and their groups, then the eroute, then the route: nothing is routed before it can be protected.
    pub fn up(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for sas in [&self.out, &self.inward] {
            for sa in sas {
                steps.push(Step::new("spi", &self.name, sa.words.iter()).or_undo(Undo::Sa(sa.id)));
            }
            if sas.len() > 1 {
                let ids = sas.iter().map(|sa| sa.id.to_string());
                steps.push(Step::new(
                    "spigrp",
                    &self.name,
                    ["--said".to_owned()].into_iter().chain(ids),
                ));
            }
        }
        if let Some(first) = self.inward.first() {
            steps.push(self.eroute("--addin", &self.peer, &self.me, Some(first.id.to_string())));
        }
        let first = self.out.first().map(|sa| sa.id.to_string());
        let said = self.shunt.map(str::to_owned).or(first);
        let undo = self.eroute("--del", &self.me, &self.peer, None);
        steps.push(
            self.eroute("--replace", &self.me, &self.peer, said)
                .or_undo(Undo::Eroute(Box::new(undo))),
        );
        steps.extend([Verb::Prepare, Verb::Route, Verb::Up].map(Step::Updown));
        steps
    }

    /// The reverse, but for the route. Deleting an SA deletes its group.
    pub fn down(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Updown(Verb::Down),
            self.eroute("--del", &self.me, &self.peer, None),
        ];
        for sa in [&self.out, &self.inward]
            .into_iter()
            .filter_map(|sas| sas.first())
        {
            steps.push(Step::new(
                "spi",
                &self.name,
                ["--del", "--said", &sa.id.to_string()],
            ));
        }
        steps
    }

    pub fn leave(&self) -> Vec<Step> {
        [Verb::Down, Verb::Unroute].map(Step::Updown).into()
    }

    pub fn route(&self) -> Vec<Step> {
        [Verb::Prepare, Verb::Route].map(Step::Updown).into()
    }

    pub fn unroute(&self) -> Vec<Step> {
        vec![Step::Updown(Verb::Unroute)]
    }
}

/// What the section says about SAs.
struct Keys<'c> {
    conn: &'c Conn,
    numbers: Numbers,
}

/// `spi=`, or `spibase=` without its last digit's 0.
enum Numbers {
    All(Spi),
    From(Spi),
}

impl<'c> Keys<'c> {
    fn new(conn: &'c Conn) -> Outcome<Self> {
        let keys = |text: &str| conn.settings.get(text).map(|s| s.value.as_str());
        if keys("esp").is_none() && keys("ah").is_none() {
            let help =
                "add esp=, such as 3des-md5-96 with espenckey= and espauthkey=, or ah= with ahkey=";
            return Err(complain(
                conn,
                "",
                "neither AH nor ESP is specified".into(),
                help,
            ));
        }
        let number = |key: &str, text: &str| {
            let spi = text
                .starts_with("0x")
                .then(|| text.parse::<Spi>().ok())
                .flatten();
            spi.filter(|spi| !spi.is_reserved()).ok_or_else(|| {
                complain(
                    conn,
                    key,
                    format!("{key}={text} is no SPI"),
                    "write 0x and three hexadecimal digits, at least 0x100",
                )
            })
        };
        let numbers = match (keys("spi"), keys("spibase")) {
            (Some(spi), None) => Numbers::All(number("spi", spi)?),
            (None, Some(base)) if base.ends_with('0') => Numbers::From(number("spibase", base)?),
            (None, Some(base)) => {
                let message = format!("spibase={base} does not end in 0");
                return Err(complain(
                    conn,
                    "spibase",
                    message,
                    "the SAs' numbers differ in the last digit: 0x...0",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(complain(
                    conn,
                    "spibase",
                    "both spi= and spibase= are given".into(),
                    "remove one of them",
                ));
            }
            (None, None) => {
                let help = "add spi=, or spibase= for SAs with different numbers, such as 0x200";
                return Err(complain(
                    conn,
                    "",
                    "neither spi= nor spibase= is given".into(),
                    help,
                ));
            }
        };
        Ok(Self { conn, numbers })
    }

    fn text(&self, key: &str) -> Option<&'c str> {
        self.conn.settings.get(key).map(|s| s.value.as_str())
    }

    /// A parameter of the SAs towards `to`: `leftahkey`, or `ahkey` for both directions.
    fn towards(&self, to: Side, key: &str) -> Outcome<Option<&'c str>> {
        let of = |side: Side| {
            self.text(&format!("{}{key}", side.name()))
                .or(self.text(key))
        };
        if of(to).is_none() && of(to.flip()).is_some() {
            let name = format!("{}{key}", to.flip().name());
            let message = format!("{name}= is given, {}{key}= is not", to.name());
            return Err(complain(
                self.conn,
                &name,
                message,
                "give both, or one without left and right",
            ));
        }
        Ok(of(to))
    }

    /// The SAs of one direction; those that go to the right have even numbers, those that go to the left odd ones.
    fn sas(&self, from: &Place, place: &Place, to: Side) -> Outcome<Vec<Sa>> {
        let mut taken = match to {
            Side::Right => 0,
            Side::Left => 1,
        };
        let mut next = |proto| {
            let spi = match self.numbers {
                Numbers::All(spi) => spi,
                Numbers::From(base) => Spi(base.0 + taken),
            };
            taken += 2;
            SaId::new(proto, spi, place.address)
        };
        let (src, dst) = (from.address.to_string(), place.address.to_string());
        let mut sas = Vec::new();
        let mut add = |id: SaId, words: &[&str]| {
            let mut all = vec!["--said".to_owned(), id.to_string()];
            all.extend(words.iter().map(|word| (*word).to_owned()));
            sas.push(Sa { id, words: all });
        };
        if self.conn.conn_type == ConnType::Tunnel {
            let ip = if place.address.is_ipv6() {
                "--ip6"
            } else {
                "--ip4"
            };
            add(next(SaProto::IpIp), &[ip, "--src", &src, "--dst", &dst]);
        }
        if let Some(esp) = self.text("esp") {
            if EspSuite::from_name(esp).is_ok_and(|suite| suite.enc.needs_fresh_key()) {
                return Err(complain(
                    self.conn,
                    "esp",
                    format!(
                        "esp={esp} is not for keys from a file: a key that is used again gives itself away"
                    ),
                    "use a cipher in CBC, such as aes256-sha2-256-128, or let pluto negotiate keys: auto=start in the place of auto=manual",
                ));
            }
            let mut words = vec!["--esp", esp, "--src", &src];
            if EspSuite::from_name(esp).is_ok_and(|suite| !suite.authenticates()) {
                if self.text("ah").is_none() {
                    return Err(complain(
                        self.conn,
                        "esp",
                        format!(
                            "esp={esp} encrypts and does not authenticate, so anyone can alter packets (RFC 8221 section 4)"
                        ),
                        "add an authenticator with its key, such as esp=3des-md5-96 with espauthkey=, or AH around it: ah= with ahkey=",
                    ));
                }
                words.push("--ahoutside");
            }
            self.window("espreplay_window", &mut words);
            for (option, key) in [("--enckey", "espenckey"), ("--authkey", "espauthkey")] {
                words.extend(
                    self.towards(to, key)?
                        .into_iter()
                        .flat_map(|key| [option, key]),
                );
            }
            add(self.named(next(SaProto::Esp), to, "espspi")?, &words);
        }
        if let Some(ah) = self.text("ah") {
            let mut words = vec!["--ah", ah, "--src", &src];
            self.window("ahreplay_window", &mut words);
            let Some(key) = self.towards(to, "ahkey")? else {
                return Err(complain(
                    self.conn,
                    "ah",
                    "AH needs a key".into(),
                    "add ahkey=",
                ));
            };
            words.extend(["--authkey", key]);
            add(self.named(next(SaProto::Ah), to, "ahspi")?, &words);
        }
        Ok(sas)
    }

    fn window(&self, key: &str, words: &mut Vec<&'c str>) {
        if let Some(window) = self.text(key).filter(|w| *w != "0") {
            words.extend(["--replay_window", window]);
        }
    }

    /// `leftespspi=` and its like override a number.
    fn named(&self, id: SaId, to: Side, key: &str) -> Outcome<SaId> {
        let key = format!("{}{key}", to.name());
        let Some(text) = self.text(&key) else {
            return Ok(id);
        };
        let spi: Option<Spi> = text.parse().ok().filter(|spi: &Spi| !spi.is_reserved());
        let spi = spi.ok_or_else(|| {
            complain(
                self.conn,
                &key,
                format!("{key}={text} is no SPI"),
                "write a number from 0x100",
            )
        })?;
        Ok(SaId::new(id.proto, spi, id.dst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipsec_conf::Config;

    const ENDS: &str =
        "version 2\nconn a\n\tleft=192.0.2.1\n\tleftsubnet=10.1.0.0/16\n\tright=192.0.2.2\n";
    const ESP: &str = "\tesp=3des-md5-96\n\tespenckey=0x1\n\tespauthkey=0x2\n";

    fn plan(body: &str, me: &str) -> Result<Plan, String> {
        let config = Config::parse("f", &format!("{ENDS}{body}"));
        let outcome = config.conn("a");
        assert_eq!(outcome.problems, []);
        let gateway = |text: &str| Gateway {
            address: text.parse().unwrap(),
            next_hop: None,
        };
        let here = Here {
            address: me.parse().unwrap(),
            interface: "ipsec0".into(),
        };
        let ends = [gateway("192.0.2.1"), gateway("192.0.2.2")];
        Plan::new(&outcome.value.unwrap(), ends, &here, false).map_err(|d| d.message)
    }

    fn numbers(sas: &[Sa]) -> Vec<String> {
        sas.iter().map(|sa| sa.id.to_string()).collect()
    }

    #[test]
    fn numbers_to_the_right_are_even_and_the_same_at_both_ends() {
        let body =
            format!("\tspibase=0x200\n\tah=hmac-md5-96\n\tahkey=0x3\n\tleftespspi=0x999\n{ESP}");
        let (left, right) = (
            plan(&body, "192.0.2.1").unwrap(),
            plan(&body, "192.0.2.2").unwrap(),
        );
        let rightward = [
            "tun0x200@192.0.2.2",
            "esp0x202@192.0.2.2",
            "ah0x204@192.0.2.2",
        ];
        let leftward = [
            "tun0x201@192.0.2.1",
            "esp0x999@192.0.2.1",
            "ah0x205@192.0.2.1",
        ];
        assert_eq!(
            (numbers(&left.out), numbers(&left.inward)),
            (
                rightward.map(String::from).into(),
                leftward.map(String::from).into()
            )
        );
        assert_eq!(
            (numbers(&right.inward), numbers(&right.out)),
            (
                rightward.map(String::from).into(),
                leftward.map(String::from).into()
            )
        );
    }

    #[test]
    fn keys_of_their_own_directions() {
        let body = "\tspi=0x300\n\tesp=3des-md5-96\n\tespauthkey=0x2\n\tleftespenckey=0xaa\n\trightespenckey=0xbb\n";
        let left = plan(body, "192.0.2.1").unwrap();
        assert!(left.out[1].words.contains(&"0xbb".to_owned()), "{left:?}");
        assert!(
            left.inward[1].words.contains(&"0xaa".to_owned()),
            "{left:?}"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        for (body, wanted) in [
            ("\tspi=0x300\n".to_owned(), "neither AH nor ESP"),
            (ESP.to_owned(), "neither spi= nor spibase="),
            (
                format!("{ESP}\tspi=0x300\n\tspibase=0x300\n"),
                "both spi= and spibase=",
            ),
            (format!("{ESP}\tspibase=0x301\n"), "does not end in 0"),
            (format!("{ESP}\tspi=0x30\n"), "is no SPI"),
            (
                "\tspi=0x300\n\tah=hmac-md5-96\n".to_owned(),
                "AH needs a key",
            ),
            (
                "\tspi=0x300\n\tesp=3des-md5-96\n\tespauthkey=0x2\n\tleftespenckey=0x1\n"
                    .to_owned(),
                "rightespenckey= is not",
            ),
            (
                "\tspi=0x300\n\tesp=3des\n\tespenckey=0x1\n".to_owned(),
                "esp=3des encrypts and does not authenticate",
            ),
            (
                "\ttype=passthrough\n\tesp=3des\n".to_owned(),
                "a shunt has no esp=",
            ),
            (
                "\tspi=0x300\n\tesp=aes_gcm128\n\tespenckey=0x1\n".to_owned(),
                "is not for keys from a file",
            ),
        ] {
            let said = plan(&body, "192.0.2.1").unwrap_err();
            assert!(said.contains(wanted), "{body}: {said}");
        }
        assert!(plan("", "192.0.2.9").unwrap_err().contains("neither left"));
    }
}
