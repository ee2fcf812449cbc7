//! PF_KEY v2 (RFC 2367) message codec with the eroute, SA-group and debug extensions of KLIPS. `no_std`, no `alloc`.
#![no_std]
