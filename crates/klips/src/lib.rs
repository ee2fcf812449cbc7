//! The KLIPS data path: what happens to a packet, without I/O, without a clock. `no_std`, no `alloc`.
#![no_std]
