//! Pluto: the IKE keying daemon. `engine` decides, `io` does.

pub mod engine;
pub mod io;
