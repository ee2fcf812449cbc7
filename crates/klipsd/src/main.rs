//! The klipsd daemon.
fn main() {}
