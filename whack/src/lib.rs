//! The control protocol between whack, `ipsec auto` and pluto: requests, replies, reply codes,
//! framing, and the client side of the socket.
//!
//! What a request *means* is decided in pluto's engine; how options become a request is decided in
//! the `whack` binary and in `ipsec auto`.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod client;
pub mod frame;
pub mod rc;
pub mod reply;
pub mod request;
pub mod updown;
mod validate;
pub mod virtual_net;

pub use client::{Client, ClientError, Replies, rundir};
pub use frame::{FrameError, MAX_FRAME};
pub use ipsec_types::{ProtoPort, Subnet};
pub use rc::{ExitStatus, Rc};
pub use reply::Reply;
pub use request::{
    Connection, DebugClass, Dpd, DpdAction, End, Esn, Failure, Fragmentation, Host, Lifetimes,
    ListClass, Live, Policy, PubkeyAlg, Request, RereadClass, Shunt,
};
pub use validate::{Invalid, is_host_name};
pub use virtual_net::{Nets, Virtual};
