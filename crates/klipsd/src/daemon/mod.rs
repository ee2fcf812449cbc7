//! The process around `host`: run directory, pid file, log, signals, threads that serve.

pub mod cli;
pub mod log;
pub mod run;

pub use cli::Args;
pub use run::{StartError, Started};
