//! Offers, choices and confirmations, with the reasons of refusals.

mod algorithms;
mod ike;
mod ipsec;
mod mutation;
