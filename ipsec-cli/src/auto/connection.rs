//! A connection of ipsec.conf as requests to pluto, keys first.

use super::ends::host;
use ipsec_conf::{Conn, ConnType, Diagnostic, FailureShunt, RsaKey, Severity, Side};
use std::net::IpAddr;
use whack::{
    Connection, Dpd, DpdAction, Failure, Fragmentation, Lifetimes, Policy, ProtoPort, PubkeyAlg,
    Request, Shunt, Subnet,
};

/// A complaint about a value that only now turns out to be useless.
pub fn complain(conn: &Conn, key: &str, message: String, help: &str) -> Box<Diagnostic> {
    let span = conn
        .settings
        .get(key)
        .map_or(&conn.settings.header, |s| &s.span);
    Box::new(Diagnostic {
        severity: Severity::Error,
        message,
        span: Some(span.clone()),
        label: String::new(),
        other: None,
        help: Some(help.to_string()),
    })
}

/// Algorithm lists are pluto's to read, but only here is known in which line they stand.
fn check_algorithms(conn: &Conn) -> Outcome<()> {
    use ike::proposal::{AhAlgorithms, EspAlgorithms, IkeAlgorithms, parse_group};
    let esp = if conn.settings.get("phase2alg").is_some() {
        "phase2alg"
    } else {
        "esp"
    };
    let checks = [
        ("ike", &conn.ike, |list| IkeAlgorithms::parse(list).err()),
        (esp, &conn.esp, |list: &str| {
            EspAlgorithms::parse(list).err()
        }),
        ("pfsgroup", &conn.pfsgroup, |list: &str| {
            parse_group(list).err()
        }),
    ] as [(_, _, fn(&str) -> Option<_>); 3];
    for (key, list, mistake) in checks {
        let mistake = if key == esp && conn.only_ah {
            |list: &str| AhAlgorithms::parse(list).err()
        } else {
            mistake
        };
        if let Some(error) = list.as_deref().and_then(mistake) {
            let message = format!("conn \"{}\": {key}: {error}", conn.name);
            return Err(complain(
                conn,
                key,
                message,
                "see ipsec.conf(5), ALGORITHMS",
            ));
        }
    }
    Ok(())
}

pub(super) type Outcome<T> = Result<T, Box<Diagnostic>>;

/// What to send for a connection: public keys, then the description.
pub fn requests(conn: &Conn) -> Outcome<Vec<Request>> {
    check_algorithms(conn)?;
    let left = end(conn, Side::Left)?;
    let right = end(conn, Side::Right)?;
    let ipv6 = [&left, &right]
        .iter()
        .any(|end| matches!(end.host, whack::Host::Addr(IpAddr::V6(_))));
    let mut description = Connection {
        name: conn.name.clone(),
        left,
        right,
        policy: policy(conn),
        lifetimes: Lifetimes {
            ike: conn.ikelifetime,
            ipsec: conn.keylife,
            rekey_margin: conn.rekeymargin,
            rekey_fuzz: conn.rekeyfuzz,
            keying_tries: conn.keyingtries,
        },
        fragmentation: Fragmentation::from_name(&conn.fragmentation).unwrap_or_default(),
        dpd: Dpd::new(
            conn.dpddelay,
            conn.dpdtimeout,
            DpdAction::from_name(&conn.dpdaction),
        ),
        ike: conn.ike.clone(),
        esp: conn.esp.clone(),
        pfsgroup: conn.pfsgroup.clone(),
        ipv6,
        tunnel_ipv6: false,
    };
    let clients = [description.left.client, description.right.client];
    description.tunnel_ipv6 = clients
        .iter()
        .flatten()
        .next()
        .map_or(ipv6, |net| net.addr().is_ipv6());
    templates(&mut description);
    let mut all = Vec::new();
    if conn.rsasig {
        keys(conn, &mut description, &mut all)?;
    }
    let request = Request::Connection(Box::new(description));
    request.validate().map_err(|e| {
        complain(
            conn,
            "",
            format!("conn \"{}\": {e}", conn.name),
            "see ipsec.conf(5)",
        )
    })?;
    all.push(request);
    Ok(all)
}

fn end(conn: &Conn, side: Side) -> Outcome<whack::End> {
    let end = match side {
        Side::Left => &conn.left,
        Side::Right => &conn.right,
    };
    let (host, nexthop, live_nexthop) = host(end);
    let virt = end.virtual_subnet.as_deref().map(str::parse).transpose();
    let virt = virt.map_err(|error: whack::virtual_net::VirtualError| {
        complain(
            conn,
            &format!("{}subnet", side.name()),
            error.to_string(),
            "write vhost:%priv,%no for one host behind NAT or none, vnet:%priv for a subnet",
        )
    })?;
    Ok(whack::End {
        virt,
        id: end.id.clone(),
        nexthop,
        source_ip: end.source_ip,
        live_nexthop,
        client: end.subnet_within.or(end.subnet),
        client_within: end.subnet_within.is_some(),
        protoport: end.protoport.unwrap_or(ProtoPort::ANY),
        updown: Some(end.updown.clone()),
        key_from_dns_on_demand: end.rsasigkey == Some(RsaKey::DnsOnDemand),
        ..whack::End::new(host)
    })
}

