//! What keeps a heap in shape while it works and while it rests: small steps, done by a thread of the heap's own or by
//! threads that miss their cache.
//!
//! Each kind of work is a [`Task`] with a time at which it is due. A step does what is most overdue, in a
//! bounded time and with no lock held across a system call, and says when the next step is due.

mod figures;
mod tasks;

pub use figures::BackgroundFigures;

use crate::{Core, HeapConfig};
use figures::Counters;
use strata_os::Clock;
use strata_span::Platform;
use strata_sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
use tasks::{Memory, Task};

/// Misses between two looks at the clock: half as many show in the time of a miss, twice as many let a slow program's
/// caches lie for longer.
const MISSES_PER_LOOK: u32 = 64;

/// Time between two rounds of a task that has nothing urgent to do: TCMalloc's interval.
pub(crate) const INTERVAL_NS: u64 = 1_000_000_000;

/// The background work of a heap. All zero bits are one of which nothing was done yet.
#[derive(Debug)]
pub(crate) struct Background {
    /// Keeps steps apart, and a fork from finding one half done. Rank: under the list of threads, above the layers.
    /// Waited for by forks and by who wants figures at rest; everybody else tries it.
    schedule: Mutex<Schedule>,
    /// Misses so far, modulo 2³². Written by all threads that miss.
    misses: AtomicU32,
    /// When the next step is due; 0 before the first look at the clock. Written by who looked, and after each step.
    due_ns: AtomicU64,
    counters: Counters,
}

/// When each task is due, and what it remembers.
#[derive(Debug)]
struct Schedule {
    /// By task; 0 is at once.
    due_ns: [u64; Task::COUNT],
    memory: Memory,
}

impl Schedule {
    /// The task that is most overdue at `now_ns`. One that lies further ahead than any task asks for was set before the
    /// clock jumped back, and counts as due.
    fn next_due(&self, now_ns: u64) -> Option<Task> {
        let is_due = |due_ns: u64| due_ns <= now_ns || due_ns - now_ns > Task::LONGEST_NS;
        Task::ALL
            .into_iter()
            .zip(self.due_ns)
            .filter(|(_, due_ns)| is_due(*due_ns))
            .min_by_key(|(_, due_ns)| *due_ns)
            .map(|(task, _)| task)
    }

    fn set_due(&mut self, task: Task, due_ns: u64) {
        if let Some(due) = self.due_ns.get_mut(task as usize) {
            *due = due_ns;
        }
    }

    fn earliest(&self) -> u64 {
        self.due_ns.into_iter().min().unwrap_or(u64::MAX)
    }
}

impl<C: HeapConfig> Core<C> {
    /// Does one bounded step of what is due at `now_ns`, a time of the heap's clock; says when the next step is due,
    /// which may be now.
    ///
    /// The heap's own thread calls this, and threads that miss their cache. A program may, too, in idle moments of a
    /// thread of its own. Any thread may at any time, with no lock of the heap held; of two at once one does nothing.
    pub fn background_step(&self, now_ns: u64) -> u64 {
        let Some(mut schedule) = self.background.schedule.try_lock() else {
            return now_ns.saturating_add(INTERVAL_NS);
        };
        if let Some(task) = schedule.next_due(now_ns) {
            let due_ns = self.perform(task, now_ns, &mut schedule.memory);
            schedule.set_due(task, due_ns);
            self.background.counters.steps.fetch_add(1, Ordering::Relaxed);
        }
        let due_ns = schedule.earliest();
        self.background.due_ns.store(due_ns, Ordering::Relaxed);
        due_ns
    }

    /// What the background work did.
    pub fn background_figures(&self) -> BackgroundFigures {
        self.background.counters.figures()
    }

    /// Notes a miss of this thread's cache, and does a step if one is due: with no lock held.
    #[inline]
    pub(crate) fn note_miss(&self) {
        let misses = self.background.misses.fetch_add(1, Ordering::Relaxed);
        if misses.is_multiple_of(MISSES_PER_LOOK) {
            self.look_at_clock();
        }
    }

    #[cold]
    fn look_at_clock(&self) {
        let now_ns = self.clock().now_ns();
        let due_ns = self.background.due_ns.load(Ordering::Relaxed);
        if due_ns == 0 {
            // There is nothing yet to look back at.
            let first_ns = now_ns.saturating_add(INTERVAL_NS);
            let _ = self.background.due_ns.compare_exchange(
                0,
                first_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            return;
        }
        // A clock that jumped back is believed: the due moment lies too far ahead.
        if now_ns >= due_ns || due_ns - now_ns > Task::LONGEST_NS {
            self.background_step(now_ns);
        }
    }
}

impl Background {
    /// Waits until no step is underway and keeps others from beginning, so that a fork finds none half done.
    pub(crate) fn acquire(&self) {
        self.schedule.acquire();
    }

    /// Lets steps go on.
    ///
    /// # Safety
    ///
    /// This thread called [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.schedule.release() };
    }
}

#[cfg(test)]
mod tests;
