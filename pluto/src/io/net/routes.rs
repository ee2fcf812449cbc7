//! The default routes of this host through rtnetlink: which device, which router, and our address there.

use std::{collections::HashMap, net::IpAddr};

use futures::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use rtnetlink::Handle;

use super::interfaces::{RawInterface, is_virtual};
use crate::engine::{DefaultRoute, DefaultRoutes};

/// A default route as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw {
    metric: u32,
    device: String,
    source: Option<IpAddr>,
    next_hop: Option<IpAddr>,
}

/// The default routes, given the addresses of all devices.
///
/// # Errors
/// What rtnetlink answers.
pub async fn default_routes(addresses: &[RawInterface]) -> Result<DefaultRoutes, String> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| format!("rtnetlink socket: {e}"))?;
    let connection = tokio::spawn(connection);
    let found = both(&handle, addresses).await;
    connection.abort();
    found.map_err(|e| format!("rtnetlink: {e}"))
}

async fn both(
    handle: &Handle,
    addresses: &[RawInterface],
) -> Result<DefaultRoutes, rtnetlink::Error> {
    let devices = super::interfaces::device_names(handle).await?;
    Ok(DefaultRoutes {
        v4: choose(
            raw(handle, AddressFamily::Inet, &devices).await?,
            addresses,
            false,
        ),
        v6: choose(
            raw(handle, AddressFamily::Inet6, &devices).await?,
            addresses,
            true,
        ),
    })
}

async fn raw(
    handle: &Handle,
    family: AddressFamily,
    devices: &HashMap<u32, (String, bool)>,
) -> Result<Vec<Raw>, rtnetlink::Error> {
    let mut wanted = RouteMessage::default();
    wanted.header.address_family = family;
    let mut all = Vec::new();
    let mut routes = std::pin::pin!(handle.route().get(wanted).execute());
    while let Some(route) = routes.try_next().await? {
        if is_default(&route) {
            all.extend(read(&route, devices));
        }
    }
    Ok(all)
}

/// Whether a route of the main table is for all that has no other.
pub fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && route.header.table == RouteHeader::RT_TABLE_MAIN
}

/// Of several ways that a route has, the first.
fn read(route: &RouteMessage, devices: &HashMap<u32, (String, bool)>) -> Option<Raw> {
    let (mut metric, mut index, mut source, mut next_hop) = (0, None, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::PrefSource(addr) => source = ip(addr),
            RouteAttribute::Gateway(addr) => next_hop = ip(addr),
            RouteAttribute::MultiPath(ways) => {
                let way = ways.first()?;
                index = Some(way.interface_index);
                next_hop = way.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(addr) => ip(addr),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let (device, _) = devices.get(&index?)?;
    Some(Raw {
        metric,
        device: device.clone(),
        source,
        next_hop,
    })
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some(IpAddr::V4(*addr)),
        RouteAddress::Inet6(addr) => Some(IpAddr::V6(*addr)),
        _ => None,
    }
}

/// The route with the lowest metric that is not through ipsecN, if its device has an address. None where two devices have an equal claim:
/// which of them packets take is not known, as for `ipsec setup`.
fn choose(mut routes: Vec<Raw>, addresses: &[RawInterface], ipv6: bool) -> Option<DefaultRoute> {
    routes.retain(|route| !is_virtual(&route.device));
    routes.sort_by_key(|route| route.metric);
    let first = routes.first()?.clone();
    let rival = |route: &&Raw| route.metric == first.metric && route.device != first.device;
    if routes.iter().any(|route| rival(&route)) {
        return None;
    }
    let ours = addresses
        .iter()
        .filter(|i| i.name == first.device && i.addr.is_ipv6() == ipv6);
    // One that lasts, if there is one: it is what peers and DNS know.
    let ours = ours.min_by_key(|i| i.passing).map(|i| i.addr);
    let address = first.source.or(ours)?;
    Some(DefaultRoute {
        device: first.device,
        address,
        next_hop: first.next_hop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(device: &str, metric: u32, next_hop: &str) -> Raw {
        Raw {
            metric,
            device: device.into(),
            source: None,
            next_hop: next_hop.parse().ok(),
        }
    }

    fn has(name: &str, addr: &str) -> RawInterface {
        RawInterface {
            name: name.into(),
            addr: addr.parse().unwrap(),
            up: true,
            passing: false,
        }
    }

    #[test]
    fn the_lowest_metric_wins_and_equals_on_two_devices_do_not() {
        let addresses = [
            has("wlan0", "10.0.0.5"),
            has("eth0", "2001:db8::1"),
            has("eth0", "192.0.2.1"),
        ];
        let all = vec![
            raw("ipsec0", 0, "192.0.2.254"),
            raw("wlan0", 600, "10.0.0.1"),
            raw("eth0", 100, "192.0.2.254"),
        ];
        let found = choose(all, &addresses, false).unwrap();
        assert_eq!(found.device, "eth0");
        assert_eq!(found.address.to_string(), "192.0.2.1");
        assert_eq!(found.next_hop.unwrap().to_string(), "192.0.2.254");
        let rivals = vec![raw("wlan0", 0, "10.0.0.1"), raw("eth0", 0, "192.0.2.254")];
        assert_eq!(choose(rivals, &addresses, false), None);
        assert_eq!(choose(vec![raw("ppp0", 0, "")], &addresses, false), None);
        let v6 = [
            RawInterface {
                passing: true,
                ..has("eth0", "2001:db8::9f3a")
            },
            has("eth0", "2001:db8::1"),
        ];
        let lasting = choose(vec![raw("eth0", 1024, "fe80::1")], &v6, true).unwrap();
        assert_eq!(lasting.address.to_string(), "2001:db8::1");
        let direct = choose(vec![raw("wlan0", 0, "")], &addresses, false).unwrap();
        assert_eq!(direct.next_hop, None);
    }
}
