//! IKE (RFC 2407, 2408, 2409): wire codec, key schedules, proposals and exchange state machines, without I/O.

pub mod crypto;
pub mod proposal;
pub mod v1;
pub mod wire;
