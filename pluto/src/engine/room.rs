//! Tables that a burst has made wide give their room back once they are almost empty, which the standard library's never do.

use core::hash::Hash;
use std::collections::HashMap;

/// Tables of this size are not worth the work.
const SMALL: usize = 64;

/// Takes an entry out.
pub(crate) fn take<K: Eq + Hash, V>(table: &mut HashMap<K, V>, key: &K) -> Option<V> {
    let taken = table.remove(key);
    give_back(table);
    taken
}

/// To be called when several have been taken out.
pub(crate) fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > SMALL && table.len() < table.capacity() / 8 {
        table.shrink_to(2 * table.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_no_room_behind() {
        let mut table: HashMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        for n in 0..9_990 {
            assert_eq!(take(&mut table, &n), Some(n));
            assert!(table.capacity() < SMALL.max(16 * table.len()), "{n}");
        }
        assert_eq!(table.len(), 10);
    }
}
