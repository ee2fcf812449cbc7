//! The addresses of this host through rtnetlink, paired with the ipsecN devices of KLIPS, and word
//! of every change. Opening sockets on them is the business of `sockets`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    super::{driver::Input, klips::Attachment},
    routes,
};
use crate::engine::Interface;

/// Changes come in bursts: wait until none came for this long,
const QUIET: Duration = Duration::from_millis(200);
/// but no more of them than this.
const MAX_BURST: u32 = 25;
/// After a change it is looked again so often, so long apart.
const LOOKS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
const DEVICE_PREFIX: &str = "ipsec";

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawInterface {
    /// The device.
    pub name: String,
    /// The address.
    pub addr: IpAddr,
    /// Whether the device is up: only then can a socket be opened on the address.
    pub up: bool,
    /// Whether it is made to be given up, as a temporary address of IPv6, or is being given up.
    pub passing: bool,
}

impl RawInterface {
    /// Whether it is to be listened on: its device is up, or was when `known` was found. A device that goes down keeps its
    /// addresses, and the SAs of the connections there wait for it to come back.
    pub fn counts(&self, known: &[Interface]) -> bool {
        let same = |i: &Interface| i.phys == self.name && i.addr == self.addr;
        self.up || known.iter().any(same)
    }
}

/// All addresses, by order of the kernel. Link-local and not yet usable IPv6 addresses are left out.
pub async fn raw_interfaces() -> Result<Vec<RawInterface>, String> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| format!("rtnetlink socket: {e}"))?;
    let connection = tokio::spawn(connection);
    let found = dump(&handle).await;
    connection.abort();
    found.map_err(|e| format!("rtnetlink: {e}"))
}

/// All devices by their numbers: the name, and whether it is up.
pub async fn device_names(
    handle: &Handle,
) -> Result<HashMap<u32, (String, bool)>, rtnetlink::Error> {
    let mut devices = HashMap::new();
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.try_next().await? {
        if let Some(name) = name_of(&link) {
            let up = link.header.flags.contains(LinkFlags::Up);
            devices.insert(link.header.index, (name.to_owned(), up));
        }
    }
    Ok(devices)
}

async fn dump(handle: &Handle) -> Result<Vec<RawInterface>, rtnetlink::Error> {
    let devices = device_names(handle).await?;
    let mut found = Vec::new();
    let mut addresses = std::pin::pin!(handle.address().get().execute());
    while let Some(address) = addresses.try_next().await? {
        let device = devices.get(&address.header.index);
        if let (Some(addr), Some((name, up))) = (usable(&address), device) {
            found.push(RawInterface {
                name: name.clone(),
                addr,
                up: *up,
                passing: is_passing(&address),
            });
        }
    }
    Ok(found)
}

fn usable(message: &AddressMessage) -> Option<IpAddr> {
    let unready = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let unready_too = AddressFlags::Tentative | AddressFlags::Dadfailed;
    let (mut local, mut addr) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => addr = Some(*ip),
            AddressAttribute::Flags(flags) if flags.intersects(unready_too) => return None,
            _ => {}
        }
    }
    // On a point-to-point link "address" is the other end's.
    let ip = local.or(addr)?;
    let link_local = ip.is_ipv6() && message.header.scope == AddressScope::Link;
    let out = link_local || ip.is_unspecified() || message.header.flags.intersects(unready);
    (!out).then_some(ip)
}

/// IFA_F_SECONDARY of an IPv6 address is IFA_F_TEMPORARY.
fn is_passing(message: &AddressMessage) -> bool {
    let flags = AddressHeaderFlags::Secondary | AddressHeaderFlags::Deprecated;
    message.header.family == AddressFamily::Inet6 && message.header.flags.intersects(flags)
}

