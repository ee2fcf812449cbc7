//! The observer on a wire: it counts packets between nets that must not talk in the clear, and fails the test when it is dropped.
//!
//! The kernel counts, where each cable enters the wire and before anything can lose the packet, so that no packet is
//! missed and no process runs. Captures, which show what a packet holds, are in `capture`.

use std::cell::{Cell, RefCell};
use std::fmt::Write;

use crate::{Segment, Testbed};

/// An observer on a segment; see [`Segment::watch`].
pub struct Watch<'a> {
    testbed: &'a Testbed,
    table: String,
    directions: Vec<(String, String)>,
    /// For each direction, packets that were right to pass.
    allowed: RefCell<Vec<u64>>,
    reasons: RefCell<Vec<&'static str>>,
    /// Nets of which alone packets count, if not all do.
    ours: RefCell<Vec<&'static str>>,
    ended: Cell<bool>,
}

/// The table of a bridge's observer.
pub(crate) fn table_of(bridge: &str) -> String {
    format!("watch-{bridge}")
}

/// The script that puts one port of a bridge under its observer.
pub(crate) fn watch_port(bridge: &str, port: &str) -> String {
    let table = table_of(bridge);
    format!(
        "nft 'add chain netdev {table} {port} {{ type filter hook ingress device {port} priority -10; }}' \
         && nft add rule netdev {table} {port} jump look"
    )
}

impl<'a> Watch<'a> {
    pub(crate) fn start(segment: &Segment<'a>, pairs: &[(&str, &str)]) -> Watch<'a> {
        let both_ways = |(a, b): &(&str, &str)| {
            let (a, b) = ((*a).to_owned(), (*b).to_owned());
            [(a.clone(), b.clone()), (b, a)]
        };
        let directions: Vec<(String, String)> = pairs.iter().flat_map(both_ways).collect();
        let table = table_of(&segment.bridge);
        let mut rules = format!("add table netdev {table}\nadd chain netdev {table} look\n");
        for (index, (from, to)) in directions.iter().enumerate() {
            let ip = if from.contains(':') { "ip6" } else { "ip" };
            writeln!(
                rules,
                "add counter netdev {table} clear{index}\n\
                 add rule netdev {table} look {ip} saddr {from} {ip} daddr {to} counter name clear{index}"
            )
            .expect("a string takes all");
        }
        let ports = format!(
            "ip -o link show master {} | sed 's/^[0-9]*: //; s/[@:].*//' | while read -r port; do {} || exit 1; done",
            segment.bridge,
            watch_port(&segment.bridge, "$port").replace('\'', "\"")
        );
        segment.testbed.run(&format!(
            "nft -f - <<'RULES'\n{rules}RULES\n[ $? = 0 ] && {ports}"
        ));
        Watch {
            testbed: segment.testbed,
            table,
            allowed: RefCell::new(vec![0; directions.len()]),
            directions,
            reasons: RefCell::default(),
            ours: RefCell::default(),
            ended: Cell::new(false),
        }
    }

    /// How many packets have passed in the clear that were not allowed to, in all directions.
    pub fn count(&self) -> u64 {
        self.wrong().iter().sum()
    }

    /// Runs a scene in which packets between the nets may pass in the clear; `why` says why that is right.
    pub fn in_the_clear<R>(&self, why: &'static str, scene: impl FnOnce() -> R) -> R {
        let before = self.read();
        let answer = scene();
        let after = self.read();
        for ((allowed, before), after) in
            self.allowed.borrow_mut().iter_mut().zip(before).zip(after)
        {
            *allowed += after - before;
        }
        self.reasons.borrow_mut().push(why);
        answer
    }

    /// Only packets out of these nets count; `why` says why others are not ours to answer for.
    pub fn only_from(&self, nets: &[&'static str], why: &'static str) {
        self.ours.borrow_mut().extend(nets);
        self.reasons.borrow_mut().push(why);
    }

    /// From here on packets between the nets may pass in the clear; `why` says why that is right. What passed before still counts.
    #[track_caller]
    pub fn end(&self, why: &'static str) {
        self.assert_none();
        self.reasons.borrow_mut().push(why);
        self.testbed
            .run(&format!("nft delete table netdev {}", self.table));
        self.ended.set(true);
    }

    /// Fails the test if packets have passed that were not allowed to.
    #[track_caller]
    pub fn assert_none(&self) {
        let said = self.seen();
        assert!(
            said.is_empty(),
            "packets between protected nets passed in the clear on {}:\n{said}allowed were: {:?}\n\
             A test in which that is right says so by `watch.in_the_clear(why, scene)`.",
            self.table,
            self.reasons.borrow()
        );
    }

    /// The same by direction, for messages.
    pub fn seen(&self) -> String {
        let mut said = String::new();
        for ((from, to), count) in self.directions.iter().zip(self.wrong()) {
            if count > 0 {
                writeln!(said, "  {count} from {from} to {to}").expect("a string takes all");
            }
        }
        said
    }

    fn wrong(&self) -> Vec<u64> {
        let read = self.read();
        let (allowed, ours) = (self.allowed.borrow(), self.ours.borrow());
        let counts = read.iter().zip(allowed.iter()).zip(&self.directions);
        counts
            .map(|((read, allowed), (from, _))| {
                let counts = ours.is_empty() || ours.contains(&from.as_str());
                if counts {
                    read.saturating_sub(*allowed)
                } else {
                    0
                }
            })
            .collect()
    }

    /// The counters, in the order of the directions.
    fn read(&self) -> Vec<u64> {
        if self.ended.get() {
            return vec![0; self.directions.len()];
        }
        let said = self
            .testbed
            .run(&format!("nft list counters table netdev {}", self.table))
            .stdout;
        let counts = counters(&said);
        let count = |index| {
            let name = format!("clear{index}");
            let found = counts.iter().find(|(counter, _)| *counter == name);
            found
                .unwrap_or_else(|| panic!("no counter {name} in {said}"))
                .1
        };
        (0..self.directions.len()).map(count).collect()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.ended.get() {
            self.assert_none();
        }
    }
}

/// Name and packets of each counter that nft lists.
fn counters(listed: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut name = None;
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("counter") => name = words.next().map(str::to_owned),
            Some("packets") => {
                let packets = words.next().and_then(|word| word.parse().ok());
                found.extend(name.take().zip(packets));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::counters;

    #[test]
    fn nft_lists_counters() {
        let listed = "table netdev watch-br-public {\n\tcounter clear0 {\n\t\tpackets 3 bytes 252\n\t}\n\
                      \tcounter clear1 {\n\t\tpackets 0 bytes 0\n\t}\n}\n";
        let expected = vec![("clear0".to_owned(), 3), ("clear1".to_owned(), 0)];
        assert_eq!(counters(listed), expected);
    }
}
