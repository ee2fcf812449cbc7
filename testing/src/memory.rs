//! What the kernel's own memory is taken up by, for tests that must leave none behind.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

/// Lines of `/proc/meminfo` that count memory of the kernel's own.
const KINDS: [&str; 4] = ["SUnreclaim", "Percpu", "VmallocUsed", "KernelStack"];
/// Caches that a debug kernel keeps its notes about others' objects in; those objects are counted themselves.
const NOTES: [&str; 3] = [
    "debug_objects_cache",
    "kmemleak_object",
    "kmemleak_scan_area",
];

/// One reading, kB of each of slabs (without [`NOTES`]), memory a CPU, vmalloc and stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMemory {
    kinds: [u64; KINDS.len()],
    /// kB of each cache's slabs.
    caches: BTreeMap<String, u64>,
}

impl KernelMemory {
    fn now() -> KernelMemory {
        let info = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
        let mut kinds: [u64; KINDS.len()] = KINDS.map(|kind| {
            let line = info
                .lines()
                .find(|line| line.split(':').next() == Some(kind));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("/proc/meminfo has {kind}: {info}"))
        });
        let caches = caches();
        let notes: u64 = NOTES.iter().filter_map(|name| caches.get(*name)).sum();
        kinds[0] = kinds[0].saturating_sub(notes);
        KernelMemory { kinds, caches }
    }

    /// How much is taken once what is on its way out is gone: caches, what waits for a grace period, slabs with nothing in them
    /// and what the address sanitizer holds back.
    pub fn settled() -> KernelMemory {
        let read = || {
            // A test kernel's own; elsewhere nobody asks.
            fs::write("/proc/sys/vm/drop_caches", "3").ok();
            std::thread::sleep(Duration::from_millis(300));
            shrink();
            KernelMemory::now()
        };
        let mut last = read();
        for _ in 0..20 {
            let now = read();
            let still = |(now, last): (&u64, &u64)| now.abs_diff(*last) <= 16;
            if now.kinds.iter().zip(&last.kinds).all(still) {
                return now;
            }
            last = now;
        }
        last
    }

    /// Asserts that no kind is more than `kilobytes` above what it was at `before`.
    #[track_caller]
    pub fn assert_flat_since(&self, before: &KernelMemory, kilobytes: u64) {
        let mut pairs = self.kinds.iter().zip(&before.kinds);
        let grown = pairs.any(|(now, before)| *now > before + kilobytes);
        println!(
            "memory: {before} before; {self} after{}",
            self.caches_since(before)
        );
        assert!(
            !grown,
            "the kernel keeps more than {kilobytes} kB of memory: {before} before, {self} after"
        );
    }

    /// The caches whose slabs have changed by as much as counts, and by how much.
    fn caches_since(&self, before: &KernelMemory) -> String {
        let mut text = String::new();
        for (name, now) in &self.caches {
            let change = *now as i64 - before.caches.get(name).map_or(0, |kb| *kb as i64);
            if change.abs() >= 32 {
                text += &format!("; {name} {change:+} kB");
            }
        }
        text
    }
}

/// kB of each cache of `/proc/slabinfo`: name, five numbers of which the last is pages a slab, and behind `slabdata` how many slabs.
fn caches() -> BTreeMap<String, u64> {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let cache = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pages: u64 = words.get(5)?.parse().ok()?;
        let data = words.iter().position(|word| *word == "slabdata")?;
        let slabs: u64 = words.get(data + 2)?.parse().ok()?;
        Some((words[0].to_owned(), slabs * pages * 4))
    };
    text.lines().filter_map(cache).collect()
}

/// Has every cache give back the slabs that have nothing in them, and before that the sanitizer what was freed in them.
fn shrink() {
    let Ok(caches) = fs::read_dir("/sys/kernel/slab") else {
        return;
    };
    // A symbolic link is another name of a cache that has its own.
    let caches = caches.filter_map(|entry| {
        entry
            .ok()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
    });
    for cache in caches {
        fs::write(cache.path().join("shrink"), "1").ok();
    }
}

impl fmt::Display for KernelMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (kind, kilobytes)) in KINDS.iter().zip(self.kinds).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{kind} {kilobytes} kB")?;
        }
        Ok(())
    }
}
