//! The addresses of a description's gateways and next hops, as far as they are known at the moment. Where they come from is the business
//! of `engine::hosts`.

use core::net::IpAddr;

/// One end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundEnd {
    /// The gateway; none for `%any`, or if it is not known.
    pub host: Option<IpAddr>,
    /// The next hop; none for `%direct`, or if it is not known.
    pub nexthop: Option<IpAddr>,
}

/// Both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of `left`.
    pub left: FoundEnd,
    /// Of `right`.
    pub right: FoundEnd,
    /// Whether the gateways speak IPv6 with each other.
    pub ipv6: bool,
    /// Whether the clients do.
    pub tunnel_ipv6: bool,
    /// Whether nothing is left to be found.
    pub complete: bool,
}

impl Found {
    /// What a description says by itself.
    pub fn fixed(request: &whack::Connection) -> Self {
        let end = |end: &whack::End| FoundEnd {
            host: end.host.addr(),
            nexthop: end.nexthop,
        };
        Self {
            left: end(&request.left),
            right: end(&request.right),
            ipv6: request.ipv6,
            tunnel_ipv6: request.tunnel_ipv6,
            complete: !is_live(request),
        }
    }
}

/// Whether a description leaves addresses to be found.
pub fn is_live(request: &whack::Connection) -> bool {
    [&request.left, &request.right]
        .iter()
        .any(|end| end.host.live().is_some() || end.live_nexthop.is_some())
}
