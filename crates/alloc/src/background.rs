//! Who keeps a heap in shape while it works and while it rests: a thread of the heap's own, or threads that miss their
//! cache, in the small steps of `strata-upkeep`.
//!
//! When every task has nothing to do and nobody misses, the heap is at rest, and its thread sleeps until somebody does.

mod fallen;
mod figures;
mod growing;
mod thread;
mod turns;

pub use figures::BackgroundFigures;
pub use thread::{threads_may_start, wait_with_threads};

use crate::{Core, FrontEnd, HeapConfig};
use fallen::Fallen;
use growing::Growing;
use strata_central::MiddleTier;
use strata_cpu_cache::CpuCache;
use strata_os::{Clock, makes_no_calls, thread_pointer};
use strata_span::Platform;
use strata_sync::{
    FIGURES_PATIENCE_NS, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    thread_block,
};
pub(crate) use strata_upkeep::INTERVAL_NS;
use strata_upkeep::{Counters, LONGEST_NS, Layers, Looks, ReleasePolicy, Schedule, TakenCaches};
use thread::Thread;
use turns::Turns;

/// Steps that one look does at most: looks are rare, and each task that is due has its turn.
const STEPS_PER_LOOK: u32 = 8;

/// What kind of call a thread is in when it looks whether background work is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// An allocation: a thread may be made.
    Allocation,
    /// A deallocation: none may, since making one frees.
    Deallocation,
}

/// The background work of a heap. All zero bits are one of which nothing was done yet.
///
/// The long schedule lies in front, and what is written at each miss behind it, where the middle tier begins: see
/// [`Core`].
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Background {
    /// Keeps steps apart, and a fork from finding one half done. Rank: above the list of threads and the layers,
    /// which steps use. Waited for by forks and by who wants figures at rest; everybody else tries it.
    schedule: Mutex<Schedule>,
    /// How many want figures at rest: no step begins meanwhile. Raised under the schedule's lock, where steps look
    /// at it, so that who raised it finds none underway; lowered by whoever raised it, with a release that the
    /// look's acquire pairs with: what was read was read before the next step.
    watchers: AtomicU32,
    /// What threads did. Written by all that miss, or have large blocks.
    looks: Looks,
    /// When the next step is due; 0 before the first look at the clock. Written by who looked, and after each step.
    due_ns: AtomicU64,
    /// Nothing is to be done until somebody misses. Written under the schedule's lock, read by who looks.
    at_rest: AtomicBool,
    /// Who holds the schedule's lock is no thread of this process: nobody waits for it. Written in the child of a fork.
    is_lost: AtomicBool,
    /// The pointer of the thread that is in a step; 0 for none. Written under the schedule's lock.
    stepping: AtomicUsize,
    /// Those that found nothing, one after the other.
    turns: Turns,
    counters: Counters,
    fallen: Fallen,
    growing: Growing,
    thread: Thread,
}

/// No step begins as long as this lives; of none in a step itself.
struct Hold<'a>(Option<&'a AtomicU32>);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let Some(watchers) = self.0 else { return };
        // In the child of a fork by a signal handler that interrupted who holds this, the count was reset. Release:
        // pairs with the look of the next step.
        let lower = |count: u32| count.checked_sub(1);
        let _ = watchers.fetch_update(Ordering::Release, Ordering::Relaxed, lower);
    }
}

