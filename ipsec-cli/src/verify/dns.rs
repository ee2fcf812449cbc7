//! What `ipsec verify` looks for in DNS: the key under this host's name, and the records in the reverse maps of its addresses.

use super::Finding;
use crate::dns::Dns;
use crate::keys::hostname;
use crate::keys::showhostkey::default_key;
use crate::net;
use crate::paths::Paths;
use futures::future::{join, join_all};
use ipsec_conf::{Auto, Config, value::Host};
use ipsec_dns::{Answer, Gateway, LookupError, Name, Query, Resolver, Security, zone};
use ipsec_keys::PublicKey;
use std::net::IpAddr;

/// What a line found, and whether it counts: what a host does not need is shown and no failure.
pub(super) struct Check {
    pub(super) title: String,
    pub(super) finding: Finding,
    pub(super) needed: bool,
}

/// Precedence of the records that are proposed.
const PRECEDENCE: u16 = 10;

/// What this host's configuration wants of DNS.
pub(super) struct Wanted {
    /// Names by `leftid=@…` or `myid=` of opportunistic connections: it initiates by them.
    names: Vec<Name>,
    /// Opportunistic connections that go by the address: its reverse map is needed.
    by_address: bool,
    /// Some that go by `%myid`, of which nobody has said what it is: by the host's name, if DNS has the key there, else by the address.
    by_either: bool,
    /// Their addresses, as far as they are known.
    ends: Vec<IpAddr>,
}

impl Wanted {
    /// None where no opportunistic connection is in use.
    pub(super) fn of(config: &Config) -> Option<Self> {
        Self::by(config, config.conn_names().chain(implicit(config)))
    }

    /// What the connections of version 2 want, whether they are in use or not.
    pub(super) fn of_version_2(config: &Config) -> Option<Self> {
        Self::by(config, config.implicit_names())
    }

    fn by<'a>(config: &'a Config, names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let myid = config.setup().value.and_then(|setup| setup.myid);
        let mut wanted = Self {
            names: Vec::new(),
            by_address: false,
            by_either: false,
            ends: Vec::new(),
        };
        let mut any = false;
        for conn in names.filter_map(|name| config.conn(name).value) {
            let opportunistic =
                |host: &Host| matches!(host, Host::Opportunistic | Host::OpportunisticGroup);
            let ours = match (
                opportunistic(&conn.left.host),
                opportunistic(&conn.right.host),
            ) {
                (true, false) => &conn.right,
                (false, true) => &conn.left,
                _ => continue,
            };
            if conn.auto == Auto::Ignore {
                continue;
            }
            any = true;
            let guessed = ours.id.as_deref() == Some("%myid") && myid.is_none();
            let id = match ours.id.as_deref() {
                Some("%myid") => myid.as_deref(),
                id => id,
            };
            match id.and_then(|id| id.strip_prefix('@')).map(Name::parse) {
                Some(Ok(name)) if !wanted.names.contains(&name) => wanted.names.push(name),
                Some(_) => {}
                None => {
                    wanted.by_address |= !guessed;
                    wanted.by_either |= guessed;
                    wanted.ends.extend(address_of(&ours.host));
                }
            }
        }
        any.then_some(wanted)
    }

    /// Whether this host needs records in the reverse map of one of its addresses.
    fn needs(&self, address: IpAddr) -> bool {
        (self.by_address || self.by_either)
            && (self.ends.is_empty() || self.ends.contains(&address))
    }
}

/// The connections of version 2 that are loaded without being written.
fn implicit(config: &Config) -> impl Iterator<Item = &str> {
    let setup = config.setup().value;
    let loaded = setup.is_some_and(|setup| crate::setup::implicit_wanted(config, &setup));
    config.implicit_names().filter(move |_| loaded)
}

