//! NAT traversal in IKEv1 (RFC 3947, and draft-ietf-ipsec-nat-t-ike-02 and -03 before it): which form both sides know, whether
//! there is a NAT between them, and the original addresses that transport mode wants.
//!
//! Not here: going over to port 4500 and following a peer that moves, which is the engine's, and ESP in UDP, which is KLIPS'.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::crypto::Hash;
use crate::wire::{Cookie, Encapsulation, Id, IdValue, Message, MessageBuilder, PayloadType};

/// A form of NAT traversal, the better one greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatMethod {
    /// draft-ietf-ipsec-nat-t-ike-02.
    Draft02,
    /// The same, announced by a text with a line feed at its end.
    Draft02LineFeed,
    /// draft-ietf-ipsec-nat-t-ike-03.
    Draft03,
    /// RFC 3947.
    Rfc3947,
}

/// The forms with their vendor ids, each the MD5 hash of the document's name, and names as people know them.
const METHODS: [(NatMethod, [u8; 16], &str); 4] = [
    (
        NatMethod::Rfc3947,
        *b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f",
        "RFC 3947 (NAT-Traversal)",
    ),
    (
        NatMethod::Draft03,
        *b"\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56",
        "draft-ietf-ipsec-nat-t-ike-03",
    ),
    (
        NatMethod::Draft02LineFeed,
        *b"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f",
        "draft-ietf-ipsec-nat-t-ike-02_n",
    ),
    (
        NatMethod::Draft02,
        *b"\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48",
        "draft-ietf-ipsec-nat-t-ike-02",
    ),
];

impl NatMethod {
    /// The best of those that a message announces.
    pub(super) fn of(message: &Message<'_>) -> Option<Self> {
        message
            .vendor_ids()
            .filter_map(|vid| METHODS.iter().find(|(_, id, _)| id == vid))
            .map(|(method, ..)| *method)
            .max()
    }

    /// Announces all of them.
    pub(super) fn announce_all(builder: MessageBuilder) -> MessageBuilder {
        METHODS
            .iter()
            .fold(builder, |builder, (_, id, _)| builder.vendor_id(id))
    }

    fn row(self) -> &'static (Self, [u8; 16], &'static str) {
        METHODS
            .iter()
            .find(|(method, ..)| *method == self)
            .unwrap_or(&METHODS[0])
    }

    /// Its vendor id.
    pub fn vendor_id(self) -> &'static [u8; 16] {
        &self.row().1
    }

    fn is_rfc(self) -> bool {
        self == Self::Rfc3947
    }

    fn discovery(self) -> PayloadType {
        if self.is_rfc() {
            PayloadType::NAT_D
        } else {
            PayloadType::NAT_D_DRAFTS
        }
    }

    fn original(self) -> PayloadType {
        if self.is_rfc() {
            PayloadType::NAT_OA
        } else {
            PayloadType::NAT_OA_DRAFTS
        }
    }

    /// How it numbers tunnel or transport mode in UDP.
    pub fn encapsulation(self, tunnel: bool) -> Encapsulation {
        match (self.is_rfc(), tunnel) {
            (true, true) => Encapsulation::UDP_TUNNEL,
            (true, false) => Encapsulation::UDP_TRANSPORT,
            (false, true) => Encapsulation::UDP_TUNNEL_DRAFTS,
            (false, false) => Encapsulation::UDP_TRANSPORT_DRAFTS,
        }
    }
}

impl fmt::Display for NatMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().2)
    }
}

/// What our side brings to a Main Mode.
#[derive(Clone, Copy, Debug)]
pub struct NatOffer {
    /// Announce NAT traversal, and take it if the peer does.
    pub enabled: bool,
    /// Make the peer believe that there is a NAT (`forceencaps=yes`).
    pub force: bool,
    /// Our address and port, as we know them.
    pub local: SocketAddr,
    /// The peer's, as we see them.
    pub remote: SocketAddr,
}

