//! Connections that get into each other's way: the same pair of clients through different gateways.

use crate::conn::{Conn, End};
use crate::diagnostic::Diagnostic;
use crate::value::Host;
use ipsec_types::{ProtoPort, Subnet};
use std::collections::HashMap;

type Client = (Option<Subnet>, Option<Host>, Option<ProtoPort>);

/// Warns of connections whose packets only one of them can carry. Takes time linear in their number.
pub fn clashes<'a>(conns: impl IntoIterator<Item = &'a Conn>) -> Vec<Diagnostic> {
    let mut seen: HashMap<(Client, Client), &Conn> = HashMap::new();
    let mut found = Vec::new();
    for conn in conns {
        // A road warrior's template becomes many connections, each with a client of its own.
        if [&conn.left, &conn.right].iter().any(|e| !is_fixed(&e.host)) {
            continue;
        }
        let (left, right) = (client(&conn.left), client(&conn.right));
        let key = if order(&left) <= order(&right) {
            (left, right)
        } else {
            (right, left)
        };
        let first = *seen.entry(key).or_insert(conn);
        if first.name != conn.name && !same_gateways(first, conn) {
            let message = format!(
                "conn \"{}\" and conn \"{}\" are for the same packets",
                conn.name, first.name
            );
            found.push(
                Diagnostic::warning(message, Some(conn.settings.header.clone()))
                    .other(&first.settings.header, "leads to another gateway")
                    .help("only one of them can be up at a time; narrow leftsubnet or rightsubnet of one"),
            );
        }
    }
    found
}

fn is_fixed(host: &Host) -> bool {
    matches!(host, Host::Address(_) | Host::Name(_) | Host::DefaultRoute)
}

fn client(end: &End) -> Client {
    // Without a subnet the gateway is its own client.
    let host = end.subnet.is_none().then(|| end.host.clone());
    (end.subnet, host, end.protoport)
}

fn order(client: &Client) -> String {
    format!("{client:?}")
}

fn same_gateways(a: &Conn, b: &Conn) -> bool {
    let pair = |c: &Conn| (c.left.host.clone(), c.right.host.clone());
    let flipped = |c: &Conn| (c.right.host.clone(), c.left.host.clone());
    pair(a) == pair(b) || pair(a) == flipped(b)
}
