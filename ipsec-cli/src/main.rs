//! The `ipsec` command: a thin front, one file a subcommand.
fn main() {}
