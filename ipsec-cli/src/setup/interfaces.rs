//! ipsecN devices: attached to physical ones, given their addresses, switched on; and the system's settings around them.

use super::Context;
use crate::net::{self, DefaultRoute, NetError};
use ipsec_conf::{Interface, RpFilter, Setup};
use pfkey::client::{ClientError, Control, Table};
use std::fmt::Write;
use std::net::IpAddr;

/// What has come of `interfaces=`.
#[derive(Debug, Default)]
pub struct Attached {
    /// The lines about the default route for ipsec.info.
    pub info: String,
    /// What cannot be attached yet.
    pub waits: Vec<Waits>,
}

/// An ipsecN that waits for its physical device.
#[derive(Debug)]
pub struct Waits {
    /// Why, and what would help.
    pub why: String,
    /// It may well be a mistake, and not only be too early.
    pub amiss: bool,
}

/// Does what `interfaces=` says, as far as it can be done now; what is so already is left alone, so that this may be done at any time. What
/// cannot be done yet is no error: the watcher does it when the device, its address or the default route is there.
pub fn attach(context: &Context, setup: &Setup, control: &Control) -> Result<Attached, String> {
    let mut all = Attached::default();
    for interface in &setup.interfaces {
        let outcome = match interface {
            Interface::Pair {
                virtual_device,
                physical,
            } => attach_one(context, setup, control, virtual_device, physical),
            Interface::DefaultRoute => match net::default_route() {
                Ok(route) => {
                    note(&mut all.info, &route);
                    attach_one(context, setup, control, "ipsec0", &route.device)
                }
                Err(error) => Ok(Some(Waits {
                    why: error.to_string(),
                    amiss: !matches!(error, NetError::NoDefaultRoute | NetError::NoAddress(_)),
                })),
            },
        };
        all.waits.extend(outcome?);
    }
    if all.info.is_empty() {
        all.info.push_str("#dr: no default route\n");
    }
    for waits in &all.waits {
        let _ = writeln!(all.info, "{WAITS}{}", waits.why);
    }
    Ok(all)
}

/// In ipsec.info, before what an ipsecN waits for.
pub const WAITS: &str = "#waits: ";

fn note(info: &mut String, route: &DefaultRoute) {
    // Writing to a string can't fail.
    let _ = writeln!(
        info,
        "defaultroutephys={}\ndefaultroutevirt=ipsec0\ndefaultrouteaddr={}",
        route.device, route.address
    );
    if let Some(hop) = route.next_hop {
        let _ = writeln!(info, "defaultroutenexthop={hop}");
    }
}

/// Attaches one, or gives what it waits for.
fn attach_one(
    context: &Context,
    setup: &Setup,
    control: &Control,
    device: &str,
    physical: &str,
) -> Result<Option<Waits>, String> {
    let waits = |why: String, amiss: bool| Ok(Some(Waits { why, amiss }));
    let found = net::device(physical).map_err(|e| e.to_string())?;
    let Some(found) = found else {
        let why = format!(
            "device {physical} of {device} does not exist: correct interfaces= (`ip link' shows the devices), or it is attached when it appears"
        );
        return waits(why, true);
    };
    let addresses = found.addresses();
    let mtu = setup.overridemtu.map_or(String::new(), |m| format!(" {m}"));
    let failed = |e: ClientError| e.to_string();
    let before = attached(control, device)?;
    // Detaching would take the routes to it away for a moment, and packets would pass in the clear.
    let same = before.as_ref().is_some_and(|(on, _)| on == physical);
    if !same {
        if addresses.is_empty() {
            let why = format!(
                "unable to determine address of `{physical}': give it one (ip addr add); {device} is attached when it has one"
            );
            return waits(why, false);
        }
        if !found.is_up() {
            let why = format!(
                "device {physical} of {device} is down: bring it up (ip link set {physical} up); {device} is attached when it is up"
            );
            return waits(why, true);
        }
        if before.is_some() {
            control.detach(device).map_err(failed)?;
        }
        control
            .attach(device, physical, setup.overridemtu)
            .map_err(failed)?;
        if let Control::Kernel = control {
            quieten(device);
        }
    }
    follow_addresses(device, &addresses)?;
    if !same {
        context.messages.log(&format!(
            "KLIPS {device} on {physical} {}{mtu}",
            addresses
                .first()
                .map(|address| address.local.to_string())
                .unwrap_or_default()
        ));
        filter(context, setup, physical);
    }
    Ok(None)
}

