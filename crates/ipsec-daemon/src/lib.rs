//! What pluto and klipsd do alike as processes: one lives at a time in a run directory ([`PidFile`]), and gives up what it does
//! not need before the first octet from the network is read ([`confine`]). And how one hears that the network changes ([`Changes`]), and
//! how memory goes back to the system ([`memory`]).
//!
//! Not here: what each of them needs, which it says itself, and going into the background.

mod changes;
pub mod confine;
pub mod memory;
pub mod pidfile;

pub use changes::Changes;
pub use confine::{ConfineError, Needs, confine};
pub use pidfile::{LockError, PidFile};
