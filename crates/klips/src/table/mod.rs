//! Storage for the tables: a slab of entries with stable numbers, and a hash index over those numbers.
//!
//! Not here: what the entries are (`eroute`, `sadb`).

mod index;
mod slab;

pub(crate) use index::{HashKey, Index};
pub(crate) use slab::Slab;
