//! Memory that the program no longer uses goes back to the system: the C library's allocator keeps what a burst of work took.

/// All threads take from one heap: each of more would keep whole pages for the few bytes that are left in them. To be called before
/// any other thread starts.
#[cfg(target_env = "gnu")]
pub fn one_heap() {
    // SAFETY: takes two numbers, and no other thread allocates yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Buffers of 64 KiB and more are pages of their own from now on: fresh ones are zero before anything touches them, and go back to the
/// system when they are freed. By itself the allocator keeps them after the first time, and then writes zeros to all of a new one. To be
/// called before any other thread starts.
#[cfg(target_env = "gnu")]
pub fn big_buffers_apart() {
    // SAFETY: takes two numbers, and no other thread allocates yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10) };
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

/// Other C libraries do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn big_buffers_apart() {}

/// They do so by themselves, or can't be told.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
