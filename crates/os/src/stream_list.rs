//! The C library's list of streams, over a fork.
//!
//! glibc's `fork` takes the lock of that list after it has called the handlers that run before. A thread inside
//! `fflush(NULL)` holds it and waits for a stream; who holds the stream may wait in `malloc`; and if a handler has
//! taken the heap's locks by then, the three wait for each other for ever. glibc's own allocator is stopped after
//! the list; a handler that is to do the same takes the list's lock first. It may be taken twice.

/// Takes the lock of the list, for the time of a fork; says whether it did: not in a process with one thread, where
/// nobody else can have it, nor on a C library that has no such lock.
///
/// To be undone by [`unlock_stream_list`] in the parent, and by [`reset_stream_list`] in the child.
pub fn lock_stream_list() -> bool {
    if let Some([lock, ..]) = crate::weak::stream_list_lock()
        && !crate::weak::is_single_threaded()
    {
        // SAFETY: waits for a lock, which this thread may hold already.
        unsafe { lock() };
        return true;
    }
    false
}

/// Gives the lock back.
///
/// # Safety
///
/// [`lock_stream_list`] answered true to this thread, once for each call of this.
pub unsafe fn unlock_stream_list() {
    if let Some([_, unlock, _]) = crate::weak::stream_list_lock() {
        // SAFETY: glibc's own function, and this thread has the lock that it leaves.
        unsafe { unlock() };
    }
}

/// Makes the lock a free one, as the C library's fork has done itself by then.
///
/// # Safety
///
/// The process is the child of a fork, and has this thread alone, whose original [`lock_stream_list`] answered true.
pub unsafe fn reset_stream_list() {
    if let Some([.., reset]) = crate::weak::stream_list_lock() {
        // SAFETY: glibc's own function, in a process of one thread: nobody else has the lock or waits for it.
        unsafe { reset() };
    }
}

// Other C libraries have no such lock.
#[cfg(all(test, target_env = "gnu"))]
mod tests;