/// What both sides found out about NAT between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// The form of NAT traversal that both know; `None` where one of them knows none.
    pub method: Option<NatMethod>,
    /// The peer sees us at another address or port than we have.
    pub us: bool,
    /// We see the peer at another address or port than it has, or it says so.
    pub peer: bool,
    /// We said that there is a NAT in front of us (`forceencaps=yes`).
    pub forced: bool,
}

impl Nat {
    /// A form agreed on, and nothing found out yet.
    pub(super) fn agreed(method: Option<NatMethod>) -> Self {
        Self {
            method,
            ..Self::default()
        }
    }

    /// The form of NAT traversal in use: there is a NAT, or one side says so.
    pub fn used(&self) -> Option<NatMethod> {
        self.method.filter(|_| self.us || self.peer || self.forced)
    }

    /// Adds NAT-D payloads, the destination's hash first (RFC 3947 section 3.2).
    pub(super) fn discover(
        &self,
        builder: MessageBuilder,
        hash: Hash,
        cookies: (Cookie, Cookie),
        offer: &NatOffer,
    ) -> MessageBuilder {
        let Some(method) = self.method else {
            return builder;
        };
        let kind = method.discovery();
        let ours = if offer.force {
            SocketAddr::new(ipsec_types::unspecified(offer.local.ip()), 0)
        } else {
            offer.local
        };
        builder
            .payload(kind, &digest(hash, cookies, offer.remote))
            .payload(kind, &digest(hash, cookies, ours))
    }

    /// Compares the NAT-D payloads of MI2 or MR2 with what we know: the first is about us, the others are about the peer. A peer
    /// that sends none has seen no NAT.
    pub(super) fn find_out(
        &mut self,
        found: &[Vec<u8>],
        hash: Hash,
        cookies: (Cookie, Cookie),
        offer: &NatOffer,
    ) {
        let Some((about_us, about_peer)) = found.split_first() else {
            return;
        };
        let peer = digest(hash, cookies, offer.remote);
        self.us = *about_us != digest(hash, cookies, offer.local);
        self.peer = !about_peer.contains(&peer);
        self.forced = offer.force;
    }

    /// The NAT-D payloads of a message.
    pub(super) fn discoveries(message: &Message<'_>) -> Vec<Vec<u8>> {
        let all = message
            .of_kind(PayloadType::NAT_D)
            .chain(message.of_kind(PayloadType::NAT_D_DRAFTS));
        all.map(|payload| payload.body().to_vec()).collect()
    }

    /// Adds NAT-OA payloads: both addresses, the initiator's first, or by the drafts only our own.
    pub(super) fn original(
        &self,
        builder: MessageBuilder,
        (initiator, responder): (IpAddr, IpAddr),
        ours: IpAddr,
    ) -> MessageBuilder {
        let Some(method) = self.used() else {
            return builder;
        };
        let kind = method.original();
        let body = |addr| {
            let id = Id {
                protocol: 0,
                port: 0,
                value: IdValue::address(addr),
            };
            id.to_body()
        };
        if method.is_rfc() {
            builder
                .payload(kind, &body(initiator))
                .payload(kind, &body(responder))
        } else {
            builder.payload(kind, &body(ours))
        }
    }

    /// The peer's own address out of its NAT-OA payloads; `None` where there is none, or it makes no sense.
    pub(super) fn peer_original(message: &Message<'_>, peer_is_initiator: bool) -> Option<IpAddr> {
        let all: Vec<IpAddr> = message
            .of_kind(PayloadType::NAT_OA)
            .chain(message.of_kind(PayloadType::NAT_OA_DRAFTS))
            .filter_map(|payload| address(payload.body()))
            .collect();
        match all[..] {
            [only] => Some(only),
            [initiator, responder] if peer_is_initiator => {
                Some(initiator).filter(|a| *a != responder)
            }
            [_, responder] => Some(responder),
            _ => None,
        }
    }
}

