//! What KLIPS' tables say of the packets between two hosts.

use ipsec_types::Subnet;
use pfkey::client::{Control, Table};
use std::net::IpAddr;

/// An eroute from here to the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) packets: u64,
    /// `192.0.2.1/32 -> 1.2.3.4/32 => tun0x2097@1.2.3.5`, as the table has it.
    pub(super) text: String,
    pub(super) encrypts: bool,
}

/// What is known of a visitor's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// All eroutes that lead from here to the visitor, the one that counts first.
    pub(super) routes: Vec<Route>,
    /// Packets that came from the visitor to here out of a tunnel.
    pub(super) arrived: u64,
    /// Why nothing is known.
    pub(super) fault: Option<String>,
}

impl State {
    /// Asks KLIPS.
    pub(super) fn of(visitor: IpAddr, here: IpAddr) -> Self {
        let control = Control::find();
        match (control.table(Table::Eroute), control.table(Table::Spi)) {
            (Ok(eroutes), Ok(spis)) => Self {
                routes: routes(&eroutes, visitor, here),
                arrived: arrived(&spis, visitor, here),
                fault: None,
            },
            (Err(error), _) | (_, Err(error)) => Self {
                routes: Vec::new(),
                arrived: 0,
                fault: Some(error.to_string()),
            },
        }
    }

    /// Packets to the visitor go through a tunnel, and packets have come out of one.
    pub(super) fn encrypted(&self) -> bool {
        self.arrived > 0 && self.routes.first().is_some_and(|route| route.encrypts)
    }
}

/// A net of the table, without the port that may stand behind it; whether it has one.
fn net(text: &str) -> Option<(Subnet, bool)> {
    let (address, bits) = text.split_once('/')?;
    let (bits, port) = match bits.split_once(':') {
        Some((bits, _)) => (bits, true),
        None => (bits, false),
    };
    Some((format!("{address}/{bits}").parse().ok()?, port))
}

fn routes(table: &str, visitor: IpAddr, here: IpAddr) -> Vec<Route> {
    let mut found: Vec<(u32, Route)> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [packets, src, "->", dst, "=>", target] = words[..] else {
                return None;
            };
            let ((src_net, src_port), (dst_net, dst_port)) = (net(src)?, net(dst)?);
            // Eroutes of a port or protocol are about other packets than this page's, unless it is TCP's.
            let other_protocol = target.rsplit_once(':').is_some_and(|(_, protocol)| {
                protocol.bytes().all(|b| b.is_ascii_digit()) && protocol != "6"
            });
            if src_port || dst_port || (other_protocol && !target.contains("::")) {
                return None;
            }
            if !src_net.contains(here) || !dst_net.contains(visitor) {
                return None;
            }
            let route = Route {
                packets: packets.parse().ok()?,
                text: format!("{src} -> {dst} => {target}"),
                encrypts: ["tun", "esp"].iter().any(|kind| target.starts_with(kind)),
            };
            let width = u32::from(src_net.prefix()) + u32::from(dst_net.prefix());
            Some((width, route))
        })
        .collect();
    // The most specific one is what packets meet.
    found.sort_by_key(|(width, _)| core::cmp::Reverse(*width));
    found.into_iter().map(|(_, route)| route).collect()
}

fn arrived(table: &str, visitor: IpAddr, here: IpAddr) -> u64 {
    let of_a_line = |line: &str| -> Option<u64> {
        if !line.contains(" dir=in ") {
            return None;
        }
        let policy = line.split(" policy=").nth(1)?.split(' ').next()?;
        let (src, dst) = policy.split_once("->")?;
        if !net(src)?.0.contains(visitor) || !net(dst)?.0.contains(here) {
            return None;
        }
        match line.split("packets(").nth(1) {
            Some(count) => count.split(',').next()?.parse().ok(),
            // A single packet is not counted in the table, but it was a use.
            None => Some(u64::from(line.contains("usetime("))),
        }
    };
    table.lines().filter_map(of_a_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EROUTES: &str = "\
16         192.139.46.73/32   -> 1.2.3.4/32         => tun0x2097@1.2.3.5
9          192.139.46.77/32   -> 1.2.3.4/32         => tun0x208a@1.2.3.5
3          192.139.46.0/24    -> 0.0.0.0/0          => %trap
5          192.139.46.73/32   -> 0.0.0.0/0:53       => %pass:17
";

    #[test]
    fn the_most_specific_eroute_counts() {
        let here = "192.139.46.73".parse().unwrap();
        let to = |visitor: &str| routes(EROUTES, visitor.parse().unwrap(), here);
        let known = to("1.2.3.4");
        assert_eq!(known.len(), 2);
        assert_eq!(known[0].packets, 16);
        assert_eq!(
            known[0].text,
            "192.139.46.73/32 -> 1.2.3.4/32 => tun0x2097@1.2.3.5"
        );
        assert!(known[0].encrypts && !known[1].encrypts);
        assert!(!to("1.2.3.9")[0].encrypts);
    }

    #[test]
    fn packets_that_came_out_of_a_tunnel() {
        let spis = "\
tun0x1003@1.2.3.5 IPIP: dir=in  src=1.2.3.4 policy=1.2.3.4/32->192.139.46.73/32 life(c,s,h)=bytes(420,0,0)addtime(3,0,0)usetime(2,0,0)packets(5,0,0) idle=1 refcount=2 ref=3
esp0x2@1.2.3.5 ESP_3DES_HMAC_SHA1: dir=in  src=1.2.3.4 life(c,s,h)=packets(5,0,0) refcount=2 ref=4
";
        let here = "192.139.46.73".parse().unwrap();
        assert_eq!(arrived(spis, "1.2.3.4".parse().unwrap(), here), 5);
        assert_eq!(arrived(spis, "1.2.3.5".parse().unwrap(), here), 0);
    }
}
