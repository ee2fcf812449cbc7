//! What iproute2 knows of this host: addresses of devices, routes, the default route. Asked as JSON, never parsed as prose.

use serde::Deserialize;
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// Why something about the network is not known or was not done.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// `ip` is not there.
    #[error("cannot run ip ({0}): install iproute2")]
    NoIp(std::io::Error),
    /// `ip` complained.
    #[error("`ip {command}' failed: {message}")]
    Failed {
        /// Its arguments.
        command: String,
        /// Its own words.
        message: String,
    },
    /// `ip` said something else than expected.
    #[error("`ip {0}' gives no JSON that is understood")]
    NotJson(String),
    /// No default route.
    #[error(
        "no default route, %defaultroute cannot cope: add one (ip route add default via ROUTER), or name the device in interfaces="
    )]
    NoDefaultRoute,
    /// More than one with the same metric.
    #[error(
        "multiple default routes ({0}), %defaultroute cannot cope: name the device in interfaces=, or give the routes metrics"
    )]
    ManyDefaultRoutes(String),
    /// A default route whose device has no address.
    #[error("device {0} of the default route has no address")]
    NoAddress(String),
}

/// Runs `ip` and gives what it printed.
pub fn ip(args: &[&str]) -> Result<String, NetError> {
    let output = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(NetError::NoIp)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(NetError::Failed {
            command: args.join(" "),
            message,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ask<T: for<'a> Deserialize<'a>>(args: &[&str]) -> Result<Vec<T>, NetError> {
    let text = ip(args)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).map_err(|_| NetError::NotJson(args.join(" ")))
}

/// An address of a device.
#[derive(Clone, Debug, Deserialize)]
pub struct Address {
    /// The address itself.
    pub local: IpAddr,
    /// `global`, `link`, `host`.
    pub scope: String,
    #[serde(default)]
    temporary: bool,
    #[serde(default)]
    deprecated: bool,
}

impl Address {
    /// Whether it is made to be given up (RFC 8981), or is being given up.
    pub fn is_passing(&self) -> bool {
        self.temporary || self.deprecated
    }
}

/// A device.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    /// `eth0`.
    pub ifname: String,
    /// `UP`, `BROADCAST` and the like.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Its addresses.
    #[serde(default)]
    pub addr_info: Vec<Address>,
}

impl Device {
    /// Whether it is switched on.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Addresses that others can reach, IPv4 first.
    pub fn addresses(&self) -> Vec<&Address> {
        let mut all: Vec<&Address> = self
            .addr_info
            .iter()
            .filter(|a| a.scope == "global" || a.scope == "site")
            .collect();
        all.sort_by_key(|a| a.local.is_ipv6());
        all
    }
}

/// All devices with their addresses.
pub fn devices() -> Result<Vec<Device>, NetError> {
    ask(&["-j", "addr", "show"])
}

/// One device, none if there is no such.
pub fn device(name: &str) -> Result<Option<Device>, NetError> {
    Ok(devices()?.into_iter().find(|d| d.ifname == name))
}

#[derive(Clone, Debug, Deserialize)]
struct Route {
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    dev: Option<String>,
    #[serde(default)]
    metric: u32,
}

/// The default route, with the address that this host has on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The device it takes.
    pub device: String,
    /// Our address there.
    pub address: IpAddr,
    /// The router; none on a point-to-point link.
    pub next_hop: Option<IpAddr>,
}

/// Finds the default route: IPv4, else IPv6; of several the one with the lowest metric. Routes through ipsecN don't count.
pub fn default_route() -> Result<DefaultRoute, NetError> {
    match default_route_of("-4") {
        Err(NetError::NoDefaultRoute) => default_route_of("-6"),
        other => other,
    }
}

fn default_route_of(family: &str) -> Result<DefaultRoute, NetError> {
    let routes: Vec<Route> = ask(&["-j", family, "route", "show", "default"])?;
    let (route, device) = choose(routes)?;
    let found = self::device(&device)?;
    let wanted_v6 = family == "-6";
    let addresses = found.as_ref().map(Device::addresses).unwrap_or_default();
    let mut ours = addresses.iter().filter(|a| a.local.is_ipv6() == wanted_v6);
    let lasting = ours.clone().find(|a| !a.is_passing());
    let address = lasting.or_else(|| ours.next());
    let address = address
        .ok_or_else(|| NetError::NoAddress(device.clone()))?
        .local;
    Ok(DefaultRoute {
        device,
        address,
        next_hop: route.gateway,
    })
}

fn choose(routes: Vec<Route>) -> Result<(Route, String), NetError> {
    let mut usable: Vec<(Route, String)> = routes
        .into_iter()
        .filter_map(|r| r.dev.clone().map(|d| (r, d)))
        .filter(|(_, dev)| !dev.starts_with("ipsec"))
        .collect();
    usable.sort_by_key(|(r, _)| r.metric);
    match &usable[..] {
        [] => Err(NetError::NoDefaultRoute),
        [first, second, ..] if first.0.metric == second.0.metric => Err(
            NetError::ManyDefaultRoutes(format!("{}, {}", first.1, second.1)),
        ),
        [first, ..] => Ok(first.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(json: &str) -> Result<(Route, String), NetError> {
        choose(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn the_lowest_metric_wins_and_ipsec_devices_do_not_count() {
        let json = r#"[{"dst":"default","dev":"ipsec0"},{"dst":"default","gateway":"192.0.2.254","dev":"wlan0","metric":600,"flags":[]},
            {"dst":"default","gateway":"192.0.2.1","dev":"eth0","metric":100}]"#;
        let (route, device) = routes(json).unwrap();
        assert_eq!(
            (device.as_str(), route.gateway.unwrap().to_string().as_str()),
            ("eth0", "192.0.2.1")
        );
    }

    #[test]
    fn equal_routes_and_none_are_told() {
        assert!(matches!(routes("[]"), Err(NetError::NoDefaultRoute)));
        let two = r#"[{"dst":"default","dev":"a"},{"dst":"default","dev":"b"}]"#;
        assert!(matches!(routes(two), Err(NetError::ManyDefaultRoutes(d)) if d == "a, b"));
    }
}