impl fmt::Display for Nat {
    /// As pluto's log has always said it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.us, self.peer) {
            (true, true) => "both are NATed",
            (true, false) => "i am NATed",
            (false, true) => "peer is NATed",
            (false, false) if self.forced => "no NAT detected, encapsulation forced",
            (false, false) => "no NAT detected",
        })
    }
}

/// Reads what a message says about NAT; for the fuzzer.
pub fn fuzz_nat(data: &[u8]) {
    let Ok(message) = Message::new_checked(data) else {
        return;
    };
    let at = SocketAddr::from(([192, 0, 2, 1], 500));
    let offer = NatOffer {
        enabled: true,
        force: false,
        local: at,
        remote: at,
    };
    let cookies = (message.header().initiator, message.header().responder);
    let mut nat = Nat::agreed(NatMethod::of(&message));
    nat.find_out(&Nat::discoveries(&message), Hash::SHA1, cookies, &offer);
    for initiator in [false, true] {
        let _ = Nat::peer_original(&message, initiator);
    }
}

/// HASH(CKY-I | CKY-R | IP | Port).
fn digest(hash: Hash, (initiator, responder): (Cookie, Cookie), at: SocketAddr) -> Vec<u8> {
    let port = at.port().to_be_bytes();
    let over = |addr: &[u8]| hash.digest(&[&initiator.0, &responder.0, addr, &port]);
    match at.ip() {
        IpAddr::V4(addr) => over(&addr.octets()),
        IpAddr::V6(addr) => over(&addr.octets()),
    }
}

