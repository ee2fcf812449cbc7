//! The kernel's routes as `netstat -nr` prints them, for the devices of IPsec.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The header line and the routes through `devices`, sorted; IPv6 routes follow where there are any.
pub fn table(route: &str, route6: &str, devices: &[String]) -> String {
    let mut v4: Vec<String> = route
        .lines()
        .skip(1)
        .filter_map(|line| v4_line(line, devices))
        .collect();
    v4.sort();
    let mut out =
        "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n"
            .to_owned();
    v4.iter().for_each(|line| out.push_str(line));
    let mut v6: Vec<String> = route6
        .lines()
        .filter_map(|line| v6_line(line, devices))
        .collect();
    v6.sort();
    v6.iter().for_each(|line| out.push_str(line));
    out
}

fn flags(bits: u32) -> String {
    [(1, 'U'), (2, 'G'), (4, 'H'), (0x200, '!')]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, c)| c)
        .collect()
}

fn v4_line(line: &str, devices: &[String]) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [device, dst, gateway, bits, _, _, _, mask, mss, window, irtt] = words.as_slice() else {
        return None;
    };
    if !devices.iter().any(|d| d == device) {
        return None;
    }
    // /proc/net/route shows addresses as numbers of the host's byte order.
    let addr = |text: &str| {
        u32::from_str_radix(text, 16)
            .ok()
            .map(|n| Ipv4Addr::from(n.to_ne_bytes()).to_string())
    };
    let mut out = String::new();
    writeln!(
        out,
        "{:<15} {:<15} {:<15} {:<6} {mss:>5} {window:<5} {irtt:>6} {device}",
        addr(dst)?,
        addr(gateway)?,
        addr(mask)?,
        flags(u32::from_str_radix(bits, 16).ok()?),
    )
    .ok()?;
    Some(out)
}

fn v6_line(line: &str, devices: &[String]) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [dst, prefix, _, _, gateway, _, _, _, bits, device] = words.as_slice() else {
        return None;
    };
    let addr = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from_bits);
    let (dst, gateway) = (addr(dst)?, addr(gateway)?);
    let local = dst.is_multicast() || dst.is_unicast_link_local();
    if local || !devices.iter().any(|d| d == device) {
        return None;
    }
    let prefix = u8::from_str_radix(prefix, 16).ok()?;
    let flags = flags(u32::from_str_radix(bits, 16).ok()?);
    Some(format!(
        "{:<31} {gateway:<15} {flags:<6} {device}\n",
        format!("{dst}/{prefix}")
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_endian = "little")]
    fn like_netstat() {
        let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            ipsec0\t0002000A\t010200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let route6 = "20010db8000100000000000000000000 30 00000000000000000000000000000000 00 \
            00000000000000000000000000000000 00000400 00000000 00000000 00000001 ipsec0\n";
        let text = super::table(route, route6, &["eth0".into(), "ipsec0".into()]);
        assert_eq!(
            text,
            "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n\
             0.0.0.0         192.0.2.1       0.0.0.0         UG         0 0          0 eth0\n\
             10.0.2.0        192.0.2.1       255.255.255.0   UG         0 0          0 ipsec0\n\
             2001:db8:1::/48                 ::              U      ipsec0\n"
        );
    }
}
