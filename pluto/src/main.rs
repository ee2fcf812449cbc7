//! The pluto daemon.
fn main() {}