/// The address of a NAT-OA payload: ID type, three reserved octets, the address (RFC 3947 section 5.2).
fn address(body: &[u8]) -> Option<IpAddr> {
    let (head, addr) = body.split_first_chunk::<4>()?;
    let four = || <[u8; 4]>::try_from(addr).ok().map(Ipv4Addr::from);
    let sixteen = || <[u8; 16]>::try_from(addr).ok().map(Ipv6Addr::from);
    match head[0] {
        1 => four().map(IpAddr::V4),
        5 => sixteen().map(IpAddr::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ExchangeType, Header};

    const COOKIES: (Cookie, Cookie) = (Cookie([1; 8]), Cookie([2; 8]));

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn offer(local: &str, remote: &str) -> NatOffer {
        NatOffer {
            enabled: true,
            force: false,
            local: at(local),
            remote: at(remote),
        }
    }

    fn message() -> MessageBuilder {
        MessageBuilder::new(&Header::new(
            COOKIES.0,
            COOKIES.1,
            ExchangeType::MAIN_MODE,
            0,
        ))
    }

    #[test]
    fn vendor_ids_are_hashes_of_names() {
        use digest::Digest;
        for (method, text) in [
            (NatMethod::Rfc3947, "RFC 3947"),
            (NatMethod::Draft03, "draft-ietf-ipsec-nat-t-ike-03"),
            (
                NatMethod::Draft02LineFeed,
                "draft-ietf-ipsec-nat-t-ike-02\n",
            ),
            (NatMethod::Draft02, "draft-ietf-ipsec-nat-t-ike-02"),
        ] {
            assert_eq!(md5::Md5::digest(text)[..], method.vendor_id()[..], "{text}");
        }
    }

    #[test]
    fn the_best_form_is_taken() {
        let bytes = NatMethod::announce_all(message()).finish();
        let all = Message::new_checked(&bytes).unwrap();
        assert_eq!(NatMethod::of(&all), Some(NatMethod::Rfc3947));
        let bytes = message()
            .vendor_id(NatMethod::Draft02.vendor_id())
            .vendor_id(b"something else")
            .vendor_id(NatMethod::Draft03.vendor_id())
            .finish();
        let drafts = Message::new_checked(&bytes).unwrap();
        assert_eq!(NatMethod::of(&drafts), Some(NatMethod::Draft03));
        let bytes = message().vendor_id(b"").finish();
        assert_eq!(NatMethod::of(&Message::new_checked(&bytes).unwrap()), None);
    }

    /// `one` sends its NAT-D payloads to `other`, who sees the sender at `other.remote`.
    fn discovered(method: NatMethod, one: NatOffer, other: NatOffer) -> Nat {
        let nat = Nat::agreed(Some(method));
        let bytes = nat.discover(message(), Hash::SHA1, COOKIES, &one).finish();
        let read = Message::new_checked(&bytes).unwrap();
        let mut found = nat;
        found.find_out(&Nat::discoveries(&read), Hash::SHA1, COOKIES, &other);
        found
    }

    #[test]
    fn nat_is_found_on_either_side_and_where_it_is_forced() {
        let road = offer("10.0.0.9:500", "192.0.2.1:500");
        let gateway = offer("192.0.2.1:500", "203.0.113.5:61000");
        let plain = offer("203.0.113.5:500", "192.0.2.1:500");
        let seen_plain = offer("192.0.2.1:500", "203.0.113.5:500");
        let seen_inside = offer("172.16.0.1:500", "203.0.113.5:500");
        for method in [NatMethod::Rfc3947, NatMethod::Draft02] {
            let text = |one, other| discovered(method, one, other).to_string();
            assert_eq!(text(road, gateway), "peer is NATed");
            assert_eq!(text(plain, seen_plain), "no NAT detected");
            assert_eq!(text(plain, seen_inside), "i am NATed");
            assert_eq!(text(road, seen_inside), "both are NATed");
            let forced = NatOffer {
                force: true,
                ..plain
            };
            assert_eq!(text(forced, seen_plain), "peer is NATed");
            let found = discovered(
                method,
                plain,
                NatOffer {
                    force: true,
                    ..seen_plain
                },
            );
            assert_eq!(found.used(), Some(method));
            assert_eq!(discovered(method, plain, seen_plain).used(), None);
        }
    }

    #[test]
    fn several_addresses_of_the_peer_may_match() {
        let one = offer("203.0.113.5:500", "192.0.2.1:500");
        let nat = Nat::agreed(Some(NatMethod::Rfc3947));
        let other = offer("192.0.2.1:500", "203.0.113.5:500");
        let bytes = nat
            .discover(
                message(),
                Hash::MD5,
                COOKIES,
                &offer("10.9.9.9:500", "192.0.2.1:500"),
            )
            .payload(PayloadType::NAT_D, &digest(Hash::MD5, COOKIES, one.local))
            .finish();
        let read = Message::new_checked(&bytes).unwrap();
        let mut found = nat;
        found.find_out(&Nat::discoveries(&read), Hash::MD5, COOKIES, &other);
        assert_eq!(found.used(), None);
    }

    #[test]
    fn original_addresses_both_ways() {
        let pair: (IpAddr, IpAddr) = ("10.0.0.9".parse().unwrap(), "192.0.2.1".parse().unwrap());
        for (method, peer) in [
            (NatMethod::Rfc3947, [Some(pair.0), Some(pair.1)]),
            (NatMethod::Draft03, [Some(pair.0), Some(pair.0)]),
        ] {
            let nat = Nat {
                us: true,
                ..Nat::agreed(Some(method))
            };
            let bytes = nat.original(message(), pair, pair.0).finish();
            let read = Message::new_checked(&bytes).unwrap();
            assert_eq!(Nat::peer_original(&read, true), peer[0]);
            assert_eq!(Nat::peer_original(&read, false), peer[1]);
        }
        for bad in [
            &b""[..],
            b"\x01\0\0\0\x0a\0\0",
            b"\x02\0\0\0abcd",
            b"\x05\0\0\0\0",
        ] {
            let bytes = message().payload(PayloadType::NAT_OA, bad).finish();
            let read = Message::new_checked(&bytes).unwrap();
            assert_eq!(Nat::peer_original(&read, true), None);
        }
    }
}
