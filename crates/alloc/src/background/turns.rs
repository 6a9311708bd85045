//! Turns of threads that found nothing.
//!
//! Who has the turn gives all back that it can and tries again, which may take as long as others take with what
//! they have in hand. Forks do not wait for that: so this is no lock that they take, and a child forgets whoever is
//! not there.

use strata_os::{Clock, MonotonicClock, futex_wait, futex_wake, thread_pointer};
use strata_sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Time between two looks of who was not woken: nobody wakes the child of a fork in which the turn is forgotten, or who
/// waits in a handler there.
const LOOK_NS: u64 = 10_000_000;

/// Whose turn it is. All zero bits are nobody's.
#[derive(Debug)]
pub(super) struct Turns {
    /// The pointer of the thread whose turn it is, 0 for none. Written by that thread, and in the child of a fork.
    /// It guards no value: what the turn is about has locks of its own.
    holder: AtomicUsize,
    /// How many wait. Written by them; in the child of a fork it begins anew, so that it may be too few then.
    waiting: AtomicU32,
    /// Turns that ended while somebody waited: slept on. Written by who ends one. core's, since a futex takes no other.
    ended: core::sync::atomic::AtomicU32,
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
            let until_ns = *until_ns.get_or_insert(now_ns.saturating_add(patience_ns));
            if now_ns >= until_ns {
                return None;
            }
            self.sleep(LOOK_NS.min(until_ns - now_ns));
        }
    }

    /// Sleeps until a turn ends, for `ns` nanoseconds at most; not if there is none.
    fn sleep(&self, ns: u64) {
        // All sequentially consistent, as in the end of a turn: it is over before the look here, or whoever ends it sees
        // one that waits, and the count that changes then keeps that one from going to sleep.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let ended = self.ended.load(core::sync::atomic::Ordering::SeqCst);
        if self.holder.load(Ordering::SeqCst) != 0 {
            futex_wait(&self.ended, ended, Some(ns));
        }
        let fewer = |count: u32| count.checked_sub(1);
        let _ = self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, fewer);
    }

    /// In the child of a fork: ends the turn of a thread that is not there. One of the thread that forked, in a
    /// handler of a signal that interrupted it, goes on.
    pub(super) fn forget_others(&self) {
        if self.holder.load(Ordering::Relaxed) != thread_pointer() {
            self.holder.store(0, Ordering::Relaxed);
        }
        // Nobody else is there to wait.
        self.waiting.store(0, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Pairs with the acquire of the next turn, which finds what this one gave back, and with `sleep`.
        self.0.holder.store(0, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.ended.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
            futex_wake(&self.0.ended, 1);
        }
    }
}

#[cfg(test)]
mod tests;
