//! IPv6 raw sockets keep the IPv6 header and its extensions to themselves; this makes them anew from the ancillary data. AH
//! authenticates them, and what comes out of ESP in transport mode has them still.

use std::net::Ipv6Addr;

use crate::sys::mmsg::{control_message, control_messages};

/// Length of an IPv6 header without extensions.
pub const LEN: usize = 40;
/// Room that is enough for the header with all the extensions that the core takes.
pub const ROOM: usize = 512;

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

    /// Writes the header, with the extension headers that `control` tells of, before `payload` octets of `next_header`: at the end of
    /// `room`. Answers where it starts; `None` when there is no room, or too much payload for one packet.
    pub fn write(
        &self,
        room: &mut [u8],
        control: &[u8],
        next_header: u8,
        payload: usize,
    ) -> Option<usize> {
        let extensions = || {
            control_messages(control)
                .filter(|(level, ..)| *level == libc::IPPROTO_IPV6)
                .filter_map(|(_, kind, data)| Some((protocol(kind)?, data)))
        };
        let length: usize = extensions().map(|(_, data)| data.len()).sum();
        let start = room.len().checked_sub(LEN + length)?;
        let (header, mut rest) = room.get_mut(start..)?.split_at_mut_checked(LEN)?;
        header[0] = 0x60 | self.class >> 4;
        header[1] = self.class << 4;
        header[2..4].fill(0);
        header[4..6].copy_from_slice(&u16::try_from(length + payload).ok()?.to_be_bytes());
        header[6] = extensions().next().map_or(next_header, |(kind, _)| kind);
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..40].copy_from_slice(&self.destination.octets());
        for (_, data) in extensions() {
            let (place, after) = rest.split_at_mut_checked(data.len())?;
            place.copy_from_slice(data);
            rest = after;
        }
        Some(start)
    }
}

/// The protocol number of the extension header that ancillary data of this type is.
fn protocol(kind: i32) -> Option<u8> {
    match kind {
        libc::IPV6_HOPOPTS => Some(0),
        libc::IPV6_RTHDR => Some(43),
        libc::IPV6_DSTOPTS => Some(60),
        _ => None,
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
        let mut room = [0xaa; 100];
        assert_eq!(header.write(&mut room, &data, 50, 100), Some(60));
        assert_eq!(room[60..68], [0x6b, 0x80, 0, 0, 0, 100, 50, 61]);
        assert_eq!(header.write(&mut room, &data, 50, 70_000), None);
        assert_eq!(header.write(&mut room[..39], &data, 50, 100), None);
        assert_eq!(Header6::from_control(source, &data[40..]), None);

        // Hop-by-hop options and two of destination options, in their order.
        let hop = [60, 0, 1, 4, 0, 0, 0, 0];
        let (first, second) = ([60, 0, 0x1e, 4, 1, 2, 3, 4], [51, 0, 0x1e, 4, 5, 6, 7, 8]);
        data.extend(control(libc::IPV6_HOPOPTS, &hop));
        data.extend(control(libc::IPV6_DSTOPTS, &first));
        data.extend(control(libc::IPV6_DSTOPTS, &second));
        assert_eq!(header.write(&mut room, &data, 51, 100), Some(36));
        assert_eq!(room[36..44], [0x6b, 0x80, 0, 0, 0, 124, 0, 61]);
        assert_eq!(room[76..], [hop, first, second].concat());
    }
}
