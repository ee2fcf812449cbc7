// SPDX-License-Identifier: GPL-2.0

//! The protocols ESP, AH and IPCOMP, of IPv4 and IPv6.
//!
//! They are shared with the kernel's own IPsec through its table of handlers: ours comes first, and
//! takes what arrives on a device that an ipsecN of that namespace is attached to, and by any other
//! device what is for an SA that it has. All else goes on to the next handler.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::c;
use super::skb::Skb;
use crate::host::Host;

/// What a handler answers for a packet that is not its own (`-EINVAL`), or an error (`-ENOENT`).
const NOT_OURS: c_int = -22;
const NOT_OUR_ERROR: c_int = -2;
/// Before `esp4` and the like, which have 0, and tunnels, which have 100; and after all of them.
const PRIORITY: c_int = 300;
const LAST: c_int = -300;

struct Handler<T>(UnsafeCell<T>, u8);
// SAFETY: it belongs to the kernel from registration on.
unsafe impl<T> Sync for Handler<T> {}

type Receive = unsafe extern "C" fn(*mut c::sk_buff) -> c_int;

const fn handler4(protocol: u8, receive: Receive, priority: c_int) -> Handler<c::xfrm4_protocol> {
    let handler = c::xfrm4_protocol {
        handler: Some(receive),
        input_handler: Some(receive_encapsulated),
        cb_handler: Some(callback),
        err_handler: Some(error4),
        next: core::ptr::null_mut(),
        priority,
    };
    Handler(UnsafeCell::new(handler), protocol)
}

const fn handler6(protocol: u8, receive: Receive, priority: c_int) -> Handler<c::xfrm6_protocol> {
    let handler = c::xfrm6_protocol {
        handler: Some(receive),
        input_handler: Some(receive_encapsulated),
        cb_handler: Some(callback),
        err_handler: Some(error6),
        next: core::ptr::null_mut(),
        priority,
    };
    Handler(UnsafeCell::new(handler), protocol)
}

const PROTOCOLS: [u8; 3] = [50, 51, 108];
static V4: [Handler<c::xfrm4_protocol>; 6] = [
    handler4(PROTOCOLS[0], receive, PRIORITY),
    handler4(PROTOCOLS[1], receive, PRIORITY),
    handler4(PROTOCOLS[2], receive, PRIORITY),
    handler4(PROTOCOLS[0], drop_quietly, LAST),
    handler4(PROTOCOLS[1], drop_quietly, LAST),
    handler4(PROTOCOLS[2], drop_quietly, LAST),
];
static V6: [Handler<c::xfrm6_protocol>; 6] = [
    handler6(PROTOCOLS[0], receive, PRIORITY),
    handler6(PROTOCOLS[1], receive, PRIORITY),
    handler6(PROTOCOLS[2], receive, PRIORITY),
    handler6(PROTOCOLS[0], drop_quietly, LAST),
    handler6(PROTOCOLS[1], drop_quietly, LAST),
    handler6(PROTOCOLS[2], drop_quietly, LAST),
];

/// An IP header with its options, or some extension headers, and what names an SA behind it.
const START: usize = 128;

/// The host of the namespace that a packet came to, and the number of the device it came by.
///
/// # Safety
/// `skb` is a packet that the stack received, and RCU is locked.
unsafe fn place<'a>(skb: *const c::sk_buff) -> Option<(&'a Host, u32)> {
    // SAFETY: a received packet has its device, which is alive under RCU.
    unsafe {
        let device = (*skb)
            .__bindgen_anon_1
            .__bindgen_anon_1
            .__bindgen_anon_1
            .dev;
        let host = Host::of(c::klips_h_device_net(device))?;
        Some((host, c::klips_h_device_ifindex(device) as u32))
    }
}

/// Takes over a packet that is ours: that came by a device which an ipsecN is attached to, or for
/// an SA of ours by any other, since routes need not be the same both ways.
///
/// # Safety
/// As for [`place`]; if there is an answer, the packet is no longer the caller's.
unsafe fn take<'a>(skb: *mut c::sk_buff) -> Option<(&'a Host, u32, Skb)> {
    // SAFETY: by this function's condition.
    let (host, index) = unsafe { place(skb)? };
    let skb = NonNull::new(skb)?;
    if !host.is_attached(index) {
        let mut start = [0; START];
        // SAFETY: a received packet, of which so many bytes are copied at most.
        let len = unsafe { c::klips_h_skb_peek(skb.as_ptr(), start.as_mut_ptr(), START as u32) };
        let start = start.get(..len as usize)?;
        if !host.is_any_attached() || !host.read(|klips, _| klips.knows(start)) {
            return None;
        }
    }
    // SAFETY: the packet is ours from here on; the stack has set its network header, which lies
    // before what it begins with now.
    Some((host, index, unsafe { Skb::received(skb) }))
}

