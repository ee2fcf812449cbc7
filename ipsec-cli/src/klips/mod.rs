//! The commands that work on KLIPS by hand, over PF_KEY and `klips.ctl`: eroutes, SAs, SA groups, devices, debugging.
//! One file a command; what they share is in `common` and `print`. What KLIPS does with it is the data path's.

pub mod common;
pub mod eroute;
pub mod klipsdebug;
pub mod life;
pub mod look;
pub mod pf_key;
mod print;
mod routes;
pub mod spi;
pub mod spigrp;
pub mod tncfg;
