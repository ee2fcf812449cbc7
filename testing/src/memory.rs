//! What the kernel's own memory is taken up by, for tests that must leave none behind.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::kernel;

/// Lines of `/proc/meminfo` that count memory of the kernel's own.
const KINDS: [&str; 4] = ["SUnreclaim", "Percpu", "VmallocUsed", "KernelStack"];

/// One reading, kB of each of slabs, memory a CPU, vmalloc and stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMemory([u64; KINDS.len()]);

impl KernelMemory {
    fn now() -> KernelMemory {
        let info = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
        KernelMemory(KINDS.map(|kind| {
            let line = info
                .lines()
                .find(|line| line.split(':').next() == Some(kind));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("/proc/meminfo has {kind}: {info}"))
        }))
    }

    /// How much is taken once what is on its way out is gone: caches, and what waits for a grace period.
    pub fn settled() -> KernelMemory {
        let read = || {
            // A test kernel's own; elsewhere nobody asks.
            fs::write("/proc/sys/vm/drop_caches", "3").ok();
            std::thread::sleep(Duration::from_millis(300));
            KernelMemory::now()
        };
        let mut last = read();
        for _ in 0..20 {
            let now = read();
            if now
                .0
                .iter()
                .zip(last.0)
                .all(|(now, last)| now.abs_diff(last) <= 16)
            {
                return now;
            }
            last = now;
        }
        last
    }

    /// Asserts that no kind is more than `kilobytes` above what it was at `before`; four times as much where the address
    /// sanitizer keeps what was freed for a while.
    #[track_caller]
    pub fn assert_flat_since(self, before: KernelMemory, kilobytes: u64) {
        let kilobytes = kilobytes * if kernel::keeps_freed() { 4 } else { 1 };
        let grown = self
            .0
            .iter()
            .zip(before.0)
            .any(|(now, before)| *now > before + kilobytes);
        println!("memory: {before} before; {self} after");
        assert!(
            !grown,
            "the kernel keeps more than {kilobytes} kB of memory: {before} before, {self} after"
        );
    }
}

impl fmt::Display for KernelMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (kind, kilobytes)) in KINDS.iter().zip(self.0).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{kind} {kilobytes} kB")?;
        }
        Ok(())
    }
}
