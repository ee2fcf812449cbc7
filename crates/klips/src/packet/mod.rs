//! A packet in one buffer with head and tail room, and views of what is in it.
//!
//! Not here: IPsec headers (`esp`, `ah`, `ipcomp`), which are laid into this buffer by their own modules.

mod buffer;

pub use buffer::{HEADROOM, MAX_TRANSFORMS, Packet, TAILROOM, transmit};
