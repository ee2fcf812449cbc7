//! The ioctls of the kernel module's ipsecN, which attach and detach it. `struct ipsectunnelconf` of FreeS/WAN lies in
//! the union of `struct ifreq`: a command of 32 bits, then the name of the physical device, 16 octets; and behind it,
//! which FreeS/WAN has not, the MTU to show, 32 bits, 0 for the usual.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use super::ClientError;

/// `SIOCDEVPRIVATE`, and the commands from it on.
const SET_DEV: libc::c_ulong = 0x89f0;
const DEL_DEV: libc::c_ulong = SET_DEV + 1;
const CLR_DEV: libc::c_ulong = SET_DEV + 2;
/// Where the union has the name, and where the MTU.
const NAME: std::ops::Range<usize> = 4..4 + libc::IFNAMSIZ - 1;
const MTU: std::ops::Range<usize> = 20..24;

/// As [`super::Control::attach`]; 0 for no MTU.
pub fn attach(device: &str, physical: &str, mtu: u32) -> Result<(), ClientError> {
    let mut conf = [0; MTU.end];
    let name = conf
        .get_mut(NAME)
        .and_then(|room| room.get_mut(..physical.len()));
    let Some(name) = name.filter(|_| !physical.is_empty()) else {
        return Err(ClientError::Control(format!(
            "`{physical}' is no name of a device"
        )));
    };
    name.copy_from_slice(physical.as_bytes());
    if let Some(room) = conf.get_mut(MTU) {
        room.copy_from_slice(&mtu.to_ne_bytes());
    }
    ask(device, SET_DEV, &conf).map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => refused(format!("{device}: already attached to a physical device; detach it first")),
        Some(libc::ENXIO) => refused(format!("no device {physical}")),
        Some(libc::EINVAL) => refused(format!(
            "{device} cannot be attached to {physical}: that is an IPsec interface itself, or the MTU is below 68"
        )),
        _ => failed(device, e),
    })
}

/// As [`super::Control::detach`].
pub fn detach(device: &str) -> Result<(), ClientError> {
    ask(device, DEL_DEV, &[0; MTU.end]).map_err(|e| match e.raw_os_error() {
        Some(libc::ENODEV) if exists(device) => {
            refused(format!("{device}: not attached to a physical device"))
        }
        _ => failed(device, e),
    })
}

/// As [`super::Control::clear`]: any ipsecN will do, and ipsec0 is always there.
pub fn clear() -> Result<(), ClientError> {
    ask("ipsec0", CLR_DEV, &[0; MTU.end]).map_err(|e| failed("ipsec0", e))
}

fn refused(why: String) -> ClientError {
    ClientError::Control(why)
}

fn failed(device: &str, error: io::Error) -> ClientError {
    match error.raw_os_error() {
        Some(libc::ENODEV) => refused(format!(
            "no device {device}: the module has ipsec0 to ipsec3 unless loaded with devices=N, at most 10"
        )),
        Some(libc::EOPNOTSUPP | libc::ENOTTY) => {
            refused(format!("{device} is no ipsecN of the KLIPS module"))
        }
        _ => ClientError::io(device, error),
    }
}

fn exists(device: &str) -> bool {
    std::path::Path::new("/sys/class/net").join(device).exists()
}

fn ask(device: &str, command: libc::c_ulong, conf: &[u8; MTU.end]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    if device.is_empty() || device.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: ifreq is a plain C structure for which all-zero bytes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    let union = &raw mut request.ifr_ifru;
    let len = conf.len().min(size_of_val(&request.ifr_ifru));
    // SAFETY: the union is plain octets, at least `len` of them, and is not borrowed otherwise.
    unsafe { std::ptr::copy_nonoverlapping(conf.as_ptr(), union.cast(), len) };
    // SAFETY: these commands read and write one ifreq, which `request` is, and the socket is open.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), command as _, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_kernel_is_asked() {
        let long = attach("ipsec0", "a-name-of-sixteen", 0)
            .unwrap_err()
            .to_string();
        assert!(long.contains("a-name-of-sixteen"), "{long}");
        assert!(attach("ipsec0", "", 0).is_err());
        let none = detach("no-such-device-x").unwrap_err().to_string();
        assert!(none.contains("no device no-such-device-x"), "{none}");
        // lo has no such ioctls.
        let other = detach("lo").unwrap_err().to_string();
        assert!(other.contains("lo is no ipsecN"), "{other}");
    }
}
