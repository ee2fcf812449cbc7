// SPDX-License-Identifier: GPL-2.0

//! What runs from load to unload, started in order and stopped in the reverse one.

use kernel::prelude::*;

use super::{crypto, net, notify, protocol, scratch, socket};

/// A part: how it starts, or answers a negative errno, and how it stops.
type Part = (fn() -> Result<(), i32>, fn());

/// In the order in which they are started; packets come last and go first.
const PARTS: &[Part] = &[
    (scratch::init, scratch::exit),
    (crypto::init, crypto::exit),
    (net::register, net::unregister),
    (socket::register, socket::unregister),
    (notify::register, notify::unregister),
    (protocol::register, protocol::unregister),
];

/// The parts that run; stops them when it is dropped. The module has one.
pub(crate) struct Parts(usize);

impl Parts {
    /// Starts all of them, or none. May sleep.
    pub(crate) fn start() -> Result<Self> {
        let mut running = Self(0);
        for (n, (start, _)) in PARTS.iter().enumerate() {
            if let Err(error) = start() {
                pr_err!("not loaded: part {} answered error {}\n", n, error);
                return Err(Error::from_errno(error));
            }
            running.0 = n + 1;
        }
        Ok(running)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for (_, stop) in PARTS.iter().take(self.0).rev() {
            stop();
        }
    }
}
