//! The `ifreq` ioctls (opening a TUN queue, an interface's MTU and flags), and a socket option that nix lacks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Longest interface name that the kernel takes (IFNAMSIZ without its terminator).
pub const MAX_NAME: usize = libc::IFNAMSIZ - 1;

/// Checksums may be left to the other side of the TUN.
pub const TUN_F_CSUM: u32 = 0x01;
/// TCP over IPv4 may come unsegmented.
pub const TUN_F_TSO4: u32 = 0x02;
/// TCP over IPv6 may come unsegmented.
pub const TUN_F_TSO6: u32 = 0x04;
/// UDP over IPv4 may come unsegmented (Linux 6.2).
pub const TUN_F_USO4: u32 = 0x20;
/// UDP over IPv6 may come unsegmented (Linux 6.2).
pub const TUN_F_USO6: u32 = 0x40;

/// `_IOW('T', 208, unsigned int)`, with its argument by value.
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;

fn ifreq(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: ifreq is a plain C structure for which all-zero bytes are a valid value.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(req)
}

/// Opens one queue of the TUN device `name` (made when it isn't there): non-blocking, IP packets
/// each behind a virtio-net header.
///
/// # Errors
/// The system's: no `/dev/net/tun` (ENOENT), no CAP_NET_ADMIN (EPERM), name in use (EBUSY).
pub fn open_tun_queue(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let mut req = ifreq(name)?;
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    req.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `req` is, and `file` is open.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut req) };
    check(rc)?;
    Ok(file)
}

/// Says which offloads (`TUN_F_*`) the reader of this TUN handles.
///
/// # Errors
/// EINVAL when the kernel does not know one of them.
pub fn set_tun_offload(tun: BorrowedFd<'_>, offload: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value; the descriptor is borrowed and so open.
    let rc = unsafe {
        libc::ioctl(
            tun.as_raw_fd(),
            TUNSETOFFLOAD as _,
            libc::c_ulong::from(offload),
        )
    };
    check(rc)
}

/// MTU of interface `name`, asked through any socket `sock`.
///
/// # Errors
/// ENODEV when there is no such interface.
pub fn mtu(sock: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut req = ifreq(name)?;
    // SAFETY: SIOCGIFMTU reads and writes one ifreq, which `req` is.
    let rc = unsafe { libc::ioctl(sock.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut req) };
    check(rc)?;
    // SAFETY: SIOCGIFMTU filled the union's MTU member.
    Ok(unsafe { req.ifr_ifru.ifru_mtu }.max(0).unsigned_abs())
}

/// Sets the MTU of interface `name`.
///
/// # Errors
/// ENODEV, EPERM, or EINVAL when the device does not take that MTU.
pub fn set_mtu(sock: BorrowedFd<'_>, name: &str, mtu: u16) -> io::Result<()> {
    let mut req = ifreq(name)?;
    req.ifr_ifru.ifru_mtu = i32::from(mtu);
    // SAFETY: SIOCSIFMTU reads one ifreq, which `req` is.
    let rc = unsafe { libc::ioctl(sock.as_raw_fd(), libc::SIOCSIFMTU as _, &raw mut req) };
    check(rc)
}

/// Interface flags (`IFF_UP`, `IFF_RUNNING`, …) of `name`.
///
/// # Errors
/// ENODEV when there is no such interface.
pub fn flags(sock: BorrowedFd<'_>, name: &str) -> io::Result<i32> {
    let mut req = ifreq(name)?;
    // SAFETY: SIOCGIFFLAGS reads and writes one ifreq, which `req` is.
    let rc = unsafe { libc::ioctl(sock.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut req) };
    check(rc)?;
    // SAFETY: SIOCGIFFLAGS filled the union's flags member.
    Ok(i32::from(unsafe { req.ifr_ifru.ifru_flags }))
}

/// Has a socket of a family send by the device's MTU, whatever the kernel has learnt of the path.
///
/// # Errors
/// The system's.
pub fn ignore_path_mtu(sock: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option, probe) = if v6 {
        let option = libc::IPV6_MTU_DISCOVER;
        (libc::IPPROTO_IPV6, option, libc::IPV6_PMTUDISC_PROBE)
    } else {
        let option = libc::IP_MTU_DISCOVER;
        (libc::IPPROTO_IP, option, libc::IP_PMTUDISC_PROBE)
    };
    set_option(sock, level, option, probe)
}

/// Has the kernel learn nothing of the path from ICMP errors that quote packets of a socket's protocol: a socket that is bound to no
/// device would have it lower the route through ipsecN.
///
/// # Errors
/// The system's.
pub fn learn_no_path_mtu(sock: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option, interface) = if v6 {
        let option = libc::IPV6_MTU_DISCOVER;
        (libc::IPPROTO_IPV6, option, libc::IPV6_PMTUDISC_INTERFACE)
    } else {
        let option = libc::IP_MTU_DISCOVER;
        (libc::IPPROTO_IP, option, libc::IP_PMTUDISC_INTERFACE)
    };
    set_option(sock, level, option, interface)
}

/// Has an IPv6 raw socket tell the extension headers that were before what it receives, as ancillary data.
///
/// # Errors
/// The system's.
pub fn receive_extension_headers(sock: BorrowedFd<'_>) -> io::Result<()> {
    for option in [
        libc::IPV6_RECVHOPOPTS,
        libc::IPV6_RECVRTHDR,
        libc::IPV6_RECVDSTOPTS,
    ] {
        set_option(sock, libc::IPPROTO_IPV6, option, 1)?;
    }
    Ok(())
}

fn set_option(
    sock: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option takes an int, which `value` is, and `length` is its size.
    let rc = unsafe {
        libc::setsockopt(
            sock.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    check(rc)
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
