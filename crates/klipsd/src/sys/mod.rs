//! Thin safe wrappers over the system calls that nix and socket2 lack. Every `unsafe` of klipsd
//! is in this folder; nothing here knows what IPsec is.

pub mod fork;
pub mod huge;
pub mod ifreq;
pub mod mmsg;
pub mod stop;