/// The records that checks have proposed and that are wanted: those that are needed, with others of the same name, and those of this host's name.
pub(super) fn records(checks: &[Check]) -> Vec<String> {
    let lines = |check: &Check| -> Vec<String> {
        let text = check.finding.as_ref().err().map_or("", String::as_str);
        let records = text.lines().filter(|line| line.contains("\tIN\t"));
        records.map(str::to_owned).collect()
    };
    let owner = |line: &String| line.split('\t').next().unwrap_or_default().to_owned();
    let wanted = |check: &&Check| check.needed || check.title.contains("forward key");
    let owners: Vec<String> = checks
        .iter()
        .filter(wanted)
        .flat_map(lines)
        .map(|l| owner(&l))
        .collect();
    let mut all: Vec<String> = checks
        .iter()
        .flat_map(lines)
        .filter(|line| owners.contains(&owner(line)))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The checks of this host. All questions are asked at once: a resolver that is silent is waited for once.
pub(super) fn checks(wanted: &Wanted) -> Vec<Check> {
    let paths = Paths::get();
    let (dns, key) = match open(paths) {
        Ok(opened) => opened,
        Err(why) => {
            return vec![Check {
                title: "Looking into DNS".into(),
                finding: Err(why),
                needed: true,
            }];
        }
    };
    let mut names: Vec<(Name, bool)> = wanted.names.iter().map(|n| (n.clone(), true)).collect();
    if (names.is_empty() || wanted.by_either)
        && let Ok(name) = Name::parse(&hostname())
        && name.parent().is_some()
    {
        names.push((name, false));
    }
    let public = public_addresses();
    let (probed, (forward, reverse)) = dns.ask(|r| {
        let probe = r.lookup(Query::Keys(Gateway::Name(signed_zone())));
        let forward = names
            .iter()
            .map(|(name, needed)| forward(r, name, Some(&key), *needed));
        let reverse = public
            .iter()
            .map(|address| reverse(r, *address, Some(&key), wanted.needs(*address)));
        join(probe, join(join_all(forward), join_all(reverse)))
    });
    let servers: Vec<String> = dns
        .ask(|r| std::future::ready(r.name_servers()))
        .iter()
        .map(ToString::to_string)
        .collect();
    let by_name = wanted.by_either && forward.iter().any(|check| check.finding.is_ok());
    let by_address = wanted.by_address || wanted.by_either && !by_name;
    let mut all = resolver(&probed, &servers.join(", "));
    all.extend(forward);
    all.push(Check {
        title: "Does the machine have at least one non-private address?".into(),
        finding: match public.is_empty() {
            false => Ok(None),
            true => Err("only addresses for private use: nobody out there can reach this host, and behind a NAT it can make no tunnels either, only within the private net".into()),
        },
        needed: by_address,
    });
    all.extend(nat());
    all.extend(reverse.into_iter().flatten().map(|check| Check {
        needed: check.needed && by_address,
        ..check
    }));
    all
}

/// What pluto knows of a NAT in front of this host.
fn nat() -> Option<Check> {
    let mut said = None;
    let _ = crate::auto::send(&whack::Request::Status, |_, text| {
        if let Some(text) = text.strip_prefix("opportunism: this host is behind a NAT") {
            said = Some(format!(
                "behind a NAT{text}\nits traffic goes as the policies say of what has no tunnel: in the clear, or nowhere"
            ));
        }
    });
    said.map(|why| Check {
        title: "Looking for a NAT in front of this host".into(),
        finding: Err(why),
        needed: true,
    })
}

/// The zone of all reverse maps of IPv4, which is signed.
fn signed_zone() -> Name {
    let above = Name::reverse(IpAddr::from([127, 0, 0, 1]));
    let mut name = above;
    while let Some(parent) = name.parent() {
        if !parent.as_str().contains('.') {
            break;
        }
        name = parent;
    }
    name
}

/// Whether the name servers answer, and whether what they answer can be proved here.
fn resolver(probed: &Result<Answer, LookupError>, servers: &str) -> Vec<Check> {
    let security = match probed {
        Ok(answer) => Ok(answer.security),
        Err(LookupError::NoRecord { security, .. }) => Ok(*security),
        Err(error) => Err(error),
    };
    let answers = match security {
        Ok(_) | Err(LookupError::Bogus { .. } | LookupError::Malformed { .. }) => {
            Ok(Some(servers.to_owned()))
        }
        Err(error) => Err(format!(
            "{error}\ncorrect the nameserver lines of /etc/resolv.conf ({servers}), or start the resolver: without it no key is found"
        )),
    };
    let proved = match security {
        Ok(Security::Secure) => Ok(None),
        Ok(Security::Insecure) => Err(
            "in-addr.arpa is signed, and its signatures do not come through: the resolver must pass DNSSEC on, and dnssec-rootkey-file= must name the root's keys\nkeys out of DNS keep out who listens only, and dnssec=yes finds none".to_owned(),
        ),
        Err(error @ LookupError::Bogus { .. }) => Err(format!(
            "{error}\nlook at the clock of this host (date), and at dnssec-rootkey-file="
        )),
        Err(_) => Err("not tried: no name server answers".to_owned()),
    };
    let wrong = matches!(probed, Err(LookupError::Bogus { .. }));
    vec![
        Check {
            title: "Looking for a name server that answers".into(),
            finding: answers,
            needed: true,
        },
        Check {
            title: "Looking whether DNSSEC is validated here".into(),
            finding: proved,
            needed: wrong,
        },
    ]
}

/// `--host`: the name, and the addresses that it has.
pub(super) fn host(name: &str) -> Result<Vec<Check>, String> {
    let dns = Dns::open(Paths::get())?;
    let name = Name::parse(name).map_err(|error| error.to_string())?;
    let (first, found) = dns.ask(|r| {
        let addresses = r.lookup(Query::Addresses(name.clone()));
        join(forward(r, &name, None, true), addresses)
    });
    let mut all = vec![first];
    match found {
        Ok(answer) => {
            let addresses = answer.addresses.iter();
            let checks = dns.ask(|r| join_all(addresses.map(|a| reverse(r, *a, None, true))));
            all.extend(checks.into_iter().flatten());
        }
        Err(error) => all.push(Check {
            title: format!("Looking for an address of {name}"),
            finding: Ok(Some(format!("{error}: no reverse lookup tests possible"))),
            needed: false,
        }),
    }
    Ok(all)
}

/// `--ip`: the records in the reverse map, and those of the gateway that they name.
pub(super) fn ip(address: &str) -> Result<Vec<Check>, String> {
    let dns = Dns::open(Paths::get())?;
    let address = address
        .parse()
        .map_err(|_| format!("\"{address}\" is no IP address"))?;
    Ok(dns.ask(|r| reverse(r, address, None, true)))
}

/// The address of a connection's own end, if it is known without a connection.
fn address_of(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(*address),
        Host::DefaultRoute => net::default_route().ok().map(|route| route.address),
        _ => None,
    }
}

