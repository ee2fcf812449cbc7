//! The wrappers around the kernel, and all unsafe code of the module.
//!
//! Each wrapper takes a condition of the kernel's and makes it one of the type system's, or of the caller's in its
//! `# Safety`; each block says why its condition holds. What decides anything does not belong here.
//!
//! # Who may touch what, and when
//!
//! | what | kept alive by | changed by |
//! |---|---|---|
//! | [`crate::host::Host`] | its namespace's slot until `pre_exit`, then an RCU grace period until `exit` | nobody; its parts have locks |
//! | the tables (`klips::Klips`) | their host | one writer, which holds the gate's mutex and every CPU's gate lock ([`gate`]) |
//! | an SA's replay window, a held packet | the tables | whoever holds its [`lock::SpinLock`], inside the gate |
//! | an SA's sequence number, counters | the tables | atomics |
//! | an `sk_buff` | the one [`skb::Skb`] that owns it | that owner, once [`skb::Skb::prepare`] made it unshared |
//! | ipsecN | its host, which unregisters it before it ends | RTNL |
//!
//! A packet takes no lock that another CPU wants: a reader of the gate takes the lock of its own CPU, softirqs off, so it is never
//! interrupted by another reader, and nothing outside the tables is called before it has left: sending, delivering and telling
//! PF_KEY sockets come after. A writer closes the gate for all CPUs, which ends when every packet in flight has left it; so
//! nothing is freed under a packet, and there is no grace period to wait for after a deletion. The price is that packets wait
//! while a table changes: some microseconds for one SA or eroute.

pub(crate) mod alloc;
pub(crate) mod crypto;
pub(crate) mod device;
pub(crate) mod errno;
pub(crate) mod gate;
pub(crate) mod ioctl;
pub(crate) mod lock;
pub(crate) mod net;
pub(crate) mod notify;
pub(crate) mod proc;
pub(crate) mod protocol;
pub(crate) mod provision;
pub(crate) mod scratch;
pub(crate) mod skb;
pub(crate) mod socket;
pub(crate) mod sysctl;
pub(crate) mod work;

/// What bindgen made of the kernel's headers and `helpers/`.
#[allow(warnings, missing_docs, unsafe_op_in_unsafe_fn, clippy::all, unreachable_pub)]
pub(crate) mod c {
    include!(env!("KLIPS_BINDINGS"));
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    // SAFETY: reads a clock; no condition.
    unsafe { c::klips_h_seconds() }
}

/// Fills `buffer` from the kernel's generator.
pub(crate) fn random(buffer: &mut [u8]) {
    // SAFETY: the buffer is writable for its length, and the function works in any context.
    unsafe { c::get_random_bytes(buffer.as_mut_ptr().cast(), buffer.len() as _) }
}
