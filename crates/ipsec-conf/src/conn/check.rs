//! What must not be said together in a connection, and what would be right.

use super::{Conn, ConnType, End, Side, Taker};
use crate::diagnostic::Diagnostic;
use crate::keyword::{self, SectionKind};
use crate::value::{self, Host, NextHop, RsaKey};

/// Values that must be one of a few words.
pub(super) fn words(t: &mut Taker<'_>) {
    for (name, setting) in t.settings.iter() {
        if let Some(keyword) = keyword::find(SectionKind::Conn, name)
            && let keyword::Kind::OneOf(words) = keyword.kind
            && let Err(error) = value::one_of(&setting.value, words)
        {
            t.complain(name, Some(setting), error);
        }
    }
}

/// What contradicts each other, among values that are each right.
pub(super) fn together(t: &mut Taker<'_>, conn: &Conn) {
    // What does not parse has been complained about; more would only confuse.
    if t.problems.iter().any(Diagnostic::is_error) {
        return;
    }
    hosts(t, conn);
    for (side, end) in [(Side::Left, &conn.left), (Side::Right, &conn.right)] {
        one_end(t, conn, side, end);
    }
    subnets(t, conn);
    lives(t, conn);
    dpd(t, conn);
    names(t);
    if conn.left.protoport.map(|p| p.proto) != conn.right.protoport.map(|p| p.proto)
        && conn.left.protoport.is_some()
        && conn.right.protoport.is_some()
    {
        let message = "leftprotoport and rightprotoport name different protocols";
        t.contradiction(
            ["leftprotoport", "rightprotoport"],
            message,
            "use one protocol; the ports may differ",
        );
    }
}

/// Keywords with two names.
fn names(t: &mut Taker<'_>) {
    for (one, other) in [("phase2alg", "esp"), ("phase2", "auth")] {
        let (given, known) = (t.text(one), t.text(other));
        if given.is_some() && known.is_some() && given != known {
            let message = format!("{one} and {other} say different things");
            t.contradiction([one, other], &message, "leave one of them out");
        }
    }
}

fn hosts(t: &mut Taker<'_>, conn: &Conn) {
    let (left, right) = (&conn.left.host, &conn.right.host);
    let fixed = |h: &Host| matches!(h, Host::Address(_) | Host::Name(_) | Host::DefaultRoute);
    if left == right && *left == Host::DefaultRoute {
        t.contradiction(
            ["right", "left"],
            "left and right cannot both be %defaultroute",
            "give the other gateway's address",
        );
    } else if left == right && fixed(left) {
        t.contradiction(
            ["right", "left"],
            "left and right are the same host",
            "one of them is the other gateway",
        );
    } else if !fixed(left) && !fixed(right) {
        t.contradiction(
            ["right", "left"],
            "neither left nor right is a known host",
            "give this host's address, or %defaultroute",
        );
    }
    if let (Host::Address(l), Host::Address(r)) = (left, right)
        && l.is_ipv4() != r.is_ipv4()
    {
        t.contradiction(
            ["right", "left"],
            "left and right are of different address families",
            "use IPv4 or IPv6 on both sides",
        );
    }
}

/// The far gateway takes out of the tunnel only what comes from the subnet that was agreed on.
fn source_ip(t: &mut Taker<'_>, side: Side, end: &End, source: core::net::IpAddr) {
    let (name, subnet) = (side.key("sourceip"), side.key("subnet"));
    let behind = match (&end.host, end.subnet) {
        (_, Some(net)) => Some(net),
        (Host::Address(host), None) => Some(ipsec_types::Subnet::host(*host)),
        _ => None,
    };
    if behind.is_some_and(|net| !net.contains(source)) {
        let message = format!("{name}={source} is not within {subnet}");
        t.contradiction(
            [&name, &subnet],
            &message,
            "give an address of this gateway that lies within the subnet behind it",
        );
    }
}

fn one_end(t: &mut Taker<'_>, conn: &Conn, side: Side, end: &End) {
    let (hop, subnet) = (side.key("nexthop"), side.key("subnet"));
    if end.host == Host::DefaultRoute && !matches!(end.next_hop, NextHop::Direct) {
        let help = "remove the nexthop; %defaultroute brings it along";
        t.contradiction(
            [&hop, side.name()],
            &format!("{hop} contradicts {}=%defaultroute", side.name()),
            help,
        );
    }
    if let (Host::Address(host), NextHop::Address(next)) = (&end.host, &end.next_hop)
        && host == next
    {
        let message = format!("{} and {hop} must not be the same", side.name());
        t.contradiction(
            [&hop, side.name()],
            &message,
            "give the router that this gateway uses, or leave it out",
        );
    }
    if conn.conn_type == ConnType::Transport && end.subnet.is_some() {
        let message = format!("type=transport is incompatible with {subnet}");
        t.contradiction(
            [&subnet, "type"],
            &message,
            "transport mode is for the two hosts alone: remove the subnet, or use type=tunnel",
        );
    }
    if let Some(source) = end.source_ip {
        source_ip(t, side, end, source);
    }
    if end.virtual_subnet.is_some() && end.host != Host::Any {
        let message = format!(
            "{subnet}=vhost: is for a road warrior, {}=%any",
            side.name()
        );
        t.contradiction(
            [&subnet, side.name()],
            &message,
            "give the subnet itself: where the peer's address is known, so is what is behind it",
        );
    }
    let nobody = match (&end.id, &end.host) {
        (Some(id), _) => id == "%any",
        (None, host) => matches!(host, Host::Any),
    };
    let unknowable = matches!(
        end.rsasigkey,
        Some(RsaKey::Key(_) | RsaKey::DnsOnDemand | RsaKey::DnsOnLoad)
    );
    if conn.rsasig && !conn.psk && nobody && unknowable {
        let id = side.key("id");
        let error = Diagnostic::error(
            format!("{}=%any cannot have an RSA key without {id}=", side.name()),
            t.span(side.name()),
        );
        t.problems.push(error.help(format!(
            "add {id}=@NAME, the identity that this road warrior will show"
        )));
    }
}

