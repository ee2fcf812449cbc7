// SPDX-License-Identifier: GPL-2.0

//! The wrappers around the kernel, and all unsafe code of the module.
//!
//! Each wrapper takes a condition of the kernel's and makes it one of the type system's, or of the
//! caller's in its `# Safety`; each block says why its condition holds. What decides anything does
//! not belong here.
//!
//! # Who may touch what, and when
//!
//! - [`crate::host::Host`]: kept alive by its namespace's slot until `pre_exit`, then by an RCU
//!   grace period until `exit`. Nobody changes it; its parts have locks.
//! - The tables (`klips::Klips`): kept alive by their host, and changed by one writer, which holds
//!   the gate's mutex and every CPU's gate lock ([`gate`]).
//! - An SA's replay window, a held packet: in the tables, and changed by whoever holds its
//!   [`lock::SpinLock`], inside the gate.
//! - An SA's sequence number and counters: in the tables, and atomics.
//! - An `sk_buff`: of the one [`skb::Skb`] that owns it, and changed by that owner, once it is a
//!   [`skb::PreparedSkb`].
//! - ipsecN: kept alive by its host, which unregisters it before it ends, and changed under RTNL.
//!
//! # Locks of a packet, and RCU
//!
//! Under RCU are found: a namespace's host (its slot, [`net`]), the open PF_KEY sockets
//! ([`socket`]), and the kernel's table of protocol handlers, which calls us. The tables are not
//! read under RCU. They change in place, and a lock of each CPU's own guards them: who reads takes
//! the lock of the CPU it runs on, softirqs and preemption off, so no reader ever interrupts
//! another or waits for another CPU's. The only other taker is a writer, which takes the mutex of
//! writers and then the locks of all CPUs in their order; that ends when every packet in flight has
//! left. So nothing is freed under a packet, and a deletion waits for no grace period. The price is
//! that packets wait while a table changes, some microseconds for one SA or eroute; and a reader
//! writes to one cache line, of its own CPU.
//!
//! Within the gate a packet may take one more lock, and no two: that of the SA's replay window or
//! of the held packet ([`lock::SpinLock`]), which another CPU with a packet of the same SA wants as
//! well, for some dozen instructions. Cipher and MAC objects are only read; what they work on is on
//! the stack, the packet's, or the CPU's ([`scratch`]).
//!
//! What holds is carried by types that cost nothing: [`gate::Inside`] is proof of being within a
//! gate, [`rtnl::Rtnl`] of holding RTNL, [`skb::PreparedSkb`] of a packet that may be written to,
//! [`scratch::Scratch`] is the CPU's buffer while it is taken, and [`Parts`] what runs from load to
//! unload. Where a function may sleep, or must not, is said at the function: that is a matter of
//! deadlock, and not of memory.
//!
//! Nothing outside the tables is called before the gate is left: sending, delivering and telling
//! PF_KEY sockets come after. Hard interrupts never enter. The lock validator knows the gate as one
//! reader-writer lock that readers may not enter twice.

pub(crate) mod alloc;
pub(crate) mod clear;
pub(crate) mod crypto;
pub(crate) mod device;
pub(crate) mod errno;
pub(crate) mod gate;
pub(crate) mod hooks;
pub(crate) mod icmp;
pub(crate) mod ioctl;
pub(crate) mod lock;
pub(crate) mod net;
pub(crate) mod notify;
mod parts;
pub(crate) mod proc;
pub(crate) mod protocol;
pub(crate) mod provision;
pub(crate) mod rtnl;
pub(crate) mod scratch;
pub(crate) mod skb;
pub(crate) mod socket;
pub(crate) mod sysctl;
pub(crate) mod work;

pub(crate) use parts::Parts;

/// What bindgen made of the kernel's headers and `helpers/`.
#[allow(
    warnings,
    missing_docs,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    unreachable_pub
)]
pub(crate) mod c {
    include!(env!("KLIPS_BINDINGS"));
}

/// Seconds since the machine started, asleep or not.
pub(crate) fn now() -> u64 {
    // SAFETY: reads a clock; no condition.
    unsafe { c::klips_h_seconds() }
}

/// Whether one more line of what strangers may cause is to be logged: the limit of the network's
/// own.
pub(crate) fn may_log() -> bool {
    // SAFETY: no condition.
    unsafe { c::net_ratelimit() != 0 }
}

/// Seconds since 1970, by the clock that people set.
pub(crate) fn since_1970() -> u64 {
    // SAFETY: reads a clock; no condition.
    unsafe { c::klips_h_real_seconds() }
}

/// Fills `buffer` from the kernel's generator.
pub(crate) fn random(buffer: &mut [u8]) {
    // SAFETY: the buffer is writable for its length, and the function works in any context.
    unsafe { c::get_random_bytes(buffer.as_mut_ptr().cast(), buffer.len() as _) }
}
