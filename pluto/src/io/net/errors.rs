//! The error queue of an IKE socket: ICMP and local errors about datagrams that we sent, as lines
//! for the log. ICMP is not authenticated, so nothing is decided by it.

use std::{
    fmt::Display,
    io::IoSliceMut,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
    },
};

/// Takes one report off the queue. None when there is none left.
pub fn take(socket: &impl AsFd, device: &str) -> Result<Option<String>, Errno> {
    // The datagram that the report is about comes along; its content does not matter.
    let mut rejected = [0; 128];
    let mut parts = [IoSliceMut::new(&mut rejected)];
    // sock_extended_err with the offender's address behind it, in either family.
    let mut control = nix::cmsg_space!([u8; 512]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(e) => return Err(e),
    };
    let about = message.address.as_ref().and_then(destination);
    let report = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, offender) => {
            let offender = offender.filter(|o| o.sin_family == libc::AF_INET as u16);
            Some((
                error,
                offender.map(|o| SocketAddrV4::from(SockaddrIn::from(o)).ip().to_string()),
            ))
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) => {
            let offender = offender.filter(|o| o.sin6_family == libc::AF_INET6 as u16);
            Some((
                error,
                offender.map(|o| SocketAddrV6::from(SockaddrIn6::from(o)).ip().to_string()),
            ))
        }
        _ => None,
    });
    Ok(Some(match report {
        Some((error, offender)) => describe(device, about, offender, &error),
        None => format!("ERROR: asynchronous network error report on {device} without a cause"),
    }))
}

fn destination(addr: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = addr.as_sockaddr_in().map(|a| SocketAddrV4::from(*a).into());
    v4.or_else(|| {
        addr.as_sockaddr_in6()
            .map(|a| SocketAddrV6::from(*a).into())
    })
}

fn describe(
    device: &str,
    about: Option<SocketAddr>,
    offender: Option<impl Display>,
    error: &libc::sock_extended_err,
) -> String {
    let about = about
        .map(|to| format!(" for message to {} port {}", to.ip(), to.port()))
        .unwrap_or_default();
    let offender = offender.map_or("unspecified".to_string(), |o| o.to_string());
    let icmp = |name| {
        format!(
            "{name} type {} code {} (not authenticated)",
            error.ee_type, error.ee_code
        )
    };
    let origin = match error.ee_origin {
        libc::SO_EE_ORIGIN_NONE => "none".to_string(),
        libc::SO_EE_ORIGIN_LOCAL => "local".to_string(),
        libc::SO_EE_ORIGIN_ICMP => icmp("ICMP"),
        libc::SO_EE_ORIGIN_ICMP6 => icmp("ICMP6"),
        other => format!("invalid origin {other}"),
    };
    format!(
        "ERROR: asynchronous network error report on {device}{about}, complainant {offender}: {} \
         [errno {}, origin {origin}]",
        Errno::from_raw(error.ee_errno as i32).desc(),
        error.ee_errno,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::net::sockets::bind;

    #[tokio::test]
    async fn a_refusing_peer_is_named_with_the_icmp_behind_it() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = closed.local_addr().unwrap();
        drop(closed);
        assert_eq!(take(&socket, "lo"), Ok(None));
        socket.send_to(b"hello", to).await.unwrap();
        socket.ready(tokio::io::Interest::ERROR).await.unwrap();
        let report = take(&socket, "lo").unwrap().unwrap();
        assert_eq!(
            report,
            format!(
                "ERROR: asynchronous network error report on lo for message to 127.0.0.1 port {}, \
                 complainant 127.0.0.1: Connection refused [errno 111, origin ICMP type 3 code 3 \
                 (not authenticated)]",
                to.port()
            )
        );
        assert_eq!(take(&socket, "lo"), Ok(None));
    }
}
