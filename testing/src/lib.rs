//! The testbed: hosts, links and captures, for tests that are a few lines long.
//!
//! A [`Testbed`] is a small internet of its own (namespaces that vanish with the test); [`Segment`]s are
//! its wires, [`Host`]s its machines. A host has its own `/etc`, `/run`, process ids and network, so
//! `/etc/ipsec.conf` and `ipsec setup start` mean in it what they mean on a real machine. Nothing here needs
//! root where user namespaces are allowed.
//!
//! Assertions about IPsec itself belong in `tests/`; this crate only makes the world they look at.

pub mod attack;
mod capture;
mod gateways;
mod host;
pub mod internet;
pub mod interop;
pub mod kernel;
mod memory;
pub mod module;
mod nat;
mod netns;
mod output;
pub mod page;
pub mod peer;
pub mod road;
mod shell;
mod stage;
mod testbed;
mod watch;

pub use capture::{Capture, Captured};
pub use gateways::{Gateways, Keys, NET_TO_NET};
pub use host::{Background, Host};
pub use internet::{Internet, Site};
pub use memory::KernelMemory;
pub use nat::Router;
pub use netns::{Netns, sh};
pub use output::Output;
pub use peer::Peer;
pub use road::Road;
pub use stage::Stage;
pub use testbed::{Segment, Testbed};
pub use watch::Watch;
