//! ICMP "fragmentation needed" (RFC 1191) and ICMPv6 "packet too big" (RFC 4443): the MTU and the
//! start of the packet that did not pass. Whether that packet was ours, the core decides.

use crate::tun::checksum;
use crate::tun::ipv::Layout;

/// Shortest quote that is of use: an IPv4 header and eight octets.
const MIN_QUOTE: usize = 28;

/// What a router told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig<'a> {
    /// MTU of the link that the packet did not fit, in octets; 0 from routers before RFC 1191.
    pub mtu: u32,
    /// The start of that packet.
    pub quoted: &'a [u8],
}

/// Reads an ICMPv4 message from its IP packet; `None` for anything else, or with a wrong checksum.
#[must_use]
pub fn parse_v4(packet: &[u8]) -> Option<TooBig<'_>> {
    let layout = Layout::new_checked(packet)?;
    let message = packet.get(layout.header..layout.total)?;
    let head = message.first_chunk::<8>()?;
    if layout.version != 4
        || layout.protocol != 1
        || head[..2] != [3, 4]
        || checksum::sum(message, 0) != 0xffff
    {
        return None;
    }
    too_big(u32::from(u16::from_be_bytes([head[6], head[7]])), message)
}

/// Reads an ICMPv6 message (its checksum is the kernel's work); `None` for anything else.
#[must_use]
pub fn parse_v6(message: &[u8]) -> Option<TooBig<'_>> {
    let head = message.first_chunk::<8>()?;
    if head[..2] != [2, 0] {
        return None;
    }
    too_big(
        u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        message,
    )
}

fn too_big(mtu: u32, message: &[u8]) -> Option<TooBig<'_>> {
    let quoted = message.get(8..)?;
    (quoted.len() >= MIN_QUOTE).then_some(TooBig { mtu, quoted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frag_needed(mtu: u16) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        packet.extend_from_slice(&[3, 4, 0, 0, 0, 0]);
        packet.extend_from_slice(&mtu.to_be_bytes());
        packet.extend_from_slice(&[0x45; 28]);
        let check = checksum::finish(&packet[20..], 0);
        packet[22..24].copy_from_slice(&check.to_be_bytes());
        packet
    }

    #[test]
    fn reads_mtu_and_quote() {
        let packet = frag_needed(1400);
        assert_eq!(
            parse_v4(&packet),
            Some(TooBig {
                mtu: 1400,
                quoted: &[0x45; 28]
            })
        );
        let mut six = vec![2, 0, 0, 0, 0, 0, 5, 0];
        six.extend_from_slice(&[0x60; 48]);
        assert_eq!(
            parse_v6(&six),
            Some(TooBig {
                mtu: 1280,
                quoted: &[0x60; 48]
            })
        );
    }

    #[test]
    fn refuses_the_rest() {
        let good = frag_needed(1400);
        for cut in 0..good.len() {
            assert_eq!(parse_v4(&good[..cut]), None);
        }
        for at in 20..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(parse_v4(&bad), None, "octet {at}");
        }
    }
}
