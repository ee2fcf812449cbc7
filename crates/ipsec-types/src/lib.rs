//! Addresses, subnets, SPIs, SA ids, algorithm numbers and their text forms. `no_std`, no `alloc`.
#![no_std]
