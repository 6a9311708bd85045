//! Which thread waited in vain for a lock, and when: it does not wait again soon.

use crate::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::mutex::FIGURES_PATIENCE_NS;
use crate::thread_token::thread_token;
use strata_os::{Clock, MonotonicClock};

/// The thread that did last; 0 if none. Written by each that does, read by who is about to wait. Of two at a time one is
/// forgotten, and waits once more.
static THREAD: AtomicUsize = AtomicUsize::new(0);

/// When, by the monotonic clock. Written before [`THREAD`], with which it is published.
static AT_NS: AtomicU64 = AtomicU64::new(0);

/// Notes that this thread waited in vain just now.
pub(crate) fn note() {
    note_at(MonotonicClock.now_ns());
}

/// Whether this thread waited in vain within the last second.
pub(crate) fn was_lately() -> bool {
    is_this_thread() && was_lately_at(MonotonicClock.now_ns())
}

/// Asked first, since it is cheaper than the time.
fn is_this_thread() -> bool {
    // Pairs with the store in `note_at`.
    THREAD.load(Ordering::Acquire) == thread_token()
}

fn note_at(now_ns: u64) {
    AT_NS.store(now_ns, Ordering::Relaxed);
    // Pairs with the load in `is_this_thread`.
    THREAD.store(thread_token(), Ordering::Release);
}

fn was_lately_at(now_ns: u64) -> bool {
    is_this_thread() && now_ns.saturating_sub(AT_NS.load(Ordering::Relaxed)) < FIGURES_PATIENCE_NS
}

#[cfg(test)]
mod tests;