impl<C: HeapConfig> Core<C> {
    /// Does one bounded step of what is due at `now_ns`, a time of the heap's clock; says when the next step is due,
    /// which may be now.
    ///
    /// The heap's own thread calls this, and threads that miss their cache. A program may, too, in idle moments of a
    /// thread of its own. Any thread may at any time, with no lock of the heap held; of two at once one does nothing.
    #[unsafe(link_section = ".text_rarely")]
    pub fn background_step(&self, now_ns: u64) -> u64 {
        let background = &self.background;
        if !self.tuning.background_is_on() || makes_no_calls() {
            return now_ns.saturating_add(INTERVAL_NS);
        }
        let Some(mut schedule) = background.schedule.try_lock() else {
            return now_ns.saturating_add(INTERVAL_NS);
        };
        // Acquire: pairs with the release of who watched last.
        if background.watchers.load(Ordering::Acquire) != 0 {
            return now_ns.saturating_add(WATCHED_NS);
        }
        background.stepping.store(thread_pointer(), Ordering::Relaxed);
        let due_ns = schedule.step(self, now_ns);
        background.stepping.store(0, Ordering::Relaxed);
        if schedule.is_at_rest() && !background.at_rest.load(Ordering::Relaxed) {
            background.looks.come_to_rest();
        }
        background.at_rest.store(schedule.is_at_rest(), Ordering::Relaxed);
        background.due_ns.store(due_ns, Ordering::Relaxed);
        due_ns
    }

    /// Waits until no step is underway and keeps others from beginning, as long as the guard lives: the layers'
    /// figures add up while no thread of the program calls. No lock is held meanwhile, and any number of threads
    /// may do so at a time. A step that asks for its own figures is let through.
    ///
    /// Waits a second at most, since a signal handler may ask that interrupted what the step waits for. Then the
    /// figures are those of a heap in motion.
    pub fn hold_background(&self) -> impl Drop + use<'_, C> {
        let background = &self.background;
        if background.stepping.load(Ordering::Relaxed) == thread_pointer() {
            return Hold(None);
        }
        let is_lost = background.is_lost.load(Ordering::Relaxed);
        let patience_ns = if is_lost { 0 } else { FIGURES_PATIENCE_NS };
        let schedule = background.schedule.lock_unless_held(patience_ns);
        background.watchers.fetch_add(1, Ordering::Relaxed);
        drop(schedule);
        Hold(Some(&background.watchers))
    }

    /// Waits until no step is underway, and keeps steps and who else calls this away as long as the guard lives;
    /// what is had of that after a second, as for [`hold_background`](Self::hold_background), and nothing of it in
    /// a step itself. No fork waits for the guard.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn take_turn(&self) -> impl Sized + use<'_, C> {
        let background = &self.background;
        let in_step = background.stepping.load(Ordering::Relaxed) == thread_pointer();
        // First the turn, so that steps begin between two of them.
        let turn = if in_step { None } else { background.turns.take(FIGURES_PATIENCE_NS) };
        (self.hold_background(), turn)
    }

    /// What the background work did.
    pub fn background_figures(&self) -> BackgroundFigures {
        let mut figures = self.background.figures();
        self.background.thread.add_figures(&mut figures);
        figures.is_off = !self.tuning.background_is_on();
        figures
    }

    /// Notes a miss of this thread's cache, and does a step if one is due: with no lock held.
    #[inline]
    pub(crate) fn note_miss(&self, call: Call) {
        if self.background.looks.note_miss() || call == Call::Deallocation && self.is_low() {
            self.look(call);
        }
    }

    /// The same for a large block of `bytes` bytes that came or went.
    #[inline]
    pub(crate) fn note_large(&self, bytes: usize, call: Call) {
        if self.background.looks.note_large(bytes) || call == Call::Deallocation && self.is_low() {
            self.look(call);
        }
    }

    #[cold]
    fn look(&self, call: Call) {
        // A child of vfork lives in its parent's memory, and a thread that is just being made known is inside of a heap.
        if thread_block::block().reentry.load(Ordering::Relaxed) != 0 {
            return;
        }
        // Each look counts what has grown, so that what a call takes is not charged to a later one.
        self.follow_growth();
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
        if has_thread {
            background.fallen.look_no_more();
        }
        if background.at_rest.load(Ordering::Relaxed) {
            return self.rouse(now_ns);
        }
        if !has_thread {
            self.follow_fall(now_ns, call);
        }
        // The thread has a while to do it.
        let grace_ns = if has_thread { INTERVAL_NS } else { 0 };
        // A clock that jumped back is believed: the due moment lies too far ahead.
        let is_due = |due_ns: u64, grace_ns: u64| {
            now_ns >= due_ns.saturating_add(grace_ns) || due_ns.saturating_sub(now_ns) > LONGEST_NS
        };
        if is_due(due_ns, grace_ns) {
            for _ in 0..STEPS_PER_LOOK {
                if !is_due(self.background_step(now_ns), 0) {
                    break;
                }
            }
        }
    }

    /// Whether what is free goes back without being asked for.
    fn gives_back_by_itself(&self) -> bool {
        let is_on = self.tuning.background_is_on() && !makes_no_calls();
        is_on && self.policy().rate != 0 && self.policy().releases_idle()
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
        if let Some(due_ns) = schedule.rouse(now_ns) {
            background.at_rest.store(false, Ordering::Relaxed);
            background.due_ns.store(due_ns, Ordering::Relaxed);
            background.thread.wake();
        }
    }
}

