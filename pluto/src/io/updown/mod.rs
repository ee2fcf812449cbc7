//! Updown commands, run by a process of their own: pluto gives up the rights to run programs before it reads anything from the
//! network, and asks for what it wants run over a socket. When to run which is the engine's business.
//!
//! The process is pluto's program again. It keeps root's rights, since the commands are the administrator's own, runs only what
//! the administrator's tools have given it, and ends when pluto does.

mod client;
mod command;
mod helper;
mod wire;

pub use client::Updown;
pub use command::Outcome;
pub use helper::{COMMAND, Helper, run as run_helper};