/// In softirq context under RCU; the packet begins behind its IP header.
///
/// # Safety
/// By the stack's table of handlers, with a packet that is ours unless `NOT_OURS` is answered.
unsafe extern "C" fn receive(skb: *mut c::sk_buff) -> c_int {
    // SAFETY: the stack calls this with a packet it received, under RCU, and leaves it to us unless
    // we answer NOT_OURS.
    let Some((host, index, packet)) = (unsafe { take(skb) }) else {
        return NOT_OURS;
    };
    crate::receive::receive(host, index, packet);
    0
}

/// For a packet that no handler took: where there are handlers the kernel answers it with an ICMP
/// error, though a raw socket, that of klipsd for one, may have it. The kernel's own IPsec is as
/// quiet.
///
/// # Safety
/// As [`receive`].
unsafe extern "C" fn drop_quietly(skb: *mut c::sk_buff) -> c_int {
    // SAFETY: the stack calls this with a packet that is ours unless we answer NOT_OURS.
    drop(NonNull::new(skb).map(|skb| unsafe { Skb::from_raw(skb) }));
    0
}

/// ESP in UDP, from a socket that its owner made one of UDP encapsulation. The packet begins behind
/// its UDP header, which is still there, but is counted in the IP header's length no more. In
/// softirq context under RCU.
///
/// # Safety
/// As [`receive`].
unsafe extern "C" fn receive_encapsulated(
    skb: *mut c::sk_buff,
    _: c_int,
    _: c::__be32,
    _: c_int,
) -> c_int {
    // SAFETY: the stack calls this with a packet it received, under RCU, and leaves it to us unless
    // we answer NOT_OURS.
    let Some((host, index, packet)) = (unsafe { take(skb) }) else {
        return NOT_OURS;
    };
    crate::receive::receive_from_udp(host, index, packet);
    0
}

/// For handlers that decrypt later; positive: ask the next one.
///
/// # Safety
/// None: it touches nothing.
unsafe extern "C" fn callback(_: *mut c::sk_buff, _: c_int) -> c_int {
    1
}

/// What an ICMP error says about a packet of ours.
///
/// # Safety
/// `skb` is an ICMP error that the stack received and that begins with what it quotes; RCU is
/// locked.
unsafe fn learn(skb: *mut c::sk_buff, mtu: u32) -> c_int {
    // SAFETY: by this function's condition.
    let (Some((host, index)), Some(skb)) = (unsafe { place(skb) }, NonNull::new(skb)) else {
        return NOT_OUR_ERROR;
    };
    // SAFETY: the packet stays the stack's: this Skb is not dropped, and only read.
    let packet = ManuallyDrop::new(unsafe { Skb::from_raw(skb) });
    // The core looks whether it is about an SA of ours.
    host.read(|klips, cx| klips.path_mtu(cx.now, packet.bytes(), mtu));
    if host.is_attached(index) {
        0
    } else {
        NOT_OUR_ERROR
    }
}

/// # Safety
/// By the stack's table of handlers, with an ICMP error that stays the stack's, under RCU.
unsafe extern "C" fn error4(skb: *mut c::sk_buff, info: u32) -> c_int {
    // SAFETY: the stack calls this with an ICMP error, under RCU.
    unsafe {
        if c::klips_h_icmp_too_big4(skb) {
            learn(skb, info)
        } else {
            NOT_OUR_ERROR
        }
    }
}

/// # Safety
/// As [`error4`].
unsafe extern "C" fn error6(
    skb: *mut c::sk_buff,
    _: *mut c::inet6_skb_parm,
    kind: u8,
    _: u8,
    _: c_int,
    info: c::__be32,
) -> c_int {
    // SAFETY: the stack calls this with an ICMPv6 error, under RCU.
    unsafe {
        if c::klips_h_icmp_too_big6(kind) {
            learn(skb, u32::from_be(info))
        } else {
            NOT_OUR_ERROR
        }
    }
}

/// Registers all of them; on an error none is left. May sleep.
pub(super) fn register() -> Result<(), i32> {
    for (n, (v4, v6)) in V4.iter().zip(&V6).enumerate() {
        // SAFETY: the handlers are static and registered once a load; those that were are taken
        // back.
        unsafe {
            let error = c::xfrm4_protocol_register(v4.0.get(), v4.1);
            if error != 0 {
                unregister_first(n);
                return Err(error);
            }
            let error = c::xfrm6_protocol_register(v6.0.get(), v6.1);
            if error != 0 {
                c::xfrm4_protocol_deregister(v4.0.get(), v4.1);
                unregister_first(n);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn unregister_first(n: usize) {
    for (v4, v6) in V4.iter().zip(&V6).take(n) {
        // SAFETY: these are registered. The functions wait until no packet is in a handler.
        unsafe {
            c::xfrm6_protocol_deregister(v6.0.get(), v6.1);
            c::xfrm4_protocol_deregister(v4.0.get(), v4.1);
        }
    }
}

/// Takes all of them back; afterwards no packet is in them. May sleep.
pub(super) fn unregister() {
    unregister_first(V4.len());
}
