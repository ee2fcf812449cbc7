//! Vectors of RFCs and NIST, and values computed independently, against the tables, the key schedule and RSA.

mod curves;
mod groups;
mod primitives;
mod schedule;
mod signatures;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}
