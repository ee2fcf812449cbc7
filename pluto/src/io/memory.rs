//! Memory that the program no longer uses goes back to the system: the C library's allocator keeps, for each thread, what a burst of
//! work took.

/// Gives back what has become free, if that is worth the while; to be called now and then.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Less than this is not worth looking for.
    const WORTH: usize = 1 << 20;
    /// What was free and given back already, which the allocator counts as free.
    static GIVEN: AtomicUsize = AtomicUsize::new(0);

    // SAFETY: takes no arguments, takes the allocator's own locks, and returns a struct of numbers.
    let free = unsafe { libc::mallinfo2() }.fordblks;
    let given = GIVEN.load(Ordering::Relaxed).min(free);
    if free - given > WORTH {
        // SAFETY: takes a number, and leaves all that is allocated where it is.
        unsafe { libc::malloc_trim(0) };
        GIVEN.store(free, Ordering::Relaxed);
    } else {
        GIVEN.store(given, Ordering::Relaxed);
    }
}

/// Other C libraries do so by themselves, or can't be told.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
