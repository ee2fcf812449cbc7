//! The packet threads: from TUN queues through the core to the physical device, and back.

pub mod emit;
pub mod inbound;
pub mod lanes;
pub mod outbound;
