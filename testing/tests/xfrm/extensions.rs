//! IPv6 packets with extension headers between the IPv6 header and AH or ESP: hop-by-hop and destination options, which AH
//! authenticates but for what may change on the way.

use std::net::Ipv6Addr;

use testing::Host;

/// An option to skip where it is unknown, of 4 bytes; with 0x20 in its type routers may change it.
const CHANGING: [u8; 6] = [0x3e, 4, 1, 2, 3, 4];
const LASTING: [u8; 6] = [0x1e, 4, 5, 6, 7, 8];
const HOP_BY_HOP: u8 = 0;
const DESTINATION: u8 = 60;
const ICMPV6: u8 = 58;

/// An echo request with hop-by-hop options, or destination options, or both.
fn echo_request(src: Ipv6Addr, dst: Ipv6Addr, extensions: &[u8]) -> Vec<u8> {
    let mut icmp = vec![128, 0, 0, 0, 0x12, 0x34, 0, 1];
    icmp.extend(*b"with extension headers before it");
    let length = (icmp.len() as u32).to_be_bytes();
    let sum = klips::packet::checksum(&[
        &src.octets(),
        &dst.octets(),
        &length,
        &[0, 0, 0, ICMPV6],
        &icmp,
    ]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut chain = extensions.to_vec();
    chain.push(ICMPV6);
    let mut packet = vec![0x60, 0, 0, 0];
    let length = extensions.len() * 16 + icmp.len();
    packet.extend((length as u16).to_be_bytes());
    packet.extend([chain[0], 64]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    for next in &chain[1..] {
        // Its length is in units of 8 bytes beyond the first; two octets of padding end it.
        packet.extend([*next, 1]);
        packet.extend([CHANGING, LASTING].concat());
        packet.extend([1, 0]);
    }
    packet.extend(icmp);
    packet
}

fn echo_replies(host: &Host) -> u64 {
    let said = host.run("grep Icmp6InEchoReplies /proc/net/snmp6").ok();
    let number = said.stdout.split_whitespace().nth(1);
    number.and_then(|n| n.parse().ok()).expect("a number")
}

/// Sends such packets from one host to the other, whose answers must come.
pub fn pings(from: &Host, src: Ipv6Addr, dst: Ipv6Addr) -> Result<(), String> {
    for extensions in [
        &[HOP_BY_HOP][..],
        &[DESTINATION],
        &[HOP_BY_HOP, DESTINATION],
    ] {
        let before = echo_replies(from);
        let hex: String = echo_request(src, dst, extensions)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        from.run(&format!(
            "perl -e 'use Socket qw(:all); socket($s, AF_INET6, SOCK_RAW, 255) or die; \
             send($s, pack(\"H*\", \"{hex}\"), 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, \"{dst}\"))) or die \"$!\"' && sleep 0.2"
        ))
        .ok();
        if echo_replies(from) == before {
            return Err(format!(
                "{src} to {dst} with headers {extensions:?} before it"
            ));
        }
    }
    Ok(())
}
