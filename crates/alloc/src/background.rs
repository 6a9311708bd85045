//! What keeps a heap in shape while it works and while it rests: small steps, done by a thread of the heap's own or by
//! threads that miss their cache.
//!
//! Each kind of work is a [`Task`] with a time at which it is due. A step does what is most overdue, in a
//! bounded time and with no lock held across a system call, and says when the next step is due. When every task has
//! nothing to do and nobody misses, the heap is at rest, and its thread sleeps until somebody does.

mod demand;
mod figures;
mod tasks;
mod thread;

pub use figures::BackgroundFigures;
pub use thread::{threads_may_start, wait_with_threads};

use crate::{Core, HeapConfig};
use figures::Counters;
use strata_os::{Clock, futex_wait, thread_id};
use strata_span::Platform;
use strata_sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    thread_block,
};
use tasks::{Memory, Next, Task};
use thread::Thread;

/// Misses between two looks at the clock: half as many show in the time of a miss, twice as many let a slow program's
/// caches lie for longer.
const MISSES_PER_LOOK: u32 = 64;

/// Bytes of large blocks, had or given back, between two looks at the clock: what as many misses may move.
const LARGE_BYTES_PER_LOOK: u64 = 4 << 20;

/// Time between two rounds of a task that has nothing urgent to do: TCMalloc's interval.
pub(crate) const INTERVAL_NS: u64 = 1_000_000_000;

/// Time between two looks at whether a step is done.
const HOLD_LOOK_NS: u64 = 100_000;

/// What kind of call a thread is in when it looks whether background work is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// An allocation: a thread may be made.
    Allocation,
    /// A deallocation: none may, since making one frees.
    Deallocation,
}

/// The background work of a heap. All zero bits are one of which nothing was done yet.
#[derive(Debug)]
pub(crate) struct Background {
    /// Keeps steps apart, and a fork from finding one half done. Rank: above the list of threads and the layers, which steps use.
    /// Waited for by forks and by who wants figures at rest; everybody else tries it.
    schedule: Mutex<Schedule>,
    /// Misses so far, modulo 2³². Written by all threads that miss.
    misses: AtomicU32,
    /// Bytes of large blocks that came and went. Written by all threads that have such.
    large_bytes: AtomicU64,
    /// When the next step is due; 0 before the first look at the clock. Written by who looked, and after each step.
    due_ns: AtomicU64,
    /// Nothing is to be done until somebody misses. Written under the schedule's lock, read by who looks.
    at_rest: AtomicBool,
    /// The thread that is in a step; 0 for none. Written under the schedule's lock.
    stepping: AtomicU32,
    counters: Counters,
    thread: Thread,
}

/// No step is underway as long as this lives, but for one that has it.
struct Hold<'a>(Option<MutexGuard<'a, Schedule>>);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// When each task is due, and what it remembers.
#[derive(Debug)]
struct Schedule {
    /// By task; 0 is at once.
    due_ns: [u64; Task::COUNT],
    /// Tasks that had nothing to do when they were last asked, and since then nobody had.
    resting: [bool; Task::COUNT],
    memory: Memory,
}

impl Schedule {
    /// The task that is most overdue at `now_ns`. One that lies further ahead than any task asks for was set before the
    /// clock jumped back, and goes first.
    fn next_due(&self, now_ns: u64) -> Option<Task> {
        let ahead_ns = |due_ns: u64| due_ns.saturating_sub(now_ns);
        let due =
            Task::ALL.into_iter().zip(self.due_ns).filter_map(|(task, due_ns)| {
                match ahead_ns(due_ns) {
                    0 => Some((task, due_ns)),
                    1..=Task::LONGEST_NS => None,
                    _ => Some((task, 0)),
                }
            });
        due.min_by_key(|(_, due_ns)| *due_ns).map(|(task, _)| task)
    }

    fn note(&mut self, task: Task, next: Next, now_ns: u64) {
        let (due_ns, rests) = match next {
            Next::At(due_ns) => (due_ns, false),
            Next::AtRest => (now_ns.saturating_add(INTERVAL_NS), true),
        };
        if let Some(due) = self.due_ns.get_mut(task as usize) {
            *due = due_ns;
        }
        if !rests {
            // What one did may give the others something to do.
            self.resting = [false; Task::COUNT];
        } else if let Some(resting) = self.resting.get_mut(task as usize) {
            *resting = true;
        }
    }