/// When a step is tried again that did not begin since figures were read: they are read by then.
const WATCHED_NS: u64 = 1_000_000;

/// How long a fork waits for a step: many times as long as one takes.
const FORK_PATIENCE_NS: u64 = 1_000_000_000;

impl Background {
    /// Waits until no step is underway and keeps others from beginning, so that a fork finds none half done.
    ///
    /// Waits a second at most, since a signal handler may fork that interrupted what the step waits for. Then the child has
    /// no background work, and no fork of its own waits.
    pub(crate) fn acquire(&self) {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        self.schedule.acquire_within(if is_lost { 0 } else { FORK_PATIENCE_NS });
    }

    /// In the child of a fork: nobody of those who watched is here, nor of those whose turn it was.
    pub(crate) fn forget_others(&self) {
        self.watchers.store(0, Ordering::Relaxed);
        self.turns.forget_others();
    }

    /// In the child of a fork that left locks as they were: finds out whether the schedule's is one of them.
    pub(crate) fn note_if_lost(&self) {
        let is_lost = self.schedule.try_lock().is_none();
        self.is_lost.store(is_lost, Ordering::Relaxed);
    }

    /// Lets steps go on.
    ///
    /// # Safety
    ///
    /// This thread called [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.schedule.release() };
    }

    /// What it did, but for what the thread knows.
    fn figures(&self) -> BackgroundFigures {
        let counters = &self.counters;
        BackgroundFigures {
            steps: counters.steps(),
            drained_bytes: counters.drained_bytes(),
            sweeps: counters.sweeps(),
            swept_bytes: counters.swept_bytes(),
            swept_hugepages: counters.swept_hugepages(),
            sweep_failures: counters.sweep_failures(),
            ..BackgroundFigures::default()
        }
    }
}

impl<C: HeapConfig> Layers for Core<C> {
    type Platform = Self;
    type PageHeap = C::PageHeap;

    fn platform(&self) -> &Self {
        self
    }
    fn page_heap(&self) -> &C::PageHeap {
        self.page_heap()
    }
    fn middle(&self) -> &MiddleTier<C::Pages> {
        self.middle()
    }
    fn cpu_caches(&self) -> Option<&CpuCache> {
        self.per_cpu()
    }
    fn with_cpu_cache_stops<R>(&self, work: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with_cpu_cache_stops(work)
    }
    #[unsafe(link_section = ".text_rarely")]
    fn take_idle_thread_caches(&self) -> Option<TakenCaches> {
        matches!(self.front_end(), FrontEnd::PerThread(_)).then(|| self.take_idle_caches())
    }
    fn policy(&self) -> ReleasePolicy {
        let config = self.config();
        ReleasePolicy {
            rate: config.release_rate as u64,
            delay_ms: config.release_delay_ms,
            inside_spans: config.release_inside_spans,
        }
    }
    fn counters(&self) -> &Counters {
        &self.background.counters
    }
    fn activity(&self) -> u64 {
        self.background.looks.activity()
    }
    fn shards(&self) -> usize {
        self.hardened.shards().len()
    }
    fn sweep_shard(&self, index: usize) {
        self.sweep_shard(index);
    }
}

#[cfg(test)]
mod tests;
