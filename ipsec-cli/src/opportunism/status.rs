//! `ipsec opportunism status`: one screen of what pluto's status says about it.

use super::policy::{self, EVERYBODY};
use crate::auto::send;
use crate::paths::Paths;
use crate::print;
use ipsec_conf::Config;
use std::collections::BTreeMap;
use whack::Request;

/// Tunnels that are shown.
const SHOWN: usize = 8;

/// What pluto says.
#[derive(Debug, Default)]
struct Said {
    /// Its own lines about opportunism.
    figures: Vec<String>,
    /// Who we are.
    identity: Option<String>,
    /// Tunnels: our client, the gateway and the peer's client, as pluto shows them.
    tunnels: Vec<String>,
    /// How often which shunt stands for which reason.
    reasons: BTreeMap<(&'static str, String), usize>,
}

/// Shows it; 0 if it is on and pluto runs, 3 if not, as LSB has it of a service.
pub fn run() -> Result<u8, String> {
    let config = Config::load(&Paths::get().conf());
    let mut on = false;
    let mut words = Vec::new();
    for block in EVERYBODY {
        let group = policy::groups_with(&config, block).first().copied();
        on |= group.is_some_and(|group| group.contains("private"));
        words.push(format!("{block} {}", group.unwrap_or("in no group")));
    }
    let is = if on { "on" } else { "off" };
    print(&format!("Opportunism is {is} ({}).\n", words.join(", ")));
    let mut said = Said::default();
    if let Err(error) = send(&Request::Status, |_, text| said.hear(text)) {
        print(&format!("{error}\n"));
        return Ok(3);
    }
    print(&said.screen());
    Ok(if on { 0 } else { 3 })
}

impl Said {
    fn hear(&mut self, text: &str) {
        if let Some(figures) = text.strip_prefix("opportunism: ") {
            self.figures.push(figures.to_owned());
        } else if let Some(identity) = text.strip_prefix("%myid = ") {
            self.identity = Some(identity.to_owned());
        } else if let Some(tunnel) = tunnel(text) {
            self.tunnels.push(tunnel.to_owned());
        } else if let Some(reason) = reason(text) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    fn screen(&self) -> String {
        let mut text = String::new();
        let identity = match self.identity.as_deref() {
            None | Some("(none)") => {
                "nobody: DNS has no record of this host (ipsec opportunism on shows them)"
            }
            Some(identity) => identity,
        };
        text += &format!("This host is     {identity}\n");
        for figures in &self.figures {
            let (title, rest) = figures.split_once(": ").unwrap_or((figures, ""));
            text += &format!("{:<16} {rest}\n", capital(title));
        }
        for ((what, why), count) in &self.reasons {
            text += &format!("{what:<16} {count}: {why}\n");
        }
        for tunnel in self.tunnels.iter().take(SHOWN) {
            text += &format!("Encrypted        {tunnel}\n");
        }
        if self.tunnels.len() > SHOWN {
            let more = self.tunnels.len() - SHOWN;
            text += &format!("                 and {more} more: ipsec eroute\n");
        }
        text
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Of a line about an instance of an opportunistic connection that has a tunnel, which hosts it is for.
fn tunnel(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix('"')?.split_once('"')?;
    let of_group = name.contains('#') || name.starts_with("packetdefault");
    let (shown, state) = rest.split_once("; ")?;
    let (_, topology) = shown.split_once(": ").or_else(|| shown.split_once(' '))?;
    (of_group && rest.starts_with('[') && state.starts_with("erouted; ")).then_some(topology)
}

/// Of a line about a shunt after a failure, what becomes of the packets and why, without whom it is about.
fn reason(text: &str) -> Option<(&'static str, String)> {
    let (_, shunt) = text.split_once(" => ")?;
    let (kind, why) = shunt.split_once(" 0    ")?;
    let what = match kind {
        "%pass" => "In the clear",
        "%drop" | "%reject" => "Dropped",
        _ => return None,
    };
    // Shunts that stay are no failures.
    let (why, life) = why.rsplit_once(" (since ")?;
    life.contains(" more)")
        .then(|| (what, kind_of(why).to_owned()))
}

/// A kind of reason; one that is not known is shown as it is.
fn kind_of(why: &str) -> &str {
    let kinds = [
        (
            "for ourselves: ",
            "DNS has no record of this host (ipsec verify)",
        ),
        ("behind a NAT", "this host is behind a NAT"),
        ("validation", "signatures in DNS are wrong"),
        ("dnssec=yes wants", "unsigned, and dnssec=yes"),
        ("record for", "no key in DNS"),
        ("no answer from DNS", "no answer from DNS"),
        ("name servers", "no answer from DNS"),
        (
            "negotiation with gateway",
            "the gateway does not answer, or does not agree",
        ),
        (
            "name server",
            "a name server, not held while its key is looked up",
        ),
    ];
    let found = kinds.iter().find(|(part, _)| why.contains(part));
    found.map_or(why, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::{reason, tunnel};

    #[test]
    fn lines_of_pluto() {
        let line = "192.1.2.45/32:0 -0-> 192.0.4.1/32:0 => %pass 0    no TXT X-IPsec-Server or IPSECKEY record for 1.4.0.192.in-addr.arpa in DNS (not signed) (since 2 s, for 58 s more)";
        assert_eq!(reason(line), Some(("In the clear", "no key in DNS".into())));
        let guard = "192.1.2.45/32:0 -17-> 192.1.2.54/32:53 => %pass 0    a name server of ours (since 9 s)";
        assert_eq!(reason(guard), None);
        let line = "\"private-or-clear#0.0.0.0/0\"[1] 192.1.2.45...192.1.2.23===192.0.2.1/32; erouted; eroute owner: #2";
        assert_eq!(tunnel(line), Some("192.1.2.45...192.1.2.23===192.0.2.1/32"));
        let template = "\"private-or-clear#0.0.0.0/0\": 192.1.2.45...%opportunistic; prospective erouted; eroute owner: #0";
        assert_eq!(tunnel(template), None);
    }
}
