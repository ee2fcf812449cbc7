// SPDX-License-Identifier: GPL-2.0

//! The private ioctls of ipsecN, by which `ipsec tncfg` attaches and detaches: what the caller
//! gave, as safe Rust.

use core::ffi::{c_int, c_void};

use kernel::prelude::*;

use crate::ioctl::{self, Request};
use crate::sys::device::owner;
use crate::sys::rtnl::Rtnl;
use crate::sys::{c, errno};

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
    // SAFETY: `dev` is an ipsecN that is registered, so its namespace and its host are alive, and
    // `request` is for this call; the union of `ifreq` is plain octets, all of them written.
    let (owner, given) = unsafe {
        if !c::ns_capable(
            (*c::klips_h_device_net(dev)).user_ns,
            c::CAP_NET_ADMIN as c_int,
        ) {
            return EPERM.to_errno();
        }
        let union = &raw const (*request).ifr_ifru;
        (
            owner(dev),
            core::slice::from_raw_parts(union.cast::<u8>(), size_of_val(&*union)),
        )
    };
    // SAFETY: held by our caller until we return.
    let rtnl = unsafe { Rtnl::held() };
    let Some((host, id)) = owner else {
        return ENODEV.to_errno();
    };
    let done = Request::new(command as u32, given)
        .and_then(|request| ioctl::perform(&rtnl, host, id, &request));
    errno::answer(done.map(|()| 0))
}
