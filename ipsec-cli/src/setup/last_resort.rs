//! Blackhole routes: what keeps packets from leaving in the clear while there is no KLIPS to take them.
//!
//! `_updown` puts one below each route that it makes. Here they are taken over for the length of a restart, and forgotten.

use super::Context;
use crate::net;

/// The routing protocol numbers of the blackhole routes that `_updown` makes, and of those for a restart.
const LAST_RESORT: &str = "250";
const RESTART: &str = "251";
/// Above `_updown`'s own, below every route of somebody else's.
const RESTART_METRIC: &str = "65534";
const FAMILIES: [&str; 2] = ["-4", "-6"];
/// The table of the routes to everything for what is forwarded, and the priorities of the rules that lead there.
const TABLE: &str = "250";
const RULES: [&str; 2] = ["249", "250"];
/// The device with nobody behind it, to which `_updown` has what an opportunistic policy drops.
const NOWHERE: &str = "noipsec0";

/// Packets that were routed to ipsecN until now are dropped from here on, whatever pluto takes away, until [`open`] or [`forget`].
pub fn close(context: &Context) {
    for family in FAMILIES {
        let list = ["route", "show", "type", "blackhole", "proto", LAST_RESORT];
        let routes = match net::ip(&[&[family], &list[..]].concat()) {
            Ok(routes) => routes,
            Err(error) => {
                context.messages.log(&error.to_string());
                continue;
            }
        };
        for destination in routes.lines().filter_map(destination) {
            let add = ["route", "replace", "blackhole", destination];
            let as_ours = ["metric", RESTART_METRIC, "proto", RESTART];
            if let Err(error) = net::ip(&[&[family], &add[..], &as_ours[..]].concat()) {
                context.messages.say(&format!(
                    "packets for {destination} may pass in the clear during the restart: {error}"
                ));
            }
        }
        close_nowhere(context, family);
        close_forwarded(context, family);
    }
}

/// The same for tunnels that take everything that is forwarded.
fn close_forwarded(context: &Context, family: &str) {
    let in_table = ["route", "show", "table", TABLE];
    let routes = net::ip(&[&[family], &in_table[..]].concat()).unwrap_or_default();
    if routes.trim().is_empty() {
        return;
    }
    let add = [family, "route", "replace", "blackhole", "default"];
    let as_ours = ["table", TABLE, "metric", RESTART_METRIC, "proto", RESTART];
    if let Err(error) = net::ip(&[&add[..], &as_ours[..]].concat()) {
        context.messages.say(&format!(
            "forwarded packets may pass in the clear during the restart: {error}"
        ));
    }
}

/// The same for what opportunistic policies drop.
fn close_nowhere(context: &Context, family: &str) {
    if !has_nowhere() {
        return;
    }
    let list = ["route", "show", "dev", NOWHERE, "proto", LAST_RESORT];
    let routes = net::ip(&[&[family], &list[..]].concat()).unwrap_or_default();
    for destination in routes.lines().filter_map(|l| l.split_whitespace().next()) {
        let add = [family, "route", "replace", destination, "dev", NOWHERE];
        let as_ours = ["metric", RESTART_METRIC, "proto", RESTART];
        if let Err(error) = net::ip(&[&add[..], &as_ours[..]].concat()) {
            context.messages.say(&format!(
                "packets for {destination} may pass in the clear during the restart: {error}"
            ));
        }
    }
}

fn has_nowhere() -> bool {
    net::ip(&["link", "show", "dev", NOWHERE]).is_ok()
}

/// The restart is over: what is routed to ipsecN again has a last resort of its own.
pub fn open(context: &Context) {
    flush(context, RESTART);
}

/// The restart is over, and something is still waited for, a device or a name: only what has a last resort of its own again is taken
/// over by that. The rest stays closed until `ipsec setup stop`, or another restart.
pub fn open_what_is_routed(context: &Context) {
    for family in FAMILIES {
        let blackholes = |proto: &str| {
            let list = ["route", "show", "type", "blackhole", "proto", proto];
            net::ip(&[&[family], &list[..]].concat()).unwrap_or_default()
        };
        let (own, restart) = (blackholes(LAST_RESORT), blackholes(RESTART));
        let own: Vec<&str> = own.lines().filter_map(destination).collect();
        for destination in restart.lines().filter_map(destination) {
            if !own.contains(&destination) {
                context.messages.say(&format!(
                    "packets for {destination} stay closed until their connection is routed again, or `ipsec setup stop'"
                ));
                continue;
            }
            let delete = [family, "route", "del", "blackhole", destination];
            if let Err(error) = net::ip(&[&delete[..], &["proto", RESTART]].concat()) {
                context.messages.log(&error.to_string());
            }
        }
    }
}

/// Packets of connections whose route went with a dead KLIPS may pass in the clear again: that is what stopping means.
pub fn forget(context: &Context) {
    flush(context, LAST_RESORT);
    flush(context, RESTART);
    for family in FAMILIES {
        // Those to ipsecN went with it, or with pluto.
        let _ = net::ip(&[family, "route", "flush", "table", TABLE]);
        drop_rules(family);
    }
    if has_nowhere()
        && let Err(error) = net::ip(&["link", "del", "dev", NOWHERE])
    {
        context.messages.log(&error.to_string());
    }
}

fn flush(context: &Context, proto: &str) {
    for family in FAMILIES {
        let args = [
            family,
            "route",
            "flush",
            "type",
            "blackhole",
            "proto",
            proto,
        ];
        if let Err(error) = net::ip(&args) {
            context.messages.log(&error.to_string());
        }
        if has_nowhere() {
            let args = [family, "route", "flush", "dev", NOWHERE, "proto", proto];
            if let Err(error) = net::ip(&args) {
                context.messages.log(&error.to_string());
            }
        }
        // An error says that there is no such table.
        let _ = net::ip(&[family, "route", "flush", "table", TABLE, "proto", proto]);
        let left = net::ip(&[family, "route", "show", "table", TABLE]);
        if left.is_ok_and(|routes| routes.trim().is_empty()) {
            drop_rules(family);
        }
    }
}

/// Forwarded packets go by the main table again.
fn drop_rules(family: &str) {
    for priority in RULES {
        // Most hosts have none.
        let _ = net::ip(&[family, "rule", "del", "priority", priority]);
    }
}

/// Of a line of `ip route`: `blackhole 192.0.2.0/24 metric 65535`.
fn destination(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|kind| *kind == "blackhole")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn a_line_of_ip_route() {
        let line = "blackhole 192.0.2.0/24 metric 65535 ";
        assert_eq!(destination(line), Some("192.0.2.0/24"));
        let line = "blackhole 2001:db8::/32 dev lo metric 65535 pref medium";
        assert_eq!(destination(line), Some("2001:db8::/32"));
        assert_eq!(destination("192.0.2.0/24 dev ipsec0"), None);
        assert_eq!(destination(""), None);
    }
}
