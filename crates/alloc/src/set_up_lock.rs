//! The lock around the making of a heap's state.

use strata_os::{futex_wait, futex_wake, process_id, thread_pointer};
use strata_sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A lock that remembers its process: a child of a fork takes it away from a thread that did not come along. (A heap whose state
/// is not made yet is in no list that a fork looks at.) It also tells the thread that holds it apart, since what it calls may
/// allocate. All zero bits are a free lock.
#[derive(Debug)]
pub(crate) struct SetUpLock {
    /// The process whose thread holds the lock; 0 if none does. Changed by exchange alone; the acquire of one holder
    /// pairs with the release of the one before.
    process: AtomicU32,
    /// The holder's thread pointer, written by the holder.
    thread: AtomicUsize,
}

impl SetUpLock {
    /// A free lock.
    pub(crate) const fn new() -> Self {
        Self { process: AtomicU32::new(0), thread: AtomicUsize::new(0) }
    }

    /// Runs `function` alone, after waiting for others; none if this very thread is inside already.
    pub(crate) fn alone<T>(&self, function: impl FnOnce() -> T) -> Option<T> {
        let this_process = process_id();
        loop {
            let holder = self.process.load(Ordering::Relaxed);
            if holder == this_process {
                if self.thread.load(Ordering::Relaxed) == thread_pointer() {
                    return None;
                }
                // Whoever leaves wakes us; the time is for one who vanished in between.
                futex_wait(&self.process, holder, Some(10_000_000));
                continue;
            }
            let taken = self.process.compare_exchange(
                holder,
                this_process,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                break;
            }
        }
        self.thread.store(thread_pointer(), Ordering::Relaxed);
        let value = function();
        self.thread.store(0, Ordering::Relaxed);
        self.process.store(0, Ordering::Release);
        futex_wake(&self.process, u32::MAX);
        Some(value)
    }
}

#[cfg(test)]
mod tests;
