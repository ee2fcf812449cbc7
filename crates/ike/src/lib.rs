//! IKE (RFC 2407, 2408, 2409): wire codec, key schedules, proposals and exchange state machines, without I/O.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod crypto;
pub mod proposal;
pub mod v1;
pub mod wire;
