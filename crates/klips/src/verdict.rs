//! What becomes of a packet, in both directions, with a name for every reason to drop one.

use core::fmt;

use crate::device::DeviceId;

/// What to do with a packet that was routed to an ipsecN device. The packet may have been changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Send the packet, now protected, by physical device `physical`; with [`crate::packet::transmit`], which fragments where
    /// `mtu` asks for it.
    Transmit {
        /// The home's number of the physical device.
        physical: u32,
        /// Its MTU, or the path's where that is known to be smaller, in bytes.
        mtu: u32,
    },
    /// Send the packet unprotected by physical device `physical` (`%pass`, or IKE's own traffic).
    Pass {
        /// The home's number of the physical device.
        physical: u32,
        /// Its MTU in bytes.
        mtu: u32,
    },
    /// The core has kept a copy until the eroute is replaced; forget the packet.
    Held,
    /// The packet now holds an ICMP error for its sender: send it as a packet of this host's own, by whatever route there is to the
    /// sender. It is from an address of the physical device; put in its place the one that the stack would choose for that route.
    Icmp,
    /// The packet now holds an ICMP error for a sender behind a tunnel: give it to the host's stack as received on the ipsec device.
    /// It is from where the packet was to go, since the tunnel takes nothing else.
    Inject,
    /// A trap or hold is to be set up, which needs the tables for writing: call [`crate::Klips::trap`] with this packet.
    Trap,
    /// The packet's SA group needs at least so much room before and after it: make it, and give the packet to
    /// [`crate::Klips::outbound`] again, which has changed nothing yet. Where there is [`crate::packet::HEADROOM`] and
    /// [`crate::packet::TAILROOM`] this is not asked for.
    Room {
        /// Before the packet, in bytes.
        head: usize,
        /// After it, in bytes.
        tail: usize,
    },
    /// Forget the packet; it is counted already.
    Drop(DropReason),
}

/// What to do with an IPsec packet that arrived. The packet may have been changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// The packet now holds the inner packet: give it to the host's stack as received on ipsec device `device`.
    Deliver {
        /// The ipsec device it appears on.
        device: DeviceId,
    },
    /// Forget the packet; it is counted already.
    Drop(DropReason),
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// The ipsec device has no physical device attached.
    NotAttached,
    /// To neighbours on the link only (224.0.0.0/24, ff01::/16, ff02::/16), of which an ipsec device has none: what every host says of
    /// itself when a device comes up. Not counted.
    LinkLocal,
    /// Not a well-formed IPv4 or IPv6 packet.
    Malformed,
    /// A fragment where a whole packet is needed.
    Fragment,
    /// No eroute covers the packet.
    NoEroute,
    /// A `%drop` eroute.
    Shunt,
    /// A `%reject` eroute, and the packet is one that no ICMP error may answer.
    Reject,
    /// Too big for the path and not to be fragmented, and no ICMP error may answer it.
    TooBig,
    /// No SA of this destination, SPI and protocol.
    NoSa,
    /// The SA group has neither ESP nor AH: what goes through it would be in the clear, and what comes by it proves nothing.
    Unprotected,
    /// The SA is larval, expired, or being deleted.
    SaNotReady,
    /// The SA reached a hard lifetime with this packet.
    Expired,
    /// The sequence number space of the SA is used up.
    SequenceWrapped,
    /// The packet was seen already, or is older than the replay window.
    Replay,
    /// The authenticator does not match.
    BadAuthenticator,
    /// The encrypted part is no whole number of blocks, or too short.
    BadCiphertext,
    /// The padding is not 1, 2, 3, … (RFC 2406 section 2.4).
    BadPadding,
    /// The compressed payload does not decompress within bounds.
    BadCompression,
    /// The outer source address is not that of the SA.
    WrongSource,
    /// The SA belongs to a group and the packet did not come through its other members in order.
    WrongGroup,
    /// The addresses inside are not within the SA's policy.
    PolicyMismatch,
    /// In UDP on an SA that is not for UDP, or the reverse.
    WrongEncapsulation,
    /// A protocol that has no place here.
    WrongProtocol,
    /// The SA group nests deeper than [`crate::packet::MAX_TRANSFORMS`].
    TooDeep,
    /// The buffer has no room for the headers to add.
    NoRoom,
    /// The home's cipher, MAC or memory failed.
    Home,
    /// The time to live ended.
    HopLimit,
    /// A dummy packet, "next header" 59 (RFC 4303 section 2.6): nothing is inside.
    Dummy,
    /// The outer header says that there is congestion, the inner one that its sender does not want to hear of it (RFC 6040
    /// section 4.2): a router would have dropped the packet.
    Congestion,
    /// Came in the clear, though what it is a part of goes through an SA or nowhere (RFC 4301 section 5.2).
    Clear,
}

impl DropReason {
    /// All of them, as `/proc/net/klips_stat` lists them.
    pub const ALL: [Self; 30] = [
        Self::NotAttached,
        Self::LinkLocal,
        Self::Malformed,
        Self::Fragment,
        Self::NoEroute,
        Self::Shunt,
        Self::Reject,
        Self::TooBig,
        Self::NoSa,
        Self::Unprotected,
        Self::SaNotReady,
        Self::Expired,
        Self::SequenceWrapped,
        Self::Replay,
        Self::BadAuthenticator,
        Self::BadCiphertext,
        Self::BadPadding,
        Self::BadCompression,
        Self::WrongSource,
        Self::WrongGroup,
        Self::PolicyMismatch,
        Self::WrongEncapsulation,
        Self::WrongProtocol,
        Self::TooDeep,
        Self::NoRoom,
        Self::Home,
        Self::HopLimit,
        Self::Dummy,
        Self::Congestion,
        Self::Clear,
    ];

    /// A short text for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAttached => "no physical device attached",
            Self::LinkLocal => "for neighbours on the link only",
            Self::Malformed => "malformed packet",
            Self::Fragment => "fragment where a whole packet is needed",
            Self::NoEroute => "no eroute",
            Self::Shunt => "%drop eroute",
            Self::Reject => "%reject eroute",
            Self::TooBig => "too big for the path",
            Self::NoSa => "no such SA",
            Self::Unprotected => "neither ESP nor AH in the SA group",
            Self::SaNotReady => "SA not in a usable state",
            Self::Expired => "SA expired",
            Self::SequenceWrapped => "sequence numbers used up",
            Self::Replay => "replayed or too old",
            Self::BadAuthenticator => "authentication failed",
            Self::BadCiphertext => "encrypted part has a wrong length",
            Self::BadPadding => "bad padding",
            Self::BadCompression => "does not decompress",
            Self::WrongSource => "source is not the SA's",
            Self::WrongGroup => "not through its SA group",
            Self::PolicyMismatch => "inner addresses outside the SA's policy",
            Self::WrongEncapsulation => "in UDP where the SA has none, or the reverse",
            Self::WrongProtocol => "protocol has no place here",
            Self::TooDeep => "too many transforms",
            Self::NoRoom => "no room for headers",
            Self::Home => "cipher or memory failure",
            Self::HopLimit => "time to live ended",
            Self::Dummy => "dummy packet",
            Self::Congestion => "congestion, and not ECN-capable inside",
            Self::Clear => "in the clear where an eroute wants it protected",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_listed_at_its_number() {
        for (number, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number, "{reason:?}");
        }
        assert_eq!(
            DropReason::Clear as usize + 1,
            DropReason::ALL.len(),
            "the last one"
        );
    }
}
