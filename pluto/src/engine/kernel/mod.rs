//! The conversation with KLIPS over PF_KEY: requests with sequence numbers, what to do when each is answered, and
//! what the kernel says by itself. Which eroute to set when is decided in `route`.

mod sa;

pub use sa::{InstallError, Installed, IpcompSa, Key, Keys, ProtocolSa, SaParams};

use super::connection::StateId;
use super::time::Time;
use super::Engine;
use ipsec_types::Spi;

/// What the engine knows about the kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    last_spi: u32,
    last_cpi: u16,
}

impl Engine {
    /// A new SPI for ESP or AH: random at first, then in sequence, never one in use. At least 0x1000, since
    /// smaller ones are for manual keying.
    pub(crate) fn new_spi(&mut self) -> Spi {
        todo!()
    }

    /// A new CPI for IPCOMP, 256 to 61439.
    pub(crate) fn new_cpi(&mut self) -> u16 {
        todo!()
    }

    /// Whether the kernel can do IPCOMP; known once it has answered the registration.
    pub(crate) fn can_do_ipcomp(&self) -> bool {
        todo!()
    }

    /// Installs the inbound half, by the responder of a Quick Mode before it sends its answer.
    /// When the kernel has answered, calls `ike_sa_installed(now, state, Installed::Inbound, result)`.
    ///
    /// # Errors
    /// [`InstallError::Route`] at once, logged, if it could not be routed; nothing is done and nothing called.
    pub(crate) fn install_inbound_ipsec_sa(&mut self, now: Time, params: SaParams) -> Result<(), InstallError> {
        let _ = (now, params);
        todo!()
    }

    /// Installs the outbound half and the eroute, by the responder once the exchange is complete.
    /// Then calls `ike_sa_installed(now, state, Installed::Outbound, result)`.
    pub(crate) fn install_outbound_ipsec_sa(&mut self, now: Time, state: StateId) {
        let _ = (now, state);
        todo!()
    }

    /// Installs both halves and the eroute, by the initiator.
    /// Then calls `ike_sa_installed(now, state, Installed::Both, result)`.
    ///
    /// # Errors
    /// [`InstallError::Route`] at once, logged; nothing is done and nothing called.
    pub(crate) fn install_ipsec_sa(&mut self, now: Time, params: SaParams) -> Result<(), InstallError> {
        let _ = (now, params);
        todo!()
    }

    /// Removes the SAs of a state, and its eroute if it owns one: what is left is a trap, the failure
    /// shunt or nothing, as the policy says. Nobody is told when it is done; a later installation waits its turn.
    pub(crate) fn delete_ipsec_sa(&mut self, now: Time, state: StateId) {
        let _ = (now, state);
        todo!()
    }
}
