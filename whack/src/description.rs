//! The options that describe a connection. Order matters among them: `--to` divides the two ends,
//! and an address family must be told before an address of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use whack::{
    Connection, Dpd, DpdAction, End, Esn, Failure, Fragmentation, Host, Lifetimes, Live, Policy,
    Shunt, Subnet, is_host_name,
};

use crate::options::Given;

/// A connection as far as it has been told.
#[derive(Debug)]
pub struct Description {
    left: Option<Half>,
    right: Half,
    policy: Policy,
    lifetimes: Lifetimes,
    fragmentation: Fragmentation,
    dpd_delay: Option<u32>,
    dpd_timeout: Option<u32>,
    dpd_action: Option<DpdAction>,
    ike: Option<String>,
    esp: Option<String>,
    pfsgroup: Option<String>,
    ipv6: bool,
    tunnel_ipv6: bool,
    /// Options other than those of an end.
    seen: Vec<&'static str>,
    /// The option that first used the address family between the gateways.
    family_used_by: Option<&'static str>,
    /// The option that first used the address family of the clients.
    tunnel_family_used_by: Option<&'static str>,
}

/// One end and the options that told it.
#[derive(Debug)]
struct Half {
    end: End,
    seen: Vec<&'static str>,
}

impl Half {
    fn new() -> Half {
        Half {
            end: End::new(Host::Any),
            seen: Vec::new(),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.seen.contains(&option)
    }
}

impl Default for Description {
    fn default() -> Description {
        Description {
            left: None,
            right: Half::new(),
            policy: Policy::default(),
            lifetimes: Lifetimes::default(),
            fragmentation: Fragmentation::No,
            dpd_delay: None,
            dpd_timeout: None,
            dpd_action: None,
            ike: None,
            esp: None,
            pfsgroup: None,
            ipv6: false,
            tunnel_ipv6: false,
            seen: Vec::new(),
            family_used_by: None,
            tunnel_family_used_by: None,
        }
    }
}

impl Description {
    /// Whether any option of a connection was there. The tunnel's family alone is none: it goes with
    /// `--oppohere` too.
    pub fn given(&self) -> bool {
        self.left.is_some()
            || !self.right.seen.is_empty()
            || self.seen.iter().any(|name| !name.starts_with("tunnelipv"))
    }

    /// Takes an option; false if it is none of a connection's.
    pub fn take(&mut self, option: &Given) -> Result<bool, String> {
        if option.name == "to" {
            self.to()?;
        } else if is_end_option(option.name) {
            if self.right.has(option.name) {
                return Err(duplicate(option.name));
            }
            self.end_option(option)?;
            self.right.seen.push(option.name);
        } else if !self.connection_option(option)? {
            return Ok(false);
        }
        Ok(true)
    }

    fn to(&mut self) -> Result<(), String> {
        if self.left.is_some() {
            return Err(duplicate("to"));
        }
        if !self.right.has("host") {
            return Err("connection missing --host before --to".into());
        }
        self.left = Some(std::mem::replace(&mut self.right, Half::new()));
        Ok(())
    }