/// Pairs physical devices with the ipsecN devices attached to them, and says what is amiss. With no
/// KLIPS (`attached` is None) every address counts. `only` restricts the devices, if not empty.
pub fn pair(
    raw: &[RawInterface],
    attached: Option<&[Attachment]>,
    only: &[String],
) -> (Vec<Interface>, Vec<String>) {
    let physical =
        |i: &&RawInterface| !is_virtual(&i.name) && (only.is_empty() || only.contains(&i.name));
    let mut by_addr: HashMap<IpAddr, Vec<&RawInterface>> = HashMap::new();
    for interface in raw.iter().filter(physical) {
        by_addr.entry(interface.addr).or_default().push(interface);
    }
    let (mut paired, mut complaints) = (Vec::new(), Vec::new());
    for interface in raw.iter().filter(physical) {
        let sharing = &by_addr[&interface.addr];
        if let [first, second, ..] = sharing[..] {
            if std::ptr::eq(first, interface) {
                complaints.push(format!(
                    "IP interfaces {} and {} share address {}!",
                    first.name, second.name, first.addr
                ));
            }
            continue;
        }
        let virt = match attached {
            None => format!("virtual{}", interface.addr),
            Some(attached) => match attached.iter().find(|a| a.phys == interface.name) {
                Some(attachment) => attachment.virt.clone(),
                None => continue,
            },
        };
        paired.push(Interface {
            virt,
            phys: interface.name.clone(),
            addr: interface.addr,
        });
    }
    (paired, complaints)
}