fn open(paths: &Paths) -> Result<(Dns, PublicKey), String> {
    Ok((Dns::open(paths)?, default_key(&paths.secrets())?))
}

async fn forward(
    resolver: &Resolver,
    name: &Name,
    ours: Option<&PublicKey>,
    needed: bool,
) -> Check {
    let query = Query::Keys(Gateway::Name(name.clone()));
    let found = resolver.lookup(query.clone()).await;
    let add = ours.map(|key| zone::key(Some(query.owner(&found).as_str()), key));
    Check {
        title: format!("Looking for forward key for {name}"),
        finding: keys(found, ours, add),
        needed,
    }
}

async fn reverse(
    resolver: &Resolver,
    address: IpAddr,
    ours: Option<&PublicKey>,
    needed: bool,
) -> Vec<Check> {
    let query = Query::Delegation(address);
    let here = Gateway::Address(address);
    let (found, own_keys) = join(
        resolver.lookup(query.clone()),
        resolver.lookup(Query::Keys(here.clone())),
    )
    .await;
    let owner = query.owner(&found);
    let line = |key| zone::txt(Some(owner.as_str()), PRECEDENCE, &here, key);
    let first = found
        .as_ref()
        .ok()
        .and_then(|answer| answer.delegations.first())
        .cloned();
    let finding = match found {
        Ok(answer) => delegated(&answer, address, ours, ours.map(line)),
        Err(error) => Err(missing(&error, ours.map(line))),
    };
    let mut all = vec![Check {
        title: format!("Looking for TXT in reverse map: {}", query.name()),
        finding,
        needed,
    }];
    // A record without a key says where the key is; with one the KEY record is for those who ask the gateway first.
    let (gateway, needed) = match first {
        Some(delegation) => (delegation.gateway, needed && delegation.key.is_none()),
        None => (here.clone(), false),
    };
    let place = match &gateway {
        Gateway::Address(_) => "in reverse map",
        Gateway::Name(_) => "in forward map",
    };
    let query = Query::Keys(gateway.clone());
    let own = gateway == here;
    let found = match own {
        true => own_keys,
        false => resolver.lookup(query.clone()).await,
    };
    let add = ours
        .filter(|_| own)
        .map(|key| zone::key(Some(query.owner(&found).as_str()), key));
    all.push(Check {
        title: format!("Looking for KEY {place}: {}", gateway.owner()),
        finding: keys(found, ours.filter(|_| own), add),
        needed,
    });
    all
}

