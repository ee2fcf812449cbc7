//! Tests of the engine without IKE: whack's requests, and SAs handed over as Quick Mode would, against the real KLIPS core.

mod commands;
mod dpd;
pub(in crate::engine) mod gateway;
mod groups;
mod hosts;
mod install;
mod limits;
mod oppo;
mod orientation;
pub(in crate::engine) mod pair;
mod routes;
mod strange;
mod strangers;
mod table;
mod trial;
mod world;
