//! Pluto: the IKE keying daemon. `engine` decides, `io` does.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod engine;
pub mod io;
