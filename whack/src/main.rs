//! The raw client of pluto.
fn main() {}
