//! The lock around the making of a heap's state.

use crate::fork;
use strata_os::{futex_wait, futex_wake, process_id, thread_pointer};
use strata_sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A lock that remembers its process: a child of a fork takes it away from a thread that did not come along. (A
/// heap whose state is not made yet is in no list that a fork looks at.) A child that has its parent's memory
/// (clone(2) with `CLONE_VM`) waits. It also tells the thread that holds it apart, since what it calls may
/// allocate. All zero bits are a free lock.
#[derive(Debug)]
pub(crate) struct SetUpLock {
    /// Whose thread holds the lock, as [`Holder`] packs it; 0 if nobody's does. Changed by exchange alone; the
    /// acquire of one holder pairs with the release of the one before.
    holder: AtomicU32,
    /// The holder's thread pointer, written by the holder.
    thread: AtomicUsize,
}

/// How long a waiter sleeps before it looks again, in nanoseconds: who holds the lock wakes it, unless that one has
/// vanished.
const TURN_NS: u64 = 10_000_000;

/// Turns after which another process that seems to have the same memory is taken for one whose child this is, after
/// all: ten seconds, which no load makes a set-up take. (It forked by a call that runs no handlers, while another
/// thread was inside.)
const PATIENCE: u32 = 1000;

impl SetUpLock {
    /// A free lock.
    pub(crate) const fn new() -> Self {
        Self { holder: AtomicU32::new(0), thread: AtomicUsize::new(0) }
    }

    /// Runs `function` alone, after waiting for others; none if this very thread is inside already.
    pub(crate) fn alone<T>(&self, function: impl FnOnce() -> T) -> Option<T> {
        self.alone_within(PATIENCE, function)
    }

    /// The same with so many turns of waiting for another process.
    fn alone_within<T>(&self, patience: u32, function: impl FnOnce() -> T) -> Option<T> {
        let mut turns = 0;
        loop {
            // Each time: a signal's handler may have forked meanwhile, and this go on in the child.
            let this = Holder::here();
            let word = self.holder.load(Ordering::Relaxed);
            let holder = Holder::of_word(word);
            if holder.process == this.process {
                if self.thread.load(Ordering::Relaxed) == thread_pointer() {
                    return None;
                }
                futex_wait(&self.holder, word, Some(TURN_NS));
            } else if word != 0 && holder.may_share_memory(this) && turns < patience {
                turns += 1;
                futex_wait(&self.holder, word, Some(TURN_NS));
            } else if self
                .holder
                .compare_exchange(word, this.word(), Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                break;
            }
        }
        self.thread.store(thread_pointer(), Ordering::Relaxed);
        let value = function();
        self.thread.store(0, Ordering::Relaxed);
        self.holder.store(0, Ordering::Release);
        futex_wake(&self.holder, u32::MAX);
        Some(value)
    }
}

/// Who has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    /// The process's number, which differs where memory is shared without being threads' (below 2^22 in Linux).
    process: u32,
    /// How many forks lead here, from 1 on; 0 where nobody counts. Processes that share their memory have the same.
    generation: u32,
}

const PROCESS_BITS: u32 = 22;
const GENERATIONS: u32 = (1 << (u32::BITS - PROCESS_BITS)) - 1;

impl Holder {
    fn here() -> Self {
        let generation = fork::generation().map_or(0, |forks| forks % GENERATIONS + 1);
        // One where the kernel does not tell (0): a free lock is nobody's.
        Self { process: (process_id() % (1 << PROCESS_BITS)).max(1), generation }
    }

    const fn of_word(word: u32) -> Self {
        Self { process: word % (1 << PROCESS_BITS), generation: word >> PROCESS_BITS }
    }

    const fn word(self) -> u32 {
        self.process | self.generation << PROCESS_BITS
    }

    /// Whether it may be another process of this memory, and not one whose copy this is.
    const fn may_share_memory(self, other: Self) -> bool {
        self.generation != 0 && self.generation == other.generation
    }
}

#[cfg(test)]
mod tests;