/// Gives what an earlier life left attached the MTU that `overridemtu=` says. This is for the start alone: between two starts a person
/// may set another one (`ip link set ipsec0 mtu`), and that one stays.
pub fn settle_mtu(setup: &Setup, control: &Control) -> Result<(), String> {
    let wanted = setup.overridemtu.unwrap_or(DEVICE_MTU);
    let table = control.table(Table::TnCfg).map_err(|e| e.to_string())?;
    for device in table.lines().filter_map(|l| l.split_whitespace().next()) {
        if attachment_in(&table, device).is_some_and(|(_, shown)| shown != wanted) {
            net::ip(&["link", "set", device, "mtu", &wanted.to_string()])
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// What the kernel would do by itself on its ipsecN and must not: drop packets whose way back is another, and send router
/// solicitations. klipsd does the same for its own.
fn quieten(device: &str) {
    for (key, value) in [
        ("ipv4/conf/{}/rp_filter", "0"),
        ("ipv6/conf/{}/addr_gen_mode", "1"),
        ("ipv6/conf/{}/accept_ra", "0"),
    ] {
        // A kernel without IPv6 lacks some.
        let _ = std::fs::write(
            format!("/proc/sys/net/{}", key.replace("{}", device)),
            value,
        );
    }
}

/// Takes the kernel's ipsecN down and off their physical devices; klipsd's go with klipsd.
pub fn detach_all() -> Result<(), String> {
    let table = Control::Kernel
        .table(Table::TnCfg)
        .map_err(|e| e.to_string())?;
    for device in table.lines().filter_map(|l| l.split_whitespace().next()) {
        if attachment_in(&table, device).is_some() {
            net::ip(&["link", "set", device, "down"]).map_err(|e| e.to_string())?;
            net::ip(&["addr", "flush", "dev", device]).map_err(|e| e.to_string())?;
        }
    }
    Control::Kernel.clear().map_err(|e| e.to_string())
}

fn attachment_in(table: &str, device: &str) -> Option<(String, u32)> {
    table.lines().find_map(|line| attachment(line, device))
}

/// The MTU that ipsecN shows where `overridemtu=` says nothing.
const DEVICE_MTU: u32 = 16260;

/// What an earlier life left `device` attached to, and the MTU it shows.
fn attached(control: &Control, device: &str) -> Result<Option<(String, u32)>, String> {
    let table = control.table(Table::TnCfg).map_err(|e| e.to_string())?;
    Ok(attachment_in(&table, device))
}

/// Reads a line of ipsec_tncfg(5): `ipsec0 -> eth1 mtu=16260(1500) -> 1500`.
fn attachment(line: &str, device: &str) -> Option<(String, u32)> {
    let mut words = line.split_whitespace();
    let (name, _, physical) = (words.next()?, words.next()?, words.next()?);
    let mtu = words.next()?.strip_prefix("mtu=")?.split('(').next()?;
    if name != device || physical == "NULL" {
        return None;
    }
    Some((physical.to_string(), mtu.parse().ok()?))
}

/// As `ip addr` takes an address alone: `192.0.2.1/32`.
fn whole(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv6() { 128 } else { 32 })
}

/// Gives a device the addresses of its physical one, takes those from it that this no longer has, and switches it on. What is so already is
/// left alone: the kernel announces each change, to this process too.
fn follow_addresses(device: &str, wanted: &[&net::Address]) -> Result<(), String> {
    let run = |args: &[&str]| net::ip(args).map(drop).map_err(|e| e.to_string());
    let found = net::device(device).map_err(|e| e.to_string())?;
    let has = found.as_ref().map(|found| found.addresses());
    let has: Vec<IpAddr> = has.iter().flatten().map(|address| address.local).collect();
    // Where its only address has gone, it keeps that: its routes would go along.
    let old = has
        .iter()
        .filter(|old| !wanted.is_empty() && wanted.iter().all(|new| new.local != **old));
    for address in wanted.iter().filter(|new| !has.contains(&new.local)) {
        let host = whole(address.local);
        let mut args = vec!["addr", "replace", &host, "dev", device];
        if address.local.is_ipv6() {
            args.push("nodad");
        }
        // What is sent by ipsecN comes from an address that lasts, which may have records in DNS, unless a program chooses another.
        if address.is_passing() {
            args.extend(["preferred_lft", "0"]);
        }
        run(&args)?;
    }
    for old in old {
        run(&["addr", "del", &whole(*old), "dev", device])?;
    }
    if found.is_none_or(|found| !found.is_up()) {
        run(&["link", "set", device, "up"])?;
    }
    Ok(())
}

/// The reverse path filter of the physical device: ESP comes from where the way back is ipsecN. What a loose filter looks for, any way back at
/// all, it has.
fn filter(context: &Context, setup: &Setup, physical: &str) {
    let path = format!(
        "/proc/sys/net/ipv4/conf/{}/rp_filter",
        physical.replace('.', "/")
    );
    let path = if std::path::Path::new(&path).exists() {
        path
    } else {
        format!("/proc/sys/net/ipv4/conf/{physical}/rp_filter")
    };
    let Ok(now) = std::fs::read_to_string(&path) else {
        return;
    };
    let now = now.trim();
    let strict = now == "1";
    let wanted = match setup.rp_filter {
        RpFilter::Set(wanted) => Some(wanted),
        RpFilter::Loose if strict => Some(2),
        RpFilter::Loose | RpFilter::Unchanged => None,
    };
    match wanted {
        None if strict => {
            context.messages.say(&format!("WARNING: {physical} has route filtering turned on; KLIPS may not work ({path} is {now})"));
        }
        Some(wanted) if wanted.to_string() != now => {
            context.messages.say(&format!("WARNING: changing route filtering on {physical} (changing {path} from {now} to {wanted})"));
            if let Err(error) = std::fs::write(&path, format!("{wanted}\n")) {
                context
                    .messages
                    .say(&format!("WARNING: cannot write {path}: {error}"));
            }
        }
        _ => {}
    }
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// `forwardcontrol=yes`: switches forwarding on; gives the line about what it was.
pub fn forward(context: &Context, setup: &Setup) -> String {
    let off = std::fs::read_to_string(FORWARD).is_ok_and(|v| v.trim() == "0");
    if !off || !setup.forwardcontrol {
        if off {
            context.messages.log("IP forwarding is off: subnets behind this host are not served (forwardcontrol=yes switches it on)");
        }
        return String::new();
    }
    context.messages.log("enabling IP forwarding");
    match std::fs::write(FORWARD, "1\n") {
        Ok(()) => "ipforwardingwas=0\n".into(),
        Err(error) => {
            context.messages.say(&format!(
                "cannot switch IP forwarding on: {FORWARD}: {error}"
            ));
            String::new()
        }
    }
}

/// Switches forwarding off again if `forward` switched it on.
pub fn forward_back(context: &Context, info: &str) {
    if info.lines().any(|l| l == "ipforwardingwas=0") {
        context.messages.log("disabling IP forwarding");
        if let Err(error) = std::fs::write(FORWARD, "0\n") {
            context.messages.say(&format!(
                "cannot switch IP forwarding off: {FORWARD}: {error}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::attachment;

    #[test]
    fn a_line_of_tncfg() {
        let line = "ipsec0 -> eth1 mtu=16260(1500) -> 1500";
        assert_eq!(attachment(line, "ipsec0"), Some(("eth1".into(), 16260)));
        assert_eq!(attachment(line, "ipsec1"), None);
        assert_eq!(attachment("ipsec0 -> NULL mtu=0(0) -> 0", "ipsec0"), None);
        assert_eq!(attachment("", "ipsec0"), None);
    }
}
