//! What `ipsec tncfg` asks of ipsecN: to be attached to a physical device, to be detached, or all to be detached.
//! How the request comes out of the kernel's hands is `sys::ioctl`'s, what attaching is `device`'s.

use core::ffi::CStr;

use kernel::prelude::*;
use klips::DeviceId;

use crate::device::{self, AttachError};
use crate::host::Host;
use crate::sys::errno;

/// `SIOCDEVPRIVATE` of `<linux/sockios.h>`; the three commands follow it.
const SET_DEV: u32 = 0x89f0;
const DEL_DEV: u32 = SET_DEV + 1;
const CLR_DEV: u32 = SET_DEV + 2;

/// The longest name of a device, with its 0.
const NAME: usize = 16;

/// A request, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Attach to this physical device.
    Attach(&'a [u8]),
    /// Detach.
    Detach,
    /// Detach all.
    Clear,
}

impl<'a> Request<'a> {
    /// Reads command and name. EOPNOTSUPP for another command.
    pub(crate) fn new(command: u32, name: &'a [u8]) -> Result<Self> {
        match command {
            SET_DEV => Ok(Self::Attach(name)),
            DEL_DEV => Ok(Self::Detach),
            CLR_DEV => Ok(Self::Clear),
            _ => Err(errno::not_supported()),
        }
    }
}

/// Does what was asked of ipsecN number `id`, with FreeS/WAN's errnos: ENXIO for a physical device that is not there, EBUSY when
/// attached already, ENODEV when there is nothing to detach; EINVAL for a name that is none or an ipsecN's. Under RTNL.
pub(crate) fn perform(host: &Host, id: DeviceId, request: &Request<'_>) -> Result {
    let done = match request {
        Request::Attach(name) => {
            let mut buffer = [0; NAME];
            device::attach(host, id, physical(name, &mut buffer)?, None)
        }
        Request::Detach => device::detach(host, id),
        Request::Clear => {
            device::clear(host);
            Ok(())
        }
    };
    done.map_err(|error| match error {
        AttachError::NoDevice => ENXIO,
        other => Error::from_errno(-other.errno()),
    })
}

/// The name before the first 0, and before the colon of an alias such as eth0:1, which is eth0 itself.
fn physical<'b>(name: &[u8], buffer: &'b mut [u8; NAME]) -> Result<&'b CStr> {
    let name = name.split(|octet| matches!(*octet, 0 | b':')).next().unwrap_or_default();
    if name.is_empty() {
        return Err(EINVAL);
    }
    // The last octet stays 0.
    buffer[..NAME - 1].get_mut(..name.len()).ok_or(EINVAL)?.copy_from_slice(name);
    CStr::from_bytes_until_nul(buffer).map_err(|_| EINVAL)
}
