// SPDX-License-Identifier: GPL-2.0

//! What `ipsec tncfg` asks of ipsecN: to be attached to a physical device, to be detached, or all
//! to be detached. How the request comes out of the kernel's hands is `sys::ioctl`'s, what
//! attaching is `device`'s.

use core::ffi::CStr;

use kernel::prelude::*;
use klips::DeviceId;

use crate::device::{self, AttachError};
use crate::host::Host;
use crate::sys::errno;
use crate::sys::rtnl::Rtnl;

/// `SIOCDEVPRIVATE` of `<linux/sockios.h>`; the three commands follow it.
const SET_DEV: u32 = 0x89f0;
const DEL_DEV: u32 = SET_DEV + 1;
const CLR_DEV: u32 = SET_DEV + 2;

/// The longest name of a device, with its 0, in octets.
const NAME: usize = 16;
/// Where the name is, and where the MTU.
const NAME_AT: usize = 4;
const MTU_AT: usize = NAME_AT + NAME;

/// A request, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Attach to the physical device of this name, and show this MTU; 0: the usual one.
    Attach(&'a [u8], u32),
    /// Detach.
    Detach,
    /// Detach all.
    Clear,
}

impl<'a> Request<'a> {
    /// Reads a command and what came with it: `struct ipsectunnelconf` of FreeS/WAN, which is 32
    /// bits that nobody reads and the name, and behind it the MTU, which FreeS/WAN's leaves 0.
    /// EOPNOTSUPP for another command.
    pub(crate) fn new(command: u32, conf: &'a [u8]) -> Result<Self> {
        let name = conf.get(NAME_AT..MTU_AT).unwrap_or_default();
        let mtu = conf
            .get(MTU_AT..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |mtu| u32::from_ne_bytes(*mtu));
        match command {
            SET_DEV => Ok(Self::Attach(name, mtu)),
            DEL_DEV => Ok(Self::Detach),
            CLR_DEV => Ok(Self::Clear),
            _ => Err(errno::not_supported()),
        }
    }
}

/// Does what was asked of ipsecN number `id`, with FreeS/WAN's errnos: ENXIO for a physical device
/// that is not there, EBUSY when attached already, ENODEV when there is nothing to detach; EINVAL
/// for a name that is none or an ipsecN's.
pub(crate) fn perform(rtnl: &Rtnl, host: &Host, id: DeviceId, request: &Request<'_>) -> Result {
    let done = match request {
        Request::Attach(name, mtu) => {
            let mut buffer = [0; NAME];
            device::attach(
                rtnl,
                host,
                id,
                physical(name, &mut buffer)?,
                Some(*mtu).filter(|mtu| *mtu != 0),
            )
        }
        Request::Detach => device::detach(rtnl, host, id),
        Request::Clear => {
            device::clear(rtnl, host);
            Ok(())
        }
    };
    done.map_err(|error| match error {
        AttachError::NoDevice => ENXIO,
        other => Error::from_errno(-other.errno()),
    })
}

/// The name before the first 0, and before the colon of an alias such as eth0:1, which is eth0
/// itself.
fn physical<'b>(name: &[u8], buffer: &'b mut [u8; NAME]) -> Result<&'b CStr> {
    let name = name
        .split(|octet| matches!(*octet, 0 | b':'))
        .next()
        .unwrap_or_default();
    if name.is_empty() {
        return Err(EINVAL);
    }
    // The last octet stays 0.
    buffer[..NAME - 1]
        .get_mut(..name.len())
        .ok_or(EINVAL)?
        .copy_from_slice(name);
    CStr::from_bytes_until_nul(buffer).map_err(|_| EINVAL)
}