    fn is_at_rest(&self) -> bool {
        self.resting.iter().all(|resting| *resting)
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
        let background = &self.background;
        if !self.tuning.background_is_on() {
            return now_ns.saturating_add(INTERVAL_NS);
        }
        let Some(mut schedule) = background.schedule.try_lock() else {
            return now_ns.saturating_add(INTERVAL_NS);
        };
        if let Some(task) = schedule.next_due(now_ns) {
            background.stepping.store(thread_id(), Ordering::Relaxed);
            let next = self.perform(task, now_ns, &mut schedule.memory);
            background.stepping.store(0, Ordering::Relaxed);
            schedule.note(task, next, now_ns);
            background.counters.steps.fetch_add(1, Ordering::Relaxed);
            if schedule.is_at_rest() {
                schedule.due_ns = [now_ns.saturating_add(Task::LONGEST_NS); Task::COUNT];
                background.at_rest.store(true, Ordering::Relaxed);
            }
        }
        let due_ns = schedule.earliest();
        background.due_ns.store(due_ns, Ordering::Relaxed);
        due_ns
    }

    /// Waits until no step is underway and keeps others from beginning, as long as the guard lives: the layers' figures
    /// add up while no thread of the program calls. A step that asks for its own figures is let through.
    ///
    /// Waits 20 milliseconds at most: a signal handler that interrupted whoever has the lock would wait for ever. Then
    /// the figures are those of a heap in motion.
    pub fn hold_background(&self) -> impl Drop + use<'_, C> {
        const LOOKS: u32 = 200;
        let background = &self.background;
        if background.stepping.load(Ordering::Relaxed) == thread_id() {
            return Hold(None);
        }
        let nobody_wakes = AtomicU32::new(0);
        for _ in 0..LOOKS {
            if let Some(schedule) = background.schedule.try_lock() {
                return Hold(Some(schedule));
            }
            futex_wait(&nobody_wakes, 0, Some(HOLD_LOOK_NS));
        }
        Hold(None)
    }

    /// What the background work did.
    pub fn background_figures(&self) -> BackgroundFigures {
        let mut figures = self.background.counters.figures();
        self.background.thread.add_figures(&mut figures);
        figures
    }

    /// Notes a miss of this thread's cache, and does a step if one is due: with no lock held.
    #[inline]
    pub(crate) fn note_miss(&self, call: Call) {
        let misses = self.background.misses.fetch_add(1, Ordering::Relaxed);
        if misses.is_multiple_of(MISSES_PER_LOOK) {
            self.look(call);
        }
    }

    /// The same for a large block of `bytes` bytes that came or went.
    #[inline]
    pub(crate) fn note_large(&self, bytes: usize, call: Call) {
        let bytes = bytes as u64;
        let before = self.background.large_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.wrapping_add(bytes) / LARGE_BYTES_PER_LOOK != before / LARGE_BYTES_PER_LOOK {
            self.look(call);
        }
    }

    #[cold]
    fn look(&self, call: Call) {
        // A child of vfork lives in its parent's memory, and a thread that is just being made known is inside of a heap.
        if thread_block::block().reentry.load(Ordering::Relaxed) != 0 {
            return;
        }
        let has_thread = self.has_thread() || call == Call::Allocation && self.consider_thread();
        let background = &self.background;
        let now_ns = self.clock().now_ns();
        let due_ns = background.due_ns.load(Ordering::Relaxed);
        if due_ns == 0 {
            // There is nothing yet to look back at.
            let first_ns = now_ns.saturating_add(INTERVAL_NS);
            let _ = background.due_ns.compare_exchange(
                0,
                first_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            return;
        }
        if background.at_rest.load(Ordering::Relaxed) {
            return self.rouse(now_ns);
        }
        // The thread has a while to do it.
        let grace_ns = if has_thread { INTERVAL_NS } else { 0 };
        // A clock that jumped back is believed: the due moment lies too far ahead.
        let is_due = |due_ns: u64, grace_ns: u64| {
            now_ns >= due_ns.saturating_add(grace_ns)
                || due_ns.saturating_sub(now_ns) > Task::LONGEST_NS
        };
        if is_due(due_ns, grace_ns) {
            // Looks are rare: each task that is due has its turn.
            for _ in 0..Task::COUNT {
                if !is_due(self.background_step(now_ns), 0) {
                    break;
                }
            }
        }
    }

    /// Has the heap look again at what there is to do: an option changed.
    pub(crate) fn wake_background(&self) {
        if self.background.at_rest.load(Ordering::Relaxed) {
            self.rouse(self.clock().now_ns());
        } else {
            self.background.thread.wake();
        }
    }

    /// Ends the rest of the heap: every task is asked again.
    fn rouse(&self, now_ns: u64) {
        let background = &self.background;
        let Some(mut schedule) = background.schedule.try_lock() else { return };
        if background.at_rest.swap(false, Ordering::Relaxed) {
            let due_ns = now_ns.saturating_add(INTERVAL_NS);
            schedule.due_ns = [due_ns; Task::COUNT];
            schedule.resting = [false; Task::COUNT];
            background.due_ns.store(due_ns, Ordering::Relaxed);
            background.thread.wake();
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

    /// What threads did that may leave something to do: changes whenever they do.
    fn activity(&self) -> u64 {
        let misses = u64::from(self.misses.load(Ordering::Relaxed));
        misses.wrapping_add(self.large_bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
