//! KLIPS: everything that decides what happens to a packet under IPsec.
//!
//! `no_std`, without the `alloc` crate, without I/O and without a clock: whoever embeds this crate (the kernel module, the
//! `klipsd` daemon, a test) implements [`Home`] and carries packets in and out. Nothing here opens, sends or waits.
//!
//! # How a home drives it
//!
//! One [`Klips`] is one host. The home keeps it behind a reader/writer lock: the packet calls take `&self` and run in
//! parallel, the table calls take `&mut self`.
//!
//! | what came | call | needs |
//! |---|---|---|
//! | a packet routed to ipsecN | [`Klips::outbound`], then do what [`Outbound`] says | read |
//! | … by several threads that must not mix up an SA's packets | [`Klips::plan`], [`Klips::outbound_numbered`]; see [`numbers`] | read |
//! | … and the verdict was [`Outbound::Trap`] | [`Klips::trap`] with the same packet | write |
//! | … and the verdict was [`Outbound::Room`] | the same again, with more room around the packet | read |
//! | protocol 50, 51, 108, or 4/41 from a physical device, and ESP in UDP whole | [`Klips::inbound`], then [`Inbound`] | read |
//! | any other packet from any device but ipsecN, for this host or to be forwarded | [`Klips::arrived_clear`] | read |
//! | a PF_KEY message | [`Klips::pfkey`] | write |
//! | a second passed | [`Klips::tick`] | write |
//! | an ICMP "too big" about an outer packet | [`Klips::path_mtu`] | read |
//! | `/proc/net/ipsec_*` | [`Klips::proc`] | read |
//! | `ipsec tncfg` | [`Klips::attach`], [`Klips::detach`], [`Klips::clear`] | write |
//!
//! What the core wants said or sent besides the packet at hand goes to the [`Output`] that came in the [`Context`]:
//! PF_KEY messages to listeners, and held packets to put through [`Klips::outbound`] again. An `Output` must only queue: it
//! is called while the tables are locked.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod device;
pub mod eroute;
pub mod fuzz;
pub mod home;
pub mod ident;
pub mod lifetime;
pub mod numbers;
pub mod packet;
pub mod pfkey_seam;
pub mod replay;
pub mod sadb;
pub mod stat;
pub mod transform;
pub mod verdict;

mod ah;
mod answer;
mod clear;
mod esp;
mod hold;
mod inbound;
mod ipcomp;
mod ipip;
mod klips;
mod natt;
mod notify;
mod outbound;
mod path_mtu;
mod proc;
mod request;
mod table;
mod tick;

pub use device::{DeviceError, DeviceId, Physical};
pub use hold::{HOLD_IDLE, MAX_HOLDS};
pub use home::{
    Aead, Cipher, Context, CryptoError, Eroutes, Home, Lock, Mac, NoMemory, Output, Vector,
};
pub use klips::{DEBUG_NAMES, Klips, ProcCursor, ProcFile, Sysctl, SysctlError};
pub use natt::Encap;
pub use numbers::{Numbers, Plan};
pub use packet::Packet;
pub use pfkey_seam::{Audience, Socket};
pub use proc::VERSION;
pub use request::MAX_LARVAL;
pub use tick::LARVAL_LIFE;
pub use verdict::{DropReason, Inbound, Outbound};
