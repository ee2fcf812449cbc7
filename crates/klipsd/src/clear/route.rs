//! Where the host would send a packet.

use std::io;
use std::net::IpAddr;

use nix::sys::socket::SockProtocol;

use super::netlink::{Messages, Netlink, attribute, message, octets};
use crate::{link, tun::device};

/// `RTM_NEWROUTE`, `RTM_GETROUTE`.
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
/// `RTA_DST`, `RTA_OIF`.
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
/// Octets of `struct rtmsg`, and where in it the route's type is.
const HEADER: usize = 12;
const TYPE: usize = 7;
/// `RTN_BLACKHOLE`, `RTN_UNREACHABLE`, `RTN_PROHIBIT`.
const NO_WAY: std::ops::RangeInclusive<u8> = 6..=8;

/// Asks for routes.
#[derive(Debug)]
pub struct Routes(Netlink);

impl Routes {
    /// Opens the socket.
    ///
    /// # Errors
    /// The system's.
    pub fn open() -> io::Result<Self> {
        Netlink::open(SockProtocol::NetlinkRoute).map(Self)
    }

    /// Whether a packet to this address goes by an ipsecN, or has no route, or a blackhole.
    #[must_use]
    pub fn lead_to_ipsec(&self, to: IpAddr) -> bool {
        let family = if to.is_ipv6() {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        let octets = octets(to);
        let mut header = [0; HEADER];
        (header[0], header[1]) = (family as u8, octets.len() as u8 * 8);
        let mut messages = Messages::default();
        messages.put(GET_ROUTE, 0, &header, |a| a.put(DESTINATION, &octets));
        let mut buffer = [0; 4096];
        while matches!(self.0.receive(&mut buffer), Ok(Some(_))) {}
        if self.0.send(&messages).is_err() {
            return true;
        }
        let Ok(Some(answer)) = self.0.receive(&mut buffer) else {
            return true;
        };
        leads_to_ipsec(answer)
    }
}

fn leads_to_ipsec(answer: &[u8]) -> bool {
    // An error: there is no route, or a blackhole of IPv4.
    let Some((NEW_ROUTE, body)) = message(answer) else {
        return true;
    };
    if body.get(TYPE).is_none_or(|kind| NO_WAY.contains(kind)) {
        return true;
    }
    let by = body
        .get(HEADER..)
        .and_then(|attributes| attribute(attributes, DEVICE))
        .and_then(|b| b.first_chunk());
    let name = by.and_then(|b| link::name_of(u32::from_ne_bytes(*b)));
    name.is_none_or(|name| device::parse_name(&name).is_ok())
}
