// SPDX-License-Identifier: GPL-2.0

//! KLIPS as a kernel module: `crates/klips` with the kernel's packets, memory, ciphers and sockets
//! around it.
//!
//! What is decided about a packet, a PF_KEY message or a table is decided in `klips`. The rooms of
//! this crate are in README.md, the way of a packet in docs/kernel.md, and what makes the unsafe
//! parts sound in [`sys`].

#![deny(unsafe_code)]

mod device;
mod home;
mod host;
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

/// A part of the module that runs from load to unload.
type Part = (fn() -> Result<(), i32>, fn());

/// In the order in which they are started; packets come last and go first.
const PARTS: &[Part] = &[
    (sys::scratch::init, sys::scratch::exit),
    (sys::crypto::init, sys::crypto::exit),
    (sys::net::register, sys::net::unregister),
    (sys::socket::register, sys::socket::unregister),
    (sys::notify::register, sys::notify::unregister),
    (sys::protocol::register, sys::protocol::unregister),
];

/// The module, loaded.
struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        for (n, (start, _)) in PARTS.iter().enumerate() {
            if let Err(error) = start() {
                stop(n);
                pr_err!("not loaded: part {} answered error {}\n", n, error);
                return Err(Error::from_errno(error));
            }
        }
        pr_info!("KLIPS {}\n", klips::VERSION);
        Ok(Self)
    }
}

/// Stops the first `n` parts, the last one first.
fn stop(n: usize) {
    for (_, stop) in PARTS.iter().take(n).rev() {
        stop();
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        stop(PARTS.len());
    }
}
