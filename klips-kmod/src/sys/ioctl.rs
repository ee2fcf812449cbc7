//! The private ioctls of ipsecN, by which `ipsec tncfg` attaches and detaches: what the caller gave, as safe Rust.

use core::ffi::{c_int, c_void};

use kernel::prelude::*;
use klips::DeviceId;

use crate::host::Host;
use crate::ioctl::{self, Request};
use crate::sys::{c, errno};

/// Where `struct ipsectunnelconf` has its name, behind a command of 32 bits that nobody reads, in octets.
const NAME_AT: usize = 4;

/// `ndo_siocdevprivate`. The kernel has copied the caller's `struct ifreq`, and holds RTNL.
///
/// # Safety
/// To be called by the kernel, for a device of ours.
pub(crate) unsafe extern "C" fn private(
    dev: *mut c::net_device,
    request: *mut c::ifreq,
    _: *mut c_void,
    command: c_int,
) -> c_int {
    // SAFETY: `dev` and `request` are live for this call; the union of `ifreq` is plain octets, all of them written. A registered
    // device's namespace is alive.
    let (host, number, given) = unsafe {
        let net = c::klips_h_device_net(dev);
        if !c::ns_capable((*net).user_ns, c::CAP_NET_ADMIN as c_int) {
            return EPERM.to_errno();
        }
        let union = &raw const (*request).ifr_ifru;
        let octets = core::slice::from_raw_parts(union.cast::<u8>(), size_of_val(&*union));
        (Host::of(net), (*c::klips_h_device_priv(dev)).number, octets)
    };
    let (Some(host), Some(id)) = (host, DeviceId::new(number as usize)) else {
        return ENODEV.to_errno();
    };
    let done = Request::new(command as u32, given.get(NAME_AT..).unwrap_or_default())
        .and_then(|request| ioctl::perform(host, id, &request));
    errno::answer(done.map(|()| 0))
}
