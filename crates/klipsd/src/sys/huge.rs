//! Huge pages for tables of many megabytes: a lookup among 100,000 entries otherwise waits longer for the address
//! translation than for the memory.

/// A huge page, in bytes.
const HUGE: usize = 2 << 20;

/// Asks the system to keep what `table` has allocated in huge pages, where it spans any. A system without them says no, and
/// nothing is lost.
pub fn advise<T>(table: &mut Vec<T>) {
    let start = (table.as_mut_ptr() as usize).next_multiple_of(HUGE);
    let end = table.as_ptr() as usize + table.capacity() * size_of::<T>();
    let length = end.saturating_sub(start) / HUGE * HUGE;
    if length == 0 {
        return;
    }
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
        // SAFETY: the range lies within the vector's own allocation, and neither advice changes what the memory holds.
        unsafe { libc::madvise(start as *mut libc::c_void, length, advice) };
    }
}

#[cfg(test)]
mod tests {
    use super::advise;

    #[test]
    fn what_a_table_holds_stays() {
        let mut table: Vec<u64> = (0..1 << 20).collect();
        advise(&mut table);
        table.extend(1 << 20..1 << 21);
        advise(&mut table);
        assert!(table.iter().copied().eq(0..1 << 21));
        advise(&mut Vec::<u8>::new());
    }
}
