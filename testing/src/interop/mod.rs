//! The matrix of `make interop`: what is tried with each peer, as rows, and how one row is tried.
//!
//! [`matrix`] is the rows and [`suites`] the proposals in them, both data; [`text`] writes both sides' configuration
//! of a row; [`Bench`] has the hosts and daemons and tries rows one after the other; [`report`] makes the table of
//! them. `bin/interop.rs` runs all in test kernels, `tests/interop.rs` some.

mod bench;
mod matrix;
pub mod report;
mod suites;
mod text;

pub use bench::{Bench, Failure};
pub use matrix::{Mode, Role, Row, Wrap, matrix, plain_row};
pub use suites::{SUITES, Suite};

/// The body of a test: tries those rows with a peer that `choose` takes, and panics with all that failed.
#[track_caller]
pub fn try_rows(peer: crate::peer::Kind, choose: impl Fn(&Row) -> bool) {
    let rows: Vec<Row> = matrix()
        .into_iter()
        .filter(|row| row.peer == peer && row.exists() && choose(row))
        .collect();
    assert!(!rows.is_empty(), "no row of the matrix was chosen");
    let testbed = crate::Testbed::new();
    let bench = Bench::new(&testbed, peer);
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let failure = bench.attempt(row).err()?;
            Some(format!("{row}: {}\n{}", failure.reason, failure.logs))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The body of a test: so many set-ups with a peer over a wire that loses a tenth, delays by up to 100 ms, so that packets
/// overtake each other, and doubles a twentieth.
#[track_caller]
pub fn over_a_bad_wire(peer: crate::peer::Kind, set_ups: u32) {
    let testbed = crate::Testbed::new();
    let bench = Bench::new(&testbed, peer);
    bench
        .net()
        .public
        .netem("delay 50ms 50ms loss 10% duplicate 5%");
    if let Err(error) = bench.set_ups(&plain_row(peer), set_ups) {
        panic!("{error}");
    }
}