fn policy(conn: &Conn) -> Policy {
    let negotiates = conn.rsasig || conn.psk;
    Policy {
        psk: conn.psk,
        rsasig: conn.rsasig,
        encrypt: negotiates && !conn.only_ah,
        authenticate: conn.ah,
        compress: conn.compress,
        tunnel: conn.conn_type == ConnType::Tunnel,
        pfs: conn.pfs,
        esn: match conn.esn {
            ipsec_conf::Esn::No => whack::Esn::No,
            ipsec_conf::Esn::Yes => whack::Esn::Yes,
            ipsec_conf::Esn::Either => whack::Esn::Either,
        },
        disable_arrival_check: conn.disable_arrival_check,
        dont_rekey: !conn.rekey,
        force_encaps: conn.force_encaps,
        dnssec: conn.dnssec,
        shunt: match conn.conn_type {
            ConnType::Tunnel | ConnType::Transport => Shunt::Trap,
            ConnType::Passthrough => Shunt::Pass,
            ConnType::Drop => Shunt::Drop,
            ConnType::Reject => Shunt::Reject,
        },
        failure: match conn.failure_shunt {
            FailureShunt::None => Failure::None,
            FailureShunt::Passthrough => Failure::Pass,
            FailureShunt::Drop => Failure::Drop,
            FailureShunt::Reject => Failure::Reject,
        },
        opportunistic: false,
        group: false,
    }
}

/// Whether a host stands for many, whose keys are found when they come.
fn is_template(host: &whack::Host) -> bool {
    use whack::Host::{Group, Opportunistic, OpportunisticGroup};
    matches!(host, Opportunistic | Group | OpportunisticGroup)
}

/// Opportunistic ends and policy groups stand for everyone, through tunnels.
fn templates(description: &mut Connection) {
    use whack::Host::{Group, Opportunistic, OpportunisticGroup};
    let all = if description.tunnel_ipv6 {
        Subnet::ALL_V6
    } else {
        Subnet::ALL_V4
    };
    for end in [&mut description.left, &mut description.right] {
        let policy = &mut description.policy;
        policy.opportunistic |= matches!(end.host, Opportunistic | OpportunisticGroup);
        policy.group |= matches!(end.host, Group | OpportunisticGroup);
        if matches!(end.host, Opportunistic | Group | OpportunisticGroup) {
            policy.tunnel = true;
            end.client.get_or_insert(all);
        }
        end.key_from_dns_on_demand |= matches!(end.host, Opportunistic | OpportunisticGroup);
    }
}

fn keys(conn: &Conn, description: &mut Connection, all: &mut Vec<Request>) -> Outcome<()> {
    let hosts = [&description.left, &description.right].map(|end| end.host.clone());
    let [left, right] = hosts;
    for (side, end, this, that) in [
        (Side::Left, &conn.left, &mut description.left, right),
        (Side::Right, &conn.right, &mut description.right, left),
    ] {
        // The key of an opportunistic peer is found by its own address, later.
        if is_template(&this.host) {
            continue;
        }
        // Whose key it is where the address is not known yet, pluto knows when it is.
        let by_address = this.id.is_none() && this.host.live().is_some();
        let id = this.id.clone().unwrap_or_else(|| this.host.to_string());
        for (key, name, add) in [
            (&end.rsasigkey, "rsasigkey", false),
            (&end.rsasigkey2, "rsasigkey2", true),
        ] {
            let key = match key {
                Some(RsaKey::Key(text)) => Some(checked(conn, side, name, text)?),
                Some(RsaKey::DnsOnLoad) if !is_template(&that) && that != whack::Host::Any => None,
                _ => continue,
            };
            match key {
                Some(key) if by_address => this.keys.push(key),
                None if by_address => this.key_from_dns_on_demand = true,
                key => all.push(Request::PublicKey {
                    id: id.clone(),
                    add,
                    alg: PubkeyAlg::Rsa,
                    key,
                }),
            }
        }
    }
    Ok(())
}

