//! The control protocol between whack, `ipsec auto` and pluto.
