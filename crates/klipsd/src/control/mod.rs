//! The sockets that programs talk to: `pfkey.sock` and `klips.ctl` in the run directory.

pub mod ctl;
pub mod listeners;
pub mod peer;
pub mod pfkey;
