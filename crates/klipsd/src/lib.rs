//! KLIPS in user space: TUN devices, raw sockets, worker threads and ciphers around `klips`.
//!
//! What is decided about a packet, a PF_KEY message or a table is decided in `klips`; this crate brings
//! packets, memory, time, randomness and ciphers to it. The daemon's manual is ipsec_klipsd(8).

pub mod control;
pub mod crypto;
pub mod daemon;
pub mod home;
pub mod host;
pub mod link;
pub mod path;
pub mod raw;
pub mod sys;
pub mod tun;