fn delegated(
    answer: &Answer,
    address: IpAddr,
    ours: Option<&PublicKey>,
    add: Option<String>,
) -> Finding {
    let Some(ours) = ours else {
        let list: Vec<String> = answer
            .delegations
            .iter()
            .map(|d| {
                let key = d
                    .key
                    .as_ref()
                    .map_or("no key in it".into(), |key| format!("key {}", key.key_id()));
                format!(
                    "{} {}: gateway {}, {key}",
                    d.source, d.precedence, d.gateway
                )
            })
            .collect();
        return Ok(remark(answer, Some(list.join("\n"))));
    };
    let here = Gateway::Address(address);
    let mut to_us = answer
        .delegations
        .iter()
        .filter(|d| d.is_to(&here))
        .peekable();
    let wrong = if to_us.peek().is_none() {
        let others: Vec<String> = answer
            .delegations
            .iter()
            .map(|d| d.gateway.to_string())
            .collect();
        format!("it names another gateway: {}", others.join(", "))
    } else if to_us.any(|d| d.key.as_ref().is_none_or(|key| key == ours)) {
        return Ok(remark(answer, None));
    } else {
        "it has another key than ipsec.secrets".into()
    };
    Err(with_line(&wrong, add))
}

fn keys(
    found: Result<Answer, LookupError>,
    ours: Option<&PublicKey>,
    add: Option<String>,
) -> Finding {
    let answer = found.map_err(|error| missing(&error, add.clone()))?;
    match ours {
        None => {
            let ids: Vec<String> = answer
                .keys
                .iter()
                .map(|k| format!("key {}", k.key_id()))
                .collect();
            Ok(remark(&answer, Some(ids.join("\n"))))
        }
        Some(key) if answer.keys.contains(key) => Ok(remark(&answer, None)),
        Some(_) => Err(with_line(
            "it is another key than that of ipsec.secrets",
            add,
        )),
    }
}

fn missing(error: &LookupError, add: Option<String>) -> String {
    match error {
        LookupError::NoRecord { .. } => with_line(&error.to_string(), add),
        LookupError::Bogus { .. } => {
            format!(
                "{error}\nwhoever runs the zone must sign it anew (and others refuse it until then)"
            )
        }
        _ => error.to_string(),
    }
}

fn with_line(wrong: &str, add: Option<String>) -> String {
    match add {
        Some(line) => {
            format!("{wrong}\nadd this line to the zone, or have it added (ipsec mailkey):\n{line}")
        }
        None => wrong.into(),
    }
}

/// Remarks of an answer that is fine: not signed, aliases, records passed over.
fn remark(answer: &Answer, first: Option<String>) -> Option<String> {
    let mut lines: Vec<String> = first.into_iter().filter(|f| !f.is_empty()).collect();
    if let Some(alias) = answer.aliases.last() {
        lines.push(format!("found behind an alias, {alias}"));
    }
    if answer.security == Security::Insecure {
        lines.push(
            "not signed: whoever tampers with DNS can put another key there (sign the zone)".into(),
        );
    }
    lines.extend(answer.faults.iter().cloned());
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// This host's addresses, without those that nobody else can reach, of devices that are up.
fn public_addresses() -> Vec<IpAddr> {
    let devices = net::devices().unwrap_or_default();
    let mut all: Vec<IpAddr> = devices
        .iter()
        .filter(|d| d.is_up() && d.ifname != "lo" && !d.ifname.starts_with("ipsec"))
        .flat_map(|d| d.addresses().into_iter().map(|a| a.local))
        .filter(|a| !is_private(*a))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