    fn end_option(&mut self, option: &Given) -> Result<(), String> {
        let text = || option.text.clone();
        match option.name {
            "host" => return self.host(option),
            "nexthop" => {
                self.family_used_by = Some(option.name);
                let end = &mut self.right.end;
                match option.text.as_str() {
                    "%direct" => {}
                    name => match found(option.name, name, self.ipv6)? {
                        Found::Fixed(addr) => end.nexthop = Some(addr),
                        Found::Live(live) => end.live_nexthop = Some(live),
                    },
                }
            }
            "sourceip" => {
                self.tunnel_family_used_by = Some(option.name);
                let source = match found(option.name, &option.text, self.tunnel_ipv6)? {
                    Found::Fixed(addr) => addr,
                    Found::Live(_) => {
                        return Err(format!("--sourceip: not an address \"{}\"", option.text));
                    }
                };
                self.right.end.source_ip = Some(source);
            }
            "client" | "clientwithin" => {
                if self.right.has("client") || self.right.has("clientwithin") {
                    return Err("--client conflicts with --clientwithin".into());
                }
                self.tunnel_family_used_by = Some(option.name);
                self.policy.tunnel = true;
                if option.text.starts_with("vhost:") || option.text.starts_with("vnet:") {
                    let virt = text().parse().map_err(|e| format!("{e}"))?;
                    self.right.end.virt = Some(virt);
                    return Ok(());
                }
                let subnet = text()
                    .parse()
                    .map_err(|e| format!("{e} \"{}\"", option.text))?;
                self.right.end.client = Some(subnet);
                self.right.end.client_within = option.name == "clientwithin";
            }
            "clientprotoport" => {
                self.right.end.protoport = text()
                    .parse()
                    .map_err(|e| format!("{e} \"{}\"", option.text))?;
            }
            "ikeport" => {
                self.right.end.ike_port = u16::try_from(option.number)
                    .ok()
                    .filter(|&port| port != 0)
                    .ok_or_else(|| {
                        let wanted = "<port-number> must be a number between 1 and 65535";
                        format!("{wanted} \"{}\"", option.text)
                    })?;
            }
            "id" => self.right.end.id = Some(text()),
            "updown" => self.right.end.updown = Some(text()).filter(|command| !command.is_empty()),
            _ => self.right.end.key_from_dns_on_demand = true,
        }
        Ok(())
    }

    fn host(&mut self, option: &Given) -> Result<(), String> {
        self.family_used_by = Some(option.name);
        let host = match option.text.as_str() {
            "%any" => Host::Any,
            "%opportunistic" => Host::Opportunistic,
            "%group" => Host::Group,
            "%opportunisticgroup" => Host::OpportunisticGroup,
            name => match found(option.name, name, self.ipv6)? {
                Found::Fixed(addr) if addr.is_unspecified() => Host::Any,
                Found::Fixed(addr) => Host::Addr(addr),
                Found::Live(live) => Host::Live(live),
            },
        };
        let opportunistic = matches!(host, Host::Opportunistic | Host::OpportunisticGroup);
        let group = matches!(host, Host::Group | Host::OpportunisticGroup);
        if opportunistic || group {
            self.policy.tunnel = true;
            if self.right.end.client.is_none() {
                self.tunnel_family_used_by = Some(option.name);
                self.right.end.client = Some(if self.tunnel_ipv6 {
                    Subnet::ALL_V6
                } else {
                    Subnet::ALL_V4
                });
            } else if group {
                return Err("--host %group clashes with --client".into());
            }
        }
        self.policy.opportunistic |= opportunistic;
        self.policy.group |= group;
        self.right.end.key_from_dns_on_demand |= opportunistic;
        self.right.end.host = host;
        Ok(())
    }

    fn connection_option(&mut self, option: &Given) -> Result<bool, String> {
        // The four shunts are one choice, and so are the four failure shunts.
        let slot = match option.name {
            "initiateontraffic" | "pass" | "drop" | "reject" => "shunt",
            "failnone" | "failpass" | "faildrop" | "failreject" => "failure",
            "rekeywindow" => "rekeymargin",
            "ikefrag-allow" | "ikefrag-force" => "ikefrag",
            name => name,
        };
        if !self.set_policy(option.name) && !self.set_value(option)? {
            return Ok(false);
        }
        if self.seen.contains(&slot) {
            return Err(duplicate(option.name));
        }
        self.seen.push(slot);
        Ok(true)
    }

    fn set_policy(&mut self, name: &str) -> bool {
        let p = &mut self.policy;
        match name {
            "psk" => p.psk = true,
            "rsasig" => p.rsasig = true,
            "encrypt" => p.encrypt = true,
            "authenticate" => p.authenticate = true,
            "compress" => p.compress = true,
            "tunnel" => p.tunnel = true,
            "pfs" => p.pfs = true,
            "disablearrivalcheck" => p.disable_arrival_check = true,
            "dontrekey" => p.dont_rekey = true,
            "forceencaps" => p.force_encaps = true,
            "dnssec" => p.dnssec = true,
            "initiateontraffic" => p.shunt = Shunt::Trap,
            "pass" => p.shunt = Shunt::Pass,
            "drop" => p.shunt = Shunt::Drop,
            "reject" => p.shunt = Shunt::Reject,
            "failnone" => p.failure = Failure::None,
            "failpass" => p.failure = Failure::Pass,
            "faildrop" => p.failure = Failure::Drop,
            "failreject" => p.failure = Failure::Reject,
            _ => return false,
        }
        true
    }

