//! Turns of threads that found nothing.
//!
//! Who has the turn gives all back that it can and tries again, which may take as long as others take with what
//! they have in hand. Forks do not wait for that: so this is no lock that they take, and a child forgets whoever is
//! not there.

use strata_os::{Clock, MonotonicClock, futex_wait, thread_pointer};
use strata_sync::atomic::{AtomicUsize, Ordering};

/// Time between two looks at whether the turn is over: a part of what one takes that finds nothing.
const LOOK_NS: u64 = 50_000;

/// Whose turn it is. All zero bits are nobody's.
#[derive(Debug)]
pub(super) struct Turns {
    /// The pointer of the thread whose turn it is, 0 for none. Written by that thread, and in the child of a fork.
    /// It guards no value: what the turn is about has locks of its own.
    holder: AtomicUsize,
}

/// It is this thread's turn as long as this lives.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for the turn, by the monotonic clock for `patience_ns` nanoseconds at most; not at all where it is
    /// this thread's already, which may have interrupted itself. Then, and when it has waited in vain, there is
    /// none.
    pub(super) fn take(&self, patience_ns: u64) -> Option<Turn<'_>> {
        let own = thread_pointer();
        let mut until_ns = None;
        loop {
            let taken = self.holder.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => return Some(Turn(self)),
                Err(holder) if holder == own => return None,
                Err(_) => {}
            }
            let now_ns = MonotonicClock.now_ns();
            if now_ns >= *until_ns.get_or_insert(now_ns.saturating_add(patience_ns)) {
                return None;
            }
            // Nobody wakes us: it is a sleep.
            futex_wait(&core::sync::atomic::AtomicU32::new(0), 0, Some(LOOK_NS));
        }
    }

    /// In the child of a fork: ends the turn of a thread that is not there. One of the thread that forked, in a
    /// handler of a signal that interrupted it, goes on.
    pub(super) fn forget_others(&self) {
        if self.holder.load(Ordering::Relaxed) != thread_pointer() {
            self.holder.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Release: pairs with the acquire of the next turn, which finds what this one gave back.
        self.0.holder.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
