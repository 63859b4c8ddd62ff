//! How the process gets its memory.

/// Has the allocator ask for 64 MiB at a time, the most that glibc takes for the heap of a thread:
/// by the page, as it would else, reading a million objects is tens of thousands of system calls.
/// What is not touched is not in memory.
#[cfg(target_env = "gnu")]
pub fn grow_in_large_steps() {
    const STEP: libc::c_int = 64 << 20;
    // Setting one of them ends the adapting of this one: a vector that grows keeps its memory up to
    // there, as it would.
    const LARGEST_IN_HEAP: libc::c_int = 32 << 20;
    for (parameter, value) in [
        (libc::M_TOP_PAD, STEP),
        (libc::M_MMAP_THRESHOLD, LARGEST_IN_HEAP),
    ] {
        // SAFETY: takes numbers, and may be called at any time.
        if unsafe { libc::mallopt(parameter, value) } == 0 {
            tracing::debug!(parameter, value, "the allocator knows no such parameter");
        }
    }
}

/// Gives free memory back to the system.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: takes a number, and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators grow as they do.
#[cfg(not(target_env = "gnu"))]
pub fn grow_in_large_steps() {}

/// Others give back when they do.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