fn subnets(t: &mut Taker<'_>, conn: &Conn) {
    let (Some(left), Some(right)) = (conn.left.subnet, conn.right.subnet) else {
        return;
    };
    let keys = ["rightsubnet", "leftsubnet"];
    if left.addr().is_ipv4() != right.addr().is_ipv4() {
        t.contradiction(
            keys,
            "leftsubnet and rightsubnet are of different address families",
            "use IPv4 or IPv6 on both sides",
        );
    }
    // 0.0.0.0/0 is "everything else"; a shunt may well be for packets within one net.
    if conn.conn_type != ConnType::Tunnel
        || left.is_all()
        || right.is_all()
        || !left.overlaps(&right)
    {
        return;
    }
    if left == right {
        t.contradiction(
            keys,
            &format!("leftsubnet and rightsubnet overlap: both are {left}"),
            "a packet must have a direction: renumber one of the sites, or narrow one of the subnets",
        );
    } else {
        let (inner, outer) = if left.contains_subnet(&right) {
            (right, left)
        } else {
            (left, right)
        };
        t.doubt(
            keys,
            &format!("leftsubnet and rightsubnet overlap: {inner} lies within {outer}"),
            &format!(
                "fine if all of {inner} is behind that gateway alone; what its hosts send each other needs a \
                 type=passthrough conn if it passes the gateway; if not meant, narrow {outer}"
            ),
        );
    }
}

fn lives(t: &mut Taker<'_>, conn: &Conn) {
    for (name, life) in [("keylife", conn.keylife), ("ikelifetime", conn.ikelifetime)] {
        let margin = u64::from(conn.rekeymargin) * (100 + u64::from(conn.rekeyfuzz)) / 100;
        if life > LONGEST_LIFE {
            t.contradiction(
                [name, name],
                &format!("{name} is longer than a day"),
                "write at most 24h",
            );
        } else if life == 0 {
            t.contradiction(
                [name, name],
                &format!("{name} is zero"),
                "write a time such as 8h",
            );
        } else if conn.rekey && u64::from(life) <= margin {
            let key = if t.settings.get(name).is_some() {
                name
            } else {
                "rekeymargin"
            };
            let message = format!(
                "{name} of {life}s leaves no time: rekeymargin with rekeyfuzz comes to {margin}s"
            );
            t.contradiction(
                [key, "rekeymargin"],
                &message,
                "lengthen it, or shorten rekeymargin",
            );
        }
    }
}

fn dpd(t: &mut Taker<'_>, conn: &Conn) {
    if conn.dpddelay.is_none() && conn.dpdtimeout.is_none() {
        if conn.dpdaction != "hold" {
            t.doubt(
                ["dpdaction", "dpdaction"],
                "dpdaction= does nothing without dpddelay=",
                "add dpddelay=30s and dpdtimeout=120s, or such",
            );
        }
        return;
    }
    let delay = conn.dpddelay.unwrap_or(DPD_DEFAULTS.0);
    let timeout = conn.dpdtimeout.unwrap_or(DPD_DEFAULTS.1);
    for (name, seconds) in [("dpddelay", delay), ("dpdtimeout", timeout)] {
        if seconds > LONGEST_LIFE {
            let message = format!("{name} is longer than a day");
            t.contradiction([name, name], &message, "write at most 24h");
            return;
        }
    }
    // 0 switches it off.
    if delay != 0 && timeout <= delay {
        let key = if conn.dpdtimeout.is_some() {
            "dpdtimeout"
        } else {
            "dpddelay"
        };
        t.contradiction(
            [key, "dpddelay"],
            &format!("dpdtimeout of {timeout}s is not longer than dpddelay of {delay}s"),
            "the peer is asked after dpddelay and must have time to answer: lengthen dpdtimeout",
        );
    }
}

/// Of any SA, in seconds.
const LONGEST_LIFE: u32 = 86_400;

/// What `dpddelay=` and `dpdtimeout=` are where only the other is given.
const DPD_DEFAULTS: (u32, u32) = (30, 120);