/// A key that is one: better told here with its line than by pluto.
fn checked(conn: &Conn, side: Side, name: &str, text: &str) -> Outcome<String> {
    match ipsec_keys::PublicKey::from_text(text) {
        Ok(_) => Ok(text.to_string()),
        Err(error) => {
            let key = format!("{}{name}", side.name());
            Err(complain(
                conn,
                &key,
                format!("bad RSA key: {error}"),
                "copy the whole line that ipsec showhostkey prints on the other host",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipsec_conf::Config;

    fn build(body: &str) -> Vec<Request> {
        let config = Config::parse("f", &format!("version 2\nconn a\n{body}"));
        let outcome = config.conn("a");
        assert_eq!(outcome.problems, []);
        requests(&outcome.value.unwrap()).unwrap()
    }

    #[test]
    fn a_road_warrior_by_secret() {
        let all =
            build("\tleft=192.0.2.1\n\tleftsubnet=10.0.0.0/8\n\tright=%any\n\tauthby=secret\n");
        let [Request::Connection(c)] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            (
                c.right.host.clone(),
                c.left.client.unwrap().to_string().as_str()
            ),
            (whack::Host::Any, "10.0.0.0/8")
        );
        assert!(
            c.policy.psk && !c.policy.rsasig && c.policy.tunnel && c.policy.encrypt && c.policy.pfs
        );
        assert_eq!(c.left.updown.as_deref(), Some("ipsec _updown"));
    }

    #[test]
    fn road_warriors_behind_nat() {
        let ends = "\tleft=192.0.2.1\n\tright=%any\n\tauthby=secret\n\tforceencaps=yes\n";
        let all = build(&format!("{ends}\trightsubnet=vhost:%priv,%no\n"));
        let [Request::Connection(c)] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            c.right.virt.as_ref().unwrap().to_string(),
            "vhost:%no,%priv"
        );
        assert!(c.right.client.is_none() && c.policy.force_encaps);
        let config = Config::parse(
            "f",
            &format!("version 2\nconn a\n{ends}\trightsubnet=vhost:%dhcp\n"),
        );
        let conn = config.conn("a").value.unwrap();
        let error = requests(&conn).unwrap_err();
        assert!(
            error.message.contains("\"%dhcp\" is not supported"),
            "{error:?}"
        );
    }

    #[test]
    fn implicit_connections_are_as_version_2_has_them() {
        let config = Config::parse(
            "f",
            "version 2\nconn %default\n\tkeyingtries=7\n\tauthby=secret\nconn clear\n\tauto=ignore\n\tleft=192.0.2.1\n\tright=192.0.2.2\n",
        );
        let mut names: Vec<&str> = config.implicit_names().collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "block",
                "clear-or-private",
                "packetdefault",
                "packetdefault6",
                "private",
                "private-or-clear"
            ]
        );
        assert_eq!(config.conn_names().collect::<Vec<_>>(), ["clear"]);
        let built = |name: &str| {
            let outcome = config.conn(name);
            assert_eq!(outcome.problems, [], "{name}");
            let mut all = requests(&outcome.value.unwrap()).unwrap();
            let Some(Request::Connection(c)) = all.pop() else {
                panic!("{all:?}")
            };
            assert!(all.is_empty(), "{all:?}");
            assert_eq!(c.left.id.as_deref(), Some("%myid"));
            *c
        };
        let block = built("block");
        assert_eq!(
            (block.right.host.clone(), block.policy.shunt),
            (whack::Host::Group, Shunt::Reject)
        );
        assert!(block.policy.group && !block.policy.rsasig && !block.policy.opportunistic);
        let private = built("private");
        assert_eq!(
            (
                private.right.host.clone(),
                private.policy.failure,
                private.policy.shunt
            ),
            (whack::Host::OpportunisticGroup, Failure::Drop, Shunt::Trap)
        );
        assert!(private.policy.dont_rekey && private.policy.opportunistic && private.policy.group);
        assert_eq!(
            (private.lifetimes.keying_tries, private.lifetimes.ipsec),
            (3, 3600)
        );
        assert_eq!(built("private-or-clear").policy.failure, Failure::Pass);
        assert_eq!(built("clear-or-private").policy.shunt, Shunt::Pass);
        let rest = built("packetdefault");
        assert_eq!(
            (rest.right.host.clone(), rest.left.client),
            (whack::Host::Opportunistic, Some(Subnet::ALL_V4))
        );
        let six = built("packetdefault6");
        assert_eq!(six.left.client, Some(Subnet::ALL_V6));
        assert_eq!(six.right.client, Some(Subnet::ALL_V6));
        assert!(six.tunnel_ipv6);
        let own = "version 2.0\nconn packetdefault\n\tauto=ignore\n";
        let own = Config::parse("f", own);
        assert!(!own.implicit_names().any(|name| name.starts_with("packet")));
        assert!(
            Config::parse("f", "conn a\n")
                .implicit_names()
                .next()
                .is_none()
        );
    }

    #[test]
    fn b3_names_are_not_looked_up_here_and_keys_wait_for_their_address() {
        let ends = "\tleft=%defaultroute\n\tright=gw.example.com\n\trightnexthop=hop.example.com\n";
        let secret = build(&format!("{ends}\tauthby=secret\n"));
        let [Request::Connection(c)] = &secret[..] else {
            panic!("{secret:?}")
        };
        let name = |text: &str| whack::Live::Name(text.into());
        assert_eq!(c.left.host, whack::Host::Live(whack::Live::DefaultRoute));
        assert_eq!(c.left.live_nexthop, Some(whack::Live::DefaultRoute));
        assert_eq!(c.right.host, whack::Host::Live(name("gw.example.com")));
        assert_eq!(c.right.live_nexthop, Some(name("hop.example.com")));
    }

    #[test]
    fn opportunism_is_a_tunnel_to_everyone() {
        let all = build("\tleft=192.0.2.1\n\tright=%opportunistic\n");
        let Some(Request::Connection(c)) = all.last() else {
            panic!("{all:?}")
        };
        assert!(c.policy.opportunistic && c.right.key_from_dns_on_demand);
        assert_eq!(c.right.client, Some(Subnet::ALL_V4));
    }
}
