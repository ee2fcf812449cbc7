// SPDX-License-Identifier: GPL-2.0

//! KLIPS as a kernel module: `crates/klips` with the kernel's packets, memory, ciphers and sockets
//! around it.
//!
//! What is decided about a packet, a PF_KEY message or a table is decided in `klips`. The rooms of
//! this crate are in README.md, the way of a packet in docs/kernel.md, and what makes the unsafe
//! parts sound in [`sys`].

#![deny(unsafe_code)]

mod clear;
mod device;
mod home;
mod host;
mod icmp;
mod ioctl;
mod pfkey;
mod proc;
mod receive;
#[allow(unsafe_code)]
mod sys;
mod sysctl;
mod transmit;

use kernel::prelude::*;

module! {
    type: Module,
    name: "klips",
    author: "The FreeS/WAN project",
    description: "KLIPS: IPsec eroutes, SAs, ESP, AH and IPCOMP behind ipsecN devices and PF_KEY",
    license: "GPL",
}

/// The module, loaded.
struct Module {
    _parts: sys::Parts,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let parts = sys::Parts::start()?;
        pr_info!("KLIPS {}\n", klips::VERSION);
        Ok(Self { _parts: parts })
    }
}