/// Whether a device is one of KLIPS'.
pub fn is_virtual(name: &str) -> bool {
    name.strip_prefix(DEVICE_PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// What messages of rtnetlink are about.
#[derive(Debug, Default)]
struct News {
    interfaces: bool,
    routes: bool,
    /// ipsecN devices that came up.
    risen: Vec<String>,
}

impl News {
    fn is_none(&self) -> bool {
        !self.interfaces && !self.routes
    }

    /// Takes one message more. `down` are the ipsecN devices that are down, as far as is known.
    fn add(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>, down: &mut HashSet<String>) {
        let NetlinkPayload::InnerMessage(message) = &message.payload else {
            return;
        };
        match message {
            RouteNetlinkMessage::NewRoute(route) => {
                self.interfaces |= routes::is_default(route);
                self.routes |= leads_to_peers(route);
            }
            RouteNetlinkMessage::DelRoute(route) => {
                self.interfaces |= routes::is_default(route);
            }
            RouteNetlinkMessage::NewLink(link) => {
                self.interfaces = true;
                let Some(name) = name_of(link).filter(|name| is_virtual(name)) else {
                    return;
                };
                if !link.header.flags.contains(LinkFlags::Up) {
                    down.insert(name.to_owned());
                } else if down.remove(name) {
                    self.risen.push(name.to_owned());
                }
            }
            _ => self.interfaces = true,
        }
    }

    fn inputs(self) -> impl Iterator<Item = Input> {
        // An address that has come with a route is known before the route is made use of.
        let interfaces = self.interfaces.then_some(Input::InterfacesChanged);
        let risen = self.risen.into_iter().map(Input::DeviceUp);
        let routes = self.routes.then_some(Input::RoutesAppeared);
        interfaces.into_iter().chain(risen).chain(routes)
    }
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

/// Whether a route may be the way to a peer: one of the main table, and not one to ipsecN, of which the updown commands make thousands.
fn leads_to_peers(route: &RouteMessage) -> bool {
    let header = &route.header;
    let device = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => nix::net::if_::if_indextoname(*index).ok(),
            _ => None,
        });
    let to_ipsec = device.is_some_and(|name| is_virtual(&name.to_string_lossy()));
    header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast && !to_ipsec
}

/// Tells the driver of changes of links and addresses, and of routes that appear, a burst of them once.
pub async fn watch(inputs: mpsc::Sender<Input>) {
    let mut down = HashSet::new();
    loop {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        match rtnetlink::new_multicast_connection(&groups) {
            Ok((connection, _handle, mut changes)) => {
                let connection = tokio::spawn(connection);
                let mut looks = 0;
                loop {
                    let mut news = News::default();
                    let patience = if looks > 0 { AGAIN } else { Duration::MAX };
                    match timeout(patience, changes.next()).await {
                        Ok(Some((message, _))) => {
                            news.add(&message, &mut down);
                            if news.is_none() {
                                continue;
                            }
                            looks = LOOKS;
                        }
                        Ok(None) => break,
                        // KLIPS has its own news of the same change, and may have been later.
                        Err(_) => {
                            looks -= 1;
                            news.interfaces = true;
                        }
                    }
                    let mut burst = 0;
                    while burst < MAX_BURST
                        && let Ok(Some((message, _))) = timeout(QUIET, changes.next()).await
                    {
                        news.add(&message, &mut down);
                        burst += 1;
                    }
                    for input in news.inputs() {
                        if inputs.send(input).await.is_err() {
                            return;
                        }
                    }
                }
                connection.abort();
            }
            Err(e) => {
                let text = format!("cannot watch interfaces (rtnetlink: {e})");
                let _ = inputs.send(Input::Complaint(text)).await;
            }
        }
        // The socket was lost, and changes with it.
        sleep(RETRY).await;
        if inputs.send(Input::InterfacesChanged).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &str, addr: &str) -> RawInterface {
        RawInterface {
            name: name.into(),
            addr: addr.parse().unwrap(),
            up: true,
            passing: false,
        }
    }

    #[test]
    fn a_known_address_of_a_device_that_went_down_still_counts() {
        let known = [Interface {
            virt: "ipsec0".into(),
            phys: "eth0".into(),
            addr: "192.0.2.1".parse().unwrap(),
        }];
        let down = |name, addr| RawInterface {
            up: false,
            ..raw(name, addr)
        };
        assert!(raw("eth0", "192.0.2.9").counts(&[]));
        assert!(!down("eth0", "192.0.2.1").counts(&[]));
        assert!(down("eth0", "192.0.2.1").counts(&known));
        assert!(!down("eth0", "192.0.2.2").counts(&known));
        assert!(!down("eth1", "192.0.2.1").counts(&known));
    }

    fn attachment(virt: &str, phys: &str) -> Attachment {
        Attachment {
            virt: virt.into(),
            phys: phys.into(),
        }
    }

    #[test]
    fn physical_devices_pair_with_what_is_attached() {
        let all = [
            raw("lo", "127.0.0.1"),
            raw("eth0", "192.0.2.1"),
            raw("eth0", "2001:db8::1"),
            raw("eth1", "10.0.1.1"),
            raw("ipsec0", "192.0.2.1"),
        ];
        let (paired, complaints) = pair(&all, Some(&[attachment("ipsec0", "eth0")]), &[]);
        let names: Vec<_> = paired
            .iter()
            .map(|i| format!("{}/{} {}", i.virt, i.phys, i.addr))
            .collect();
        assert_eq!(names, ["ipsec0/eth0 192.0.2.1", "ipsec0/eth0 2001:db8::1"]);
        assert!(complaints.is_empty());

        let (paired, _) = pair(&all, None, &["eth1".into()]);
        assert_eq!(paired.len(), 1);
        assert_eq!(paired[0].virt, "virtual10.0.1.1");
    }

    #[test]
    fn a_shared_address_is_reported_once_and_not_used() {
        let all = [
            raw("eth0", "192.0.2.1"),
            raw("eth1", "192.0.2.1"),
            raw("eth2", "192.0.2.2"),
        ];
        let (paired, complaints) = pair(&all, None, &[]);
        assert_eq!(paired.len(), 1);
        assert_eq!(
            complaints,
            ["IP interfaces eth0 and eth1 share address 192.0.2.1!"]
        );
    }

    #[test]
    fn only_ipsec_and_a_number_is_virtual() {
        assert!(is_virtual("ipsec0") && is_virtual("ipsec17"));
        assert!(!is_virtual("ipsec") && !is_virtual("ipsec-wan") && !is_virtual("eth0"));
    }
}
