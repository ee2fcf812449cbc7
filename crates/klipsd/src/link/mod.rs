//! Physical interfaces: what they are now. What follows from a change is `host`'s.

use std::ffi::CString;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

use crate::sys::ifreq;

/// Why a physical interface can't be used; says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No interface of this name.
    #[error(
        "no physical interface `{0}`: see `ip link` for the ones there are, and interfaces= in ipsec.conf"
    )]
    Unknown(String),
    /// It is not up.
    #[error("physical interface {0} is down: bring it up first (ip link set {0} up)")]
    Down(String),
    /// The name is not one the core can keep.
    #[error("`{0}` is no interface name: 1 to 15 visible characters")]
    BadName(String),
    /// Anything else.
    #[error("physical interface {name}: {error}")]
    Io {
        /// The interface.
        name: String,
        /// The system's answer.
        error: std::io::Error,
    },
}

/// State of one interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// As the core wants it: index, name, MTU, addresses.
    pub physical: klips::Physical,
    /// IFF_UP.
    pub up: bool,
}

/// Looks at interface `name`.
///
/// # Errors
/// See [`LinkError`]; an interface that is down is none.
pub fn look(name: &str) -> Result<Link, LinkError> {
    let checked = klips::device::Name::new(name)
        .filter(|_| CString::new(name).is_ok())
        .ok_or_else(|| LinkError::BadName(name.chars().take(32).collect()))?;
    let index = if_nametoindex(name).map_err(|_| LinkError::Unknown(name.to_owned()))?;
    let io = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ENODEV) => LinkError::Unknown(name.to_owned()),
        _ => LinkError::Io {
            name: name.to_owned(),
            error,
        },
    };
    let sock = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(io)?;
    let mtu = ifreq::mtu(sock.as_fd(), name).map_err(io)?;
    let flags = ifreq::flags(sock.as_fd(), name).map_err(io)?;
    let addresses = addresses(name).map_err(io)?;
    Ok(Link {
        physical: klips::Physical::new(index, checked, mtu, &addresses),
        up: flags & libc::IFF_UP != 0,
    })
}

/// Like [`look`], for an interface that must be up.
///
/// # Errors
/// See [`LinkError`].
pub fn look_up(name: &str) -> Result<klips::Physical, LinkError> {
    let link = look(name)?;
    if link.up {
        Ok(link.physical)
    } else {
        Err(LinkError::Down(name.to_owned()))
    }
}

/// The name that interface `index` has now; `None` once it is gone.
#[must_use]
pub fn name_of(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    name.into_string().ok()
}

/// The interface's addresses; link-local ones last, since ICMP errors come from the first.
fn addresses(name: &str) -> std::io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = nix::ifaddrs::getifaddrs()?
        .filter(|entry| entry.interface_name == name)
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect();
    let link_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if Ipv6Addr::is_unicast_link_local(a));
    found.sort_by_key(link_local);
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_remedy() {
        let error = look("nosuch0").unwrap_err().to_string();
        assert!(
            error.contains("nosuch0") && error.contains("ip link"),
            "{error}"
        );
        assert!(matches!(look("a name"), Err(LinkError::BadName(_))));
        assert!(matches!(look("a\0b"), Err(LinkError::BadName(_))));
    }

    #[test]
    fn loopback_is_known() {
        let link = look("lo").unwrap();
        assert_eq!(link.physical.name.as_str(), "lo");
        assert_eq!(name_of(link.physical.index).as_deref(), Some("lo"));
    }
}
