//! The ipsecN side: TUN queues and what their virtio-net headers ask for (segmentation, checksums,
//! coalescing). Nothing here knows of SAs or eroutes.

pub mod checksum;
pub mod coalesce;
pub mod device;
pub mod ipv;
pub mod segment;
pub mod vnet;

pub use coalesce::Coalescer;
pub use device::{Tun, TunError, TunQueue};
pub use segment::Segments;
pub use vnet::VnetHeader;
