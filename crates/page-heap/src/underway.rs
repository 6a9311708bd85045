//! What is done with a heap's lock dropped, and forks, which wait until it is done.

use crate::{HasStats, Published};
use strata_os::{Clock, MonotonicClock, futex_wait, futex_wake};
use strata_sync::{
    atomic::{AtomicUsize, Ordering},
    thread_block,
};

/// Counts the steps of a heap that make system calls with the lock dropped, and lets forks find none.
///
/// Steps begin and end under the heap's lock, so that who holds it and finds none knows that there is none. In a
/// program with many threads there would hardly ever be such a moment: so a fork closes a gate first, in front of
/// which threads wait before they take the lock, and only those that passed it earlier come to their ends. A step
/// of the very thread that forks, in a handler of a signal that interrupted it, is let be: it goes on in both
/// processes. All zero bits are no steps.
#[derive(Debug)]
pub struct Underway {
    /// Changed under the heap's lock.
    steps: AtomicUsize,
    /// As many of them as were underway when somebody gave up waiting for their ends: a step of a thread that is
    /// not there, in a child that no handler of ours saw, never ends. Nobody waits for as many again.
    given_up: AtomicUsize,
    /// 1 while a fork waits, or has the lock. Written by the thread that forks; slept on by those that wait for it.
    /// core's, since a futex takes no other.
    forks: core::sync::atomic::AtomicU32,
}

/// How long a fork waits between two looks at steps that others are in, and they at most for it: a system call's
/// time, and long enough that nobody notices that it was not woken.
const LOOK_NS: u64 = 20_000;
const LONGEST_WAIT_NS: u64 = 10_000_000;

/// Times that who found nothing waits for others: each may have taken what the one before gave back.
const MOST_WAITS: u32 = 8;

/// How long who wants what others have in hand waits before it goes without, however often it has to: many times as
/// long as a step takes where there are many more threads than CPUs.
const PATIENCE_NS: u64 = 2_000_000_000;

impl Underway {
    strata_sync::const_fn! {
        /// No steps.
        pub const fn new() -> Self {
            Self {
                steps: AtomicUsize::new(0),
                given_up: AtomicUsize::new(0),
                forks: core::sync::atomic::AtomicU32::new(0),
            }
        }
    }

    /// A step begins. Under the heap's lock.
    pub fn begin(&self) {
        let own = &thread_block::block().underway;
        // In this order, and back in `end`: whoever interrupts this thread finds no step that is not its own.
        own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A step ends, in the thread that began it. Under the heap's lock.
    pub fn end(&self) {
        let left = self.steps.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if self.given_up.load(Ordering::Relaxed) > left {
            self.given_up.store(left, Ordering::Relaxed);
        }
        let own = &thread_block::block().underway;
        own.store(own.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// Steps that are underway.
    pub fn steps(&self) -> usize {
        self.steps.load(Ordering::Relaxed)
    }

    /// Whether others are in steps that may end: what is free may be in their hands, where no allocation sees it.
    /// Exact under the heap's lock. A thread that is in a step itself, and is asked for memory there, has no
    /// others: two such would wait for each other.
    pub fn has_others(&self) -> bool {
        thread_block::block().underway.load(Ordering::Relaxed) == 0
            && self.steps() > self.given_up.load(Ordering::Relaxed)
    }

    /// Waits until nobody else is in a step, two seconds at most by the monotonic clock. With no lock held that a
    /// step takes.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    pub fn wait_for_others(&self) {
        self.wait_for_others_until(MonotonicClock.now_ns().saturating_add(PATIENCE_NS));
    }

    /// The same until a time of the monotonic clock.
    #[unsafe(link_section = ".text_rarely")]
    fn wait_for_others_until(&self, until_ns: u64) {
        let nobody_wakes = core::sync::atomic::AtomicU32::new(0);
        while self.has_others() {
            if MonotonicClock.now_ns() >= until_ns {
                self.given_up.store(self.steps(), Ordering::Relaxed);
                return;
            }
            futex_wait(&nobody_wakes, 0, Some(LOOK_NS));
        }
    }

    /// Calls `attempt` until it finds something, or finds nothing while nobody else has anything in hand: it says
    /// both, of one moment under the heap's lock. Waits two seconds at most, all in all. With no lock held that a
    /// step takes.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    pub fn retry_after_others<T>(
        &self,
        mut attempt: impl FnMut() -> (Option<T>, bool),
    ) -> Option<T> {
        let mut until_ns = None;
        for _ in 0..MOST_WAITS {
            let (found, has_others) = attempt();
            if found.is_some() || !has_others {
                return found;
            }
            let now_ns = || MonotonicClock.now_ns().saturating_add(PATIENCE_NS);
            self.wait_for_others_until(*until_ns.get_or_insert_with(now_ns));
        }
        attempt().0
    }

    /// Waits as long as a fork does: before the lock is taken by who may begin a step, also before each of several.
    /// With no lock held that a fork takes.
    #[inline]
    pub fn let_forks_pass(&self) {
        if self.forks.load(Ordering::Relaxed) != 0 {
            self.wait_for_forks();
        }
    }

    /// Takes the lock of a fork's heap, at a moment when nothing is underway.
    pub fn acquire<S: HasStats>(&self, state: &Published<S>) {
        let own = usize::try_from(thread_block::block().underway.load(Ordering::Relaxed));
        let own = own.unwrap_or(usize::MAX);
        loop {
            state.acquire();
            self.forks.store(1, Ordering::Relaxed);
            if self.steps() <= own {
                return;
            }
            // SAFETY: taken a moment ago, and no guard exists.
            unsafe { state.release() };
            let nobody_wakes = core::sync::atomic::AtomicU32::new(0);
            futex_wait(&nobody_wakes, 0, Some(LOOK_NS));
        }
    }

    /// Leaves it, in the parent or in the child.
    ///
    /// # Safety
    ///
    /// This thread took it with [`acquire`](Self::acquire), or is the child of the thread that did.
    pub unsafe fn release<S: HasStats>(&self, state: &Published<S>) {
        self.forks.store(0, Ordering::Relaxed);
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { state.release() };
        futex_wake(&self.forks, u32::MAX >> 1);
    }

    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    fn wait_for_forks(&self) {
        // Who is in a step is waited for.
        while thread_block::block().underway.load(Ordering::Relaxed) == 0
            && self.forks.load(Ordering::Relaxed) != 0
        {
            futex_wait(&self.forks, 1, Some(LONGEST_WAIT_NS));
        }
    }
}

impl Default for Underway {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
