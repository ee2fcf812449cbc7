//! Opportunism among many: engines of gateways that know nothing of each other, in simulated time.
//!
//! `cargo bench -p pluto --bench opportunism [-- GATEWAYS]` runs 10,000 gateways, of which 5, 20 and 80 % take part, and writes the
//! figures into docs/opportunism.md and the plot beside it, docs/opportunism.svg.

mod node;
mod page;
mod world;

use std::path::Path;

use world::{Plan, World};

/// Of a hundred gateways.
const SHARES: [u32; 3] = [5, 20, 80];
const GATEWAYS: u32 = 10_000;
/// From so many on the figures are kept.
const ENOUGH: u32 = 400;

fn main() {
    // cargo bench passes --bench.
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let gateways: u32 = asked.unwrap_or(GATEWAYS);
    let mut rows = Vec::new();
    for share in SHARES {
        let began = std::time::Instant::now();
        let mut world = World::new(Plan { gateways, share });
        world.run();
        let row = world.row();
        println!("{row:?} in {:?}", began.elapsed());
        rows.push(row);
    }
    println!("{}", page::table(&rows));
    // Fewer would say less than the page does.
    if gateways >= ENOUGH {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        page::write(&docs, &rows).expect("docs/ can be written");
    }
}