    fn set_value(&mut self, option: &Given) -> Result<bool, String> {
        let number = || {
            u32::try_from(option.number)
                .map_err(|_| format!("--{} {} is too large", option.name, option.text))
        };
        let l = &mut self.lifetimes;
        match option.name {
            "ikelifetime" => l.ike = number()?,
            "ipseclifetime" => l.ipsec = number()?,
            "rekeymargin" | "rekeywindow" => l.rekey_margin = number()?,
            "rekeyfuzz" => l.rekey_fuzz = number()?,
            "keyingtries" => l.keying_tries = number()?,
            "ikefrag-allow" => self.fragmentation = Fragmentation::Yes,
            "ikefrag-force" => self.fragmentation = Fragmentation::Force,
            "dpddelay" => self.dpd_delay = Some(number()?),
            "dpdtimeout" => self.dpd_timeout = Some(number()?),
            "dpdaction" => {
                let action = DpdAction::from_name(&option.text).ok_or_else(|| {
                    format!(
                        "--dpdaction must be hold, clear or restart \"{}\"",
                        option.text
                    )
                })?;
                self.dpd_action = Some(action);
            }
            "ike" => self.ike = Some(option.text.clone()),
            "esp" => self.esp = Some(option.text.clone()),
            "pfsgroup" => self.pfsgroup = Some(option.text.clone()),
            "esn" => {
                self.policy.esn = match option.text.as_str() {
                    "no" => Esn::No,
                    "yes" => Esn::Yes,
                    "either" => Esn::Either,
                    other => return Err(format!("--esn {other}: must be no, yes or either")),
                };
            }
            "ipv4" | "ipv6" | "tunnelipv4" | "tunnelipv6" => self.family(option.name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn family(&mut self, name: &'static str) -> Result<(), String> {
        let other = match name {
            "ipv4" => "ipv6",
            "ipv6" => "ipv4",
            "tunnelipv4" => "tunnelipv6",
            _ => "tunnelipv4",
        };
        if self.seen.contains(&other) {
            return Err(format!("--{name} conflicts with --{other}"));
        }
        let used = match name {
            "ipv4" => None,
            "ipv6" => self.family_used_by,
            _ => self.tunnel_family_used_by,
        };
        if let Some(used) = used {
            return Err(format!("--{name} must precede \"{used}\""));
        }
        match name {
            "ipv4" => {}
            "ipv6" => {
                self.ipv6 = true;
                // The clients' family follows, unless it was told or used.
                let told = self.seen.iter().any(|seen| seen.starts_with("tunnelipv"));
                self.tunnel_ipv6 |= !told && self.tunnel_family_used_by.is_none();
            }
            _ => self.tunnel_ipv6 = name == "tunnelipv6",
        }
        Ok(())
    }

    /// The connection, once all options are there.
    pub fn finish(&self, name: &str) -> Result<Connection, String> {
        let left = self
            .left
            .as_ref()
            .ok_or("connection description option, but no --to")?;
        if !self.right.has("host") {
            return Err("connection missing --host after --to".into());
        }
        if !left.end.host.is_one() && !self.right.end.host.is_one() {
            return Err("hosts cannot both be 0.0.0.0 or 0::0".into());
        }
        for (this, that) in [(left, &self.right), (&self.right, left)] {
            if !this.has("nexthop") && !that.end.host.is_one() {
                return Err(
                    "our nexthop must be specified when other host is a %any or \
                            %opportunistic"
                        .into(),
                );
            }
        }
        Ok(Connection {
            name: name.to_string(),
            left: left.end.clone(),
            right: self.right.end.clone(),
            policy: self.policy,
            lifetimes: self.lifetimes,
            fragmentation: self.fragmentation,
            dpd: Dpd::new(self.dpd_delay, self.dpd_timeout, self.dpd_action),
            ike: self.ike.clone(),
            esp: self.esp.clone(),
            pfsgroup: self.pfsgroup.clone(),
            ipv6: self.ipv6,
            tunnel_ipv6: self.tunnel_ipv6,
        })
    }
}

fn is_end_option(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "id"
            | "ikeport"
            | "nexthop"
            | "sourceip"
            | "client"
            | "clientwithin"
            | "clientprotoport"
            | "dnskeyondemand"
            | "updown"
    )
}

fn duplicate(name: &str) -> String {
    format!("duplicated flag \"{name}\"")
}

/// An address as it is told: itself, or where pluto finds it.
enum Found {
    Fixed(IpAddr),
    Live(Live),
}

/// An address of the family wanted, `%defaultroute`, or a name, which is pluto's to look up.
fn found(option: &str, text: &str, ipv6: bool) -> Result<Found, String> {
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    if let Ok(addr) = text.parse::<IpAddr>() {
        return match addr.is_ipv6() == ipv6 {
            true => Ok(Found::Fixed(addr)),
            false => Err(format!("--{option}: not an {family} address \"{text}\"")),
        };
    }
    match text {
        "%any" if ipv6 => Ok(Found::Fixed(Ipv6Addr::UNSPECIFIED.into())),
        "%any" => Ok(Found::Fixed(Ipv4Addr::UNSPECIFIED.into())),
        "%defaultroute" => Ok(Found::Live(Live::DefaultRoute)),
        name if is_host_name(name) => Ok(Found::Live(Live::Name(name.to_owned()))),
        _ => Err(format!(
            "--{option}: neither an address nor a host name nor %defaultroute \"{text}\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{Command, understand},
        options,
    };
    use whack::Request;

    fn connection(line: &str) -> Result<Connection, String> {
        let given = options::split(line.split_whitespace().map(String::from))?;
        match understand(&given).map_err(|p| p.text)? {
            Command::Send { requests, .. } => match requests.into_iter().next() {
                Some(Request::Connection(c)) => Ok(*c),
                other => Err(format!("{other:?}")),
            },
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn two_ends_and_a_policy() {
        let c = connection(
            "--name n --host 192.0.2.1 --id @east --client 10.0.1.0/24 --nexthop 192.0.2.254 \
             --updown true --to --host 192.0.2.2 --clientwithin 10.0.2.0/24 --ikeport 1500 \
             --clientprotoport 17/53 --rsasig --psk --encrypt --pfs --reject --faildrop \
             --ikelifetime 7200 --keyingtries 0 --esp 3des-md5",
        );
        // A protocol must be the same on both ends.
        assert!(c.unwrap_err().contains("must be the same"));

        let c = connection(
            "--name n --host 192.0.2.1 --id @east --client 10.0.1.0/24 --nexthop 192.0.2.254 \
             --updown true --to --host 192.0.2.2 --clientwithin 10.0.2.0/24 --ikeport 1500 \
             --rsasig --encrypt --reject --faildrop --ikelifetime 7200 --keyingtries 0 \
             --esp 3des-md5 --pfsgroup dh14 --esn either",
        )
        .unwrap();
        assert_eq!(c.pfsgroup.as_deref(), Some("dh14"));
        assert_eq!(c.policy.esn, Esn::Either);
        assert_eq!(c.left.host, Host::Addr([192, 0, 2, 1].into()));
        assert_eq!(c.left.id.as_deref(), Some("@east"));
        assert_eq!(c.left.nexthop, Some([192, 0, 2, 254].into()));
        assert_eq!(c.left.updown.as_deref(), Some("true"));
        assert_eq!(c.right.client, Some("10.0.2.0/24".parse().unwrap()));
        assert!(c.right.client_within && !c.left.client_within);
        assert_eq!((c.left.ike_port, c.right.ike_port), (500, 1500));
        assert_eq!(
            (c.policy.shunt, c.policy.failure),
            (Shunt::Reject, Failure::Drop)
        );
        assert!(c.policy.tunnel && c.policy.rsasig && !c.policy.psk);
        assert_eq!(
            (c.lifetimes.ike, c.lifetimes.ipsec, c.lifetimes.keying_tries),
            (7200, 28800, 0)
        );
        assert_eq!(c.esp.as_deref(), Some("3des-md5"));
    }

    #[test]
    fn a_road_warrior_needs_a_nexthop_at_our_end() {
        let c = connection("--name n --host 192.0.2.1 --to --host %any --psk --encrypt");
        assert!(c.unwrap_err().starts_with("our nexthop must be specified"));
        let c = connection(
            "--name n --host 192.0.2.1 --nexthop %direct --to --host %any --psk --encrypt",
        );
        assert_eq!(c.unwrap().right.host, Host::Any);
    }

    #[test]
    fn b3_names_and_the_default_route_are_left_to_pluto() {
        let c = connection(
            "--name n --host %defaultroute --to --host gw.example.com --nexthop hop.example.com \
             --psk --encrypt",
        )
        .unwrap();
        assert_eq!(c.left.host, Host::Live(Live::DefaultRoute));
        let name = |text: &str| Live::Name(text.into());
        assert_eq!(c.right.host, Host::Live(name("gw.example.com")));
        assert_eq!(c.right.live_nexthop, Some(name("hop.example.com")));
        for bad in ["192.0.2.256", "gw_.example.com-", "a..b", "%nowhere", "a b"] {
            let line = format!("--name n --host {bad} --to --host 192.0.2.1 --psk --encrypt");
            assert!(connection(&line).is_err(), "{bad}");
        }
    }

    #[test]
    fn families_come_before_addresses() {
        let six = "--name n --ipv6 --host 2001:db8::1 --client 2001:db8:1::/48 --to \
                   --host 2001:db8::2 --psk --encrypt";
        let c = connection(six).unwrap();
        assert!(c.ipv6 && c.tunnel_ipv6);
        assert_eq!(
            connection("--name n --host 192.0.2.1 --ipv6 --to --host ::1").unwrap_err(),
            "--ipv6 must precede \"host\""
        );
        assert_eq!(
            connection("--ipv4 --ipv6").unwrap_err(),
            "--ipv6 conflicts with --ipv4"
        );
        assert!(
            connection("--name n --host 2001:db8::1 --to --host ::1")
                .unwrap_err()
                .contains("not an IPv4 address")
        );
    }

    #[test]
    fn contradictions_are_named() {
        let ends = "--name n --host 192.0.2.1 --to --host 192.0.2.2";
        for (more, text) in [
            (
                "",
                "non-shunt connection must have --psk or --rsasig or both",
            ),
            ("--psk --to", "duplicated flag \"to\""),
            ("--psk --psk", "duplicated flag \"psk\""),
            ("--psk --pass --drop", "duplicated flag \"drop\""),
            (
                "--psk --ikeport 0",
                "<port-number> must be a number between 1 and 65535 \"0\"",
            ),
            (
                "--psk --ikelifetime 1080",
                "ikelifetime [1080] must be greater than rekeymargin*(100+rekeyfuzz)/100 \
                 [540*(100+100)/100 = 1080]",
            ),
            (
                "--psk --ipseclifetime 86401",
                "ipseclifetime [86401 seconds] must be less than 86400 seconds",
            ),
        ] {
            assert_eq!(
                connection(&format!("{ends} {more}")).unwrap_err(),
                text,
                "{more}"
            );
        }
        assert!(connection(&format!("{ends} --psk --ikelifetime 1080 --dontrekey")).is_ok());
        assert!(connection(&format!("{ends} --pass")).is_ok());
        assert_eq!(
            connection("--name n --to").unwrap_err(),
            "connection missing --host before --to"
        );
        assert_eq!(
            connection("--name n --host 192.0.2.1").unwrap_err(),
            "connection description option, but no --to"
        );
        assert_eq!(
            connection("--name n --host 192.0.2.1 --to --psk").unwrap_err(),
            "connection missing --host after --to"
        );
    }
}
