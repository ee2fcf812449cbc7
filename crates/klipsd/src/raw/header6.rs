//! IPv6 raw sockets keep the IPv6 header to themselves; this makes it anew from the ancillary data.

use std::net::Ipv6Addr;

use crate::sys::mmsg::control_message;

/// Length of an IPv6 header without extensions.
pub const LEN: usize = 40;

/// What the kernel tells of the header it took off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header6 {
    /// Sender.
    pub source: Ipv6Addr,
    /// The address of ours that it was sent to.
    pub destination: Ipv6Addr,
    /// Traffic class.
    pub class: u8,
    /// Hop limit as it arrived.
    pub hop_limit: u8,
}

impl Header6 {
    /// From the sender's address and a message's control data; `None` when the destination is missing.
    #[must_use]
    pub fn from_control(source: Ipv6Addr, control: &[u8]) -> Option<Self> {
        let info = control_message(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
        let destination = Ipv6Addr::from(*info.first_chunk::<16>()?);
        Some(Self {
            source,
            destination,
            class: octet(control, libc::IPV6_TCLASS).unwrap_or(0),
            hop_limit: octet(control, libc::IPV6_HOPLIMIT).unwrap_or(64),
        })
    }

    /// The header before `payload` octets of `next_header`; `None` when they're too many for one packet.
    #[must_use]
    pub fn emit(&self, next_header: u8, payload: usize) -> Option<[u8; LEN]> {
        let length = u16::try_from(payload).ok()?;
        let mut header = [0; LEN];
        header[0] = 0x60 | self.class >> 4;
        header[1] = self.class << 4;
        header[4..6].copy_from_slice(&length.to_be_bytes());
        header[6] = next_header;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..40].copy_from_slice(&self.destination.octets());
        Some(header)
    }
}

fn octet(control: &[u8], kind: i32) -> Option<u8> {
    let data = control_message(control, libc::IPPROTO_IPV6, kind)?;
    u8::try_from(i32::from_ne_bytes(*data.first_chunk::<4>()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = (16 + data.len()).to_ne_bytes().to_vec();
        out.extend_from_slice(&libc::IPPROTO_IPV6.to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    #[test]
    fn header_from_ancillary_data() {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let destination: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let mut info = destination.octets().to_vec();
        info.extend_from_slice(&3u32.to_ne_bytes());
        let mut data = control(libc::IPV6_PKTINFO, &info);
        data.extend(control(libc::IPV6_HOPLIMIT, &61i32.to_ne_bytes()));
        data.extend(control(libc::IPV6_TCLASS, &0xb8i32.to_ne_bytes()));
        let header = Header6::from_control(source, &data).unwrap();
        assert_eq!(
            header,
            Header6 {
                source,
                destination,
                class: 0xb8,
                hop_limit: 61
            }
        );
        let octets = header.emit(50, 100).unwrap();
        assert_eq!(octets[..8], [0x6b, 0x80, 0, 0, 0, 100, 50, 61]);
        assert_eq!(header.emit(50, 70_000), None);
        assert_eq!(Header6::from_control(source, &data[40..]), None);
    }
}
