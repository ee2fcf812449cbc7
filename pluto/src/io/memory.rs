//! Memory that the program no longer uses goes back to the system: the C library's allocator keeps what a burst of work took.

/// All threads take from one heap: each of more would keep whole pages for the few bytes that are left in them. To be called before
/// any other thread starts.
#[cfg(target_env = "gnu")]
pub fn one_heap() {
    // SAFETY: takes two numbers, and no other thread allocates yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives back what has become free; to be called now and then.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: takes a number, and leaves all that is allocated where it is.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such thing.
#[cfg(not(target_env = "gnu"))]
pub fn one_heap() {}

/// They do so by themselves, or can't be told.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
