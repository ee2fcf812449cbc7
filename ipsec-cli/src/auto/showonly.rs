//! Requests written as the whack commands that a person would type for them.

use std::fmt::Write;
use whack::{Connection, End, Esn, Failure, Fragmentation, ListClass, Request, RereadClass, Shunt};

/// A shell script that does what the requests do.
pub fn script(requests: &[Request]) -> String {
    let mut out = String::new();
    for request in requests {
        let last = requests.len() == 1;
        let command = command(request);
        out.push_str(&command);
        out.push_str(match (last, matches!(request, Request::Delete { .. })) {
            (true, _) => "\n",
            // What is to be replaced need not be there.
            (false, true) => " || true\n",
            (false, false) => " \\\n\t|| exit $?\n",
        });
    }
    out
}

fn command(request: &Request) -> String {
    let named = |name: &str, what: &str| format!("ipsec whack --name {name} --{what}");
    match request {
        Request::Connection(connection) | Request::Replace(connection) => describe(connection),
        Request::Delete { name } => named(name, "delete"),
        Request::Route { name } => named(name, "route"),
        Request::Unroute { name } => named(name, "unroute"),
        Request::Initiate {
            name,
            asynchronous: false,
        } => named(name, "initiate"),
        Request::Initiate {
            name,
            asynchronous: true,
        } => format!("ipsec whack --asynchronous --name {name} --initiate"),
        Request::Terminate { name } => named(name, "terminate"),
        Request::Listen => "ipsec whack --listen".into(),
        Request::Status => "ipsec whack --status".into(),
        Request::Reread {
            class: RereadClass::Secrets,
        } => "ipsec whack --rereadsecrets".into(),
        Request::Reread {
            class: RereadClass::All,
        } => "ipsec whack --rereadall".into(),
        Request::List { class, utc } => {
            let utc = if *utc { " --utc" } else { "" };
            let what = if *class == ListClass::All {
                "listall"
            } else {
                "listpubkeys"
            };
            format!("ipsec whack{utc} --{what}")
        }
        Request::PublicKey { id, add, key, .. } => {
            let add = if *add { " --addkey" } else { "" };
            let key = key
                .as_ref()
                .map_or(String::new(), |k| format!(" --pubkeyrsa {}", quote(k)));
            format!("ipsec whack{add} --keyid {}{key}", quote(id))
        }
        // `ipsec auto` asks for nothing else.
        other => format!("# {other:?}"),
    }
}

/// Quotes for the shell, where it is needed and where the reference does.
fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| {
            matches!(c, '"' | '\\' | '$' | '`')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect();
    format!("\"{escaped}\"")
}

fn describe(c: &Connection) -> String {
    let mut out = format!("ipsec whack --name {}", c.name);
    if c.ipv6 {
        out.push_str(" --ipv6");
    }
    if c.tunnel_ipv6 != c.ipv6 {
        out.push_str(if c.tunnel_ipv6 {
            " --tunnelipv6"
        } else {
            " --tunnelipv4"
        });
    }
    let p = &c.policy;
    let flags = [
        (p.encrypt, "encrypt"),
        (p.tunnel, "tunnel"),
        (p.shunt == Shunt::Pass, "pass"),
        (p.shunt == Shunt::Drop, "drop"),
        (p.shunt == Shunt::Reject, "reject"),
        (p.failure == Failure::Pass, "failpass"),
        (p.failure == Failure::Drop, "faildrop"),
        (p.failure == Failure::Reject, "failreject"),
        (p.authenticate, "authenticate"),
        (p.pfs, "pfs"),
        (p.compress, "compress"),
        (p.disable_arrival_check, "disablearrivalcheck"),
        (p.rsasig, "rsasig"),
        (p.psk, "psk"),
    ];
    for (_, flag) in flags.iter().filter(|(on, _)| *on) {
        // Writing to a string can't fail.
        let _ = write!(out, " --{flag}");
    }
    for (option, text) in [("ike", &c.ike), ("esp", &c.esp), ("pfsgroup", &c.pfsgroup)] {
        if let Some(text) = text {
            let _ = write!(out, " --{option} {}", quote(text));
        }
    }
    match p.esn {
        Esn::No => {}
        Esn::Yes => out.push_str(" --esn yes"),
        Esn::Either => out.push_str(" --esn either"),
    }
    let _ = write!(
        out,
        " --ikelifetime \"{}\" \\\n\t{} \\\n\t--to {} \\\n",
        c.lifetimes.ike,
        end(&c.left),
        end(&c.right)
    );
    let l = &c.lifetimes;
    let _ = writeln!(
        out,
        "\t--ipseclifetime \"{}\" --rekeymargin \"{}\" \\",
        l.ipsec, l.rekey_margin
    );
    let _ = write!(
        out,
        "\t--keyingtries \"{}\" --rekeyfuzz \"{}\"",
        l.keying_tries, l.rekey_fuzz
    );
    if p.dont_rekey {
        out.push_str(" --dontrekey");
    }
    if p.force_encaps {
        out.push_str(" --forceencaps");
    }
    if p.dnssec {
        out.push_str(" --dnssec");
    }
    match c.fragmentation {
        Fragmentation::Yes => out.push_str(" --ikefrag-allow"),
        Fragmentation::Force => out.push_str(" --ikefrag-force"),
        Fragmentation::No => {}
    }
    if c.dpd.delay != 0 {
        let _ = write!(
            out,
            " \\\n\t--dpddelay \"{}\" --dpdtimeout \"{}\" --dpdaction \"{}\"",
            c.dpd.delay,
            c.dpd.timeout,
            c.dpd.action.name()
        );
    }
    out
}

fn end(end: &End) -> String {
    let mut out = format!("--host {}", quote(&end.host.to_string()));
    let template = matches!(
        end.host,
        whack::Host::Opportunistic | whack::Host::Group | whack::Host::OpportunisticGroup
    );
    if let Some(client) = end.client.filter(|c| !(template && c.is_all())) {
        let option = if end.client_within {
            "clientwithin"
        } else {
            "client"
        };
        let _ = write!(out, " --{option} {}", quote(&client.to_string()));
    }
    if let Some(virt) = &end.virt {
        let _ = write!(out, " --client {}", quote(&virt.to_string()));
    }
    if end.protoport != whack::ProtoPort::ANY {
        let _ = write!(
            out,
            " --clientprotoport {}",
            quote(&end.protoport.to_string())
        );
    }
    let hop = match (&end.nexthop, &end.live_nexthop) {
        (Some(hop), _) => hop.to_string(),
        (None, Some(live)) => live.to_string(),
        (None, None) => "%direct".to_string(),
    };
    let _ = write!(out, " --nexthop {}", quote(&hop));
    if let Some(source) = end.source_ip {
        let _ = write!(out, " --sourceip {}", quote(&source.to_string()));
    }
    for (option, text) in [("updown", &end.updown), ("id", &end.id)] {
        if let Some(text) = text {
            let _ = write!(out, " --{option} {}", quote(text));
        }
    }
    if end.key_from_dns_on_demand {
        out.push_str(" --dnskeyondemand");
    }
    out
}
