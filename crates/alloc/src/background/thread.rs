//! A heap's own thread.
//!
//! It is born in an allocation that finds the heap grown past [`THREAD_FROM_BYTES`], or
//! [`THREAD_FROM_ENDED_THREADS`] threads gone, when the layers are done and no lock is held: making a thread
//! allocates, and may come back into this very heap. In a free it is never born, since making one frees too. A
//! small program with few threads never has it.
//!
//! A child of a fork has none. It gets one when its heap has grown by as much again, or as many of its threads
//! ended: most children become another program soon, and some do what a process with two threads may not
//! (unshare(2), setns(2)).

use super::BackgroundFigures;
use crate::{BackgroundThread, Core, HeapConfig, Observer, threads::ENDED};
use core::ffi::c_void;
use strata_os::{
    Clock, futex_wait, futex_wake, has_thread, keeps_to_memory_calls, name_this_thread,
    own_descriptors, process_id, start_thread, thread_id,
};
use strata_page_heap::PageHeap;
use strata_span::Platform;
use strata_sync::{
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering},
    thread_block,
};
use strata_upkeep::{THREAD_FROM_BYTES, THREAD_FROM_ENDED_THREADS, THREAD_FROM_LEAST_BYTES};

/// The thread's stack: steps need some 20 KiB of it, snapshots 180, and the C library takes the program's
/// thread-local storage out of it. What is never touched costs address space alone.
const STACK_BYTES: usize = 1 << 20;

/// Time between two looks at whether a thread that is to end has ended.
const LOOK_NS: u64 = 200_000;

/// There is no thread.
const ABSENT: u32 = 0;
/// There is one, or somebody is making it.
const PRESENT: u32 = 1;
/// There is one, and it is to end.
const ENDING: u32 = 2;

/// Whether heaps of this process wait with threads. Written by who knows when main begins, read where one is to be made.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Heaps of this process make no thread until [`threads_may_start`]: for a library that is loaded before main, and
/// knows when that begins.
pub fn wait_with_threads() {
    WAITING.store(true, Ordering::Relaxed);
}

/// Heaps may make threads from now on. Those that have grown meanwhile do so at their next misses.
pub fn threads_may_start() {
    WAITING.store(false, Ordering::Relaxed);
}

/// The thread's standing. All zero bits are no thread, in a process that is not known yet.
#[derive(Debug)]
pub(super) struct Thread {
    /// [`ABSENT`], [`PRESENT`] or [`ENDING`]. Made present by who makes the thread, absent by the thread as the
    /// last thing that it does, by who failed to make it, and in the child of a fork.
    state: AtomicU32,
    /// Changes when the thread is to look again. Slept on by the thread.
    call: AtomicU32,
    /// The process that the heap is at home in: a child that no handler of ours saw has no thread, whatever `state` says.
    process: AtomicU32,
    /// The kernel's number of the thread that ended. Written by it, read by who waits for its end.
    number: AtomicU32,
    /// No thread is made any more. Written by [`Core::give_up_thread`], read by who would make one.
    is_given_up: AtomicBool,
    /// Backed bytes from which on growth counts. Written in the child of a fork, and where no thread could be made.
    base_bytes: AtomicU64,
    /// Threads made, and failures to make one.
    starts: AtomicU64,
    failures: AtomicU64,
    /// Times that the thread looked whether a step was due. Written by the thread.
    runs: AtomicU64,
    /// The program's own work, see [`Core::set_background_work`]: a [`Work`] of the heap's type, or null.
    work: AtomicPtr<()>,
}

/// Work of a program's own, called with the heap's core and the time; answers when it is due again.
type Work<C> = fn(&Core<C>, u64) -> u64;

impl<C: HeapConfig> Core<C> {
    /// Whether the heap has a thread in this process, as far as known.
    pub(super) fn has_thread(&self) -> bool {
        self.background.thread.state.load(Ordering::Relaxed) != ABSENT
    }

    /// Gives the heap a thread if it is to have one and has grown enough; says whether it has one. In an allocation,
    /// with no lock held.
    #[inline(never)]
    pub(super) fn consider_thread(&self) -> bool {
        if self.config().background_thread != BackgroundThread::On {
            return false;
        }
        let stats = self.page_heap().stats();
        let backed_bytes = stats.backed_bytes();
        let thread = &self.background.thread;
        let base_bytes = thread.base_bytes.load(Ordering::Relaxed);
        let has_grown = backed_bytes >= base_bytes.saturating_add(THREAD_FROM_BYTES);
        let outlived_many = self.threads.ended.load(Ordering::Relaxed) >= THREAD_FROM_ENDED_THREADS
            && backed_bytes >= THREAD_FROM_LEAST_BYTES;
        if !has_grown && !outlived_many {
            return false;
        }
        let started = self.start_thread();
        if !started && !WAITING.load(Ordering::Relaxed) {
            self.begin_to_count(backed_bytes);
        }
        started
    }

    /// Has the heap's thread do `work` between its steps, from now on: at a time of the heap's clock in
    /// nanoseconds, which it is given, and again at the time that it answers with (`u64::MAX`: never). Only one at
    /// a time: another one replaces it, and is first called when that would have been.
    ///
    /// It is called with no lock held, on a stack of 1 MiB less the program's thread-local storage, and only while
    /// the heap has a thread: see [`Heap::start_background_thread`](crate::Heap::start_background_thread). Other
    /// background work waits for it. Any thread may call this at any time.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    /// use strata_alloc::{Config, Heap};
    ///
    /// static HEAP: Heap = Heap::with(Config::DEFAULT);
    /// static DONE: AtomicBool = AtomicBool::new(false);
    ///
    /// assert!(HEAP.start_background_thread());
    /// let core = HEAP.core().expect("it has a thread");
    /// core.set_background_work(|_, now_ns| {
    ///     DONE.store(true, Relaxed);
    ///     now_ns + 1_000_000_000
    /// });
    /// while !DONE.load(Relaxed) {
    ///     std::thread::yield_now();
    /// }
    /// ```
    pub fn set_background_work(&self, work: fn(&Self, u64) -> u64) {
        let thread = &self.background.thread;
        thread.work.store(work as *mut (), Ordering::Relaxed);
        thread.wake();
    }

    fn background_work(&self) -> Option<Work<C>> {
        let work = self.background.thread.work.load(Ordering::Relaxed);
        // SAFETY: null, or what `set_background_work` stored: a function of this type, since the core's type is one.
        unsafe { core::mem::transmute::<*mut (), Option<Work<C>>>(work) }
    }

    /// Makes the heap's thread, unless it has one; says whether it has one. With no lock held.
    pub(crate) fn start_thread(&self) -> bool {
        let thread = &self.background.thread;
        // A child of vfork has its parent's words, where this stands; and no thread is made by one that is ending.
        let block = thread_block::block();
        let is_free = block.reentry.load(Ordering::Relaxed) == 0
            && block.state.load(Ordering::Relaxed) & ENDED == 0
            && !WAITING.load(Ordering::Relaxed)
            && !thread.is_given_up.load(Ordering::Relaxed)
            && !keeps_to_memory_calls();
        if !is_free || thread.process.load(Ordering::Relaxed) != process_id() {
            return false;
        }
        if thread
            .state
            .compare_exchange(ABSENT, PRESENT, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return true;
        }
        let core = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the thread uses the core until it has made `state` absent, for which the end of the heap waits. No
        // lock is held, and an allocation that comes back here finds the state present.
        let started = unsafe { start_thread(STACK_BYTES, run::<C>, core) };
        match started {
            Ok(()) => thread.starts.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                thread.state.store(ABSENT, Ordering::Relaxed);
                thread.failures.fetch_add(1, Ordering::Relaxed)
            }
        };
        started.is_ok()
    }

    /// Ends the thread, if there is one, and waits for that: the heap ends.
    pub(crate) fn end_thread(&self) {
        let thread = &self.background.thread;
        if !thread.begin_to_end() {
            return;
        }
        // Acquire pairs with the release in `run`: the thread's last use of the core lies before.
        while thread.state.load(Ordering::Acquire) != ABSENT {
            // Nobody wakes us: the thread's last access is the one that we wait for.
            futex_wait(&thread.state, ENDING, Some(LOOK_NS));
        }
    }

    /// Ends the thread, if there is one, and lets none be made in this process; says whether there was one. When
    /// this returns the kernel has it no more; it waits a second at most, since who calls may have interrupted what
    /// the thread waits for.
    pub(crate) fn give_up_thread(&self) -> bool {
        const PATIENCE_NS: u64 = 1_000_000_000;
        let thread = &self.background.thread;
        thread.is_given_up.store(true, Ordering::Relaxed);
        if !thread.begin_to_end() {
            return false;
        }
        for _ in 0..PATIENCE_NS / LOOK_NS {
            // Acquire pairs with the release in `run`: the number is the thread's.
            let is_over = thread.state.load(Ordering::Acquire) == ABSENT
                && !has_thread(thread.number.load(Ordering::Relaxed));
            if is_over {
                break;
            }
            // Nobody wakes us.
            futex_wait(&thread.state, thread.state.load(Ordering::Relaxed), Some(LOOK_NS));
        }
        true
    }

    /// Makes this process the one that the heap is at home in; where it keeps to the calls of memory, and has no
    /// thread, none is.
    pub(crate) fn begin_in_process(&self) {
        let process = if keeps_to_memory_calls() { 0 } else { process_id() };
        self.background.thread.process.store(process, Ordering::Relaxed);
    }

    /// The same in the child of a fork, which has no thread, when nothing may be asked about the heap.
    pub(crate) fn begin_without_thread(&self) {
        self.begin_in_process();
        self.background.thread.state.store(ABSENT, Ordering::Relaxed);
    }

    /// The same in the child of a fork, which has no thread, and may have one when it has grown.
    pub(crate) fn begin_in_child(&self) {
        self.begin_without_thread();
        self.begin_to_count(self.page_heap().stats().backed_bytes());
    }

    /// A thread is made after as much growth from here, or as many threads, as the first one was.
    fn begin_to_count(&self, backed_bytes: u64) {
        self.background.thread.base_bytes.store(backed_bytes, Ordering::Relaxed);
        self.threads.ended.store(0, Ordering::Relaxed);
    }
}

impl Thread {
    /// Tells the thread to end; false if there is none in this process.
    #[unsafe(link_section = ".text_rarely")]
    fn begin_to_end(&self) -> bool {
        if self.process.load(Ordering::Relaxed) != process_id() {
            return false;
        }
        let was =
            self.state.compare_exchange(PRESENT, ENDING, Ordering::Relaxed, Ordering::Relaxed);
        self.wake();
        was != Err(ABSENT)
    }

    /// Has the thread look again at what is due.
    pub(super) fn wake(&self) {
        self.call.fetch_add(1, Ordering::Relaxed);
        futex_wake(&self.call, 1);
    }

    pub(super) fn add_figures(&self, figures: &mut BackgroundFigures) {
        figures.has_thread = self.state.load(Ordering::Relaxed) != ABSENT;
        figures.thread_starts = self.starts.load(Ordering::Relaxed);
        figures.thread_failures = self.failures.load(Ordering::Relaxed);
        figures.thread_runs = self.runs.load(Ordering::Relaxed);
    }
}

/// What the thread does: steps as they are due.
#[unsafe(link_section = ".text_rarely")]
extern "C" fn run<C: HeapConfig>(core: *mut c_void) -> *mut c_void {
    name_this_thread(c"strata");
    // SAFETY: `start_thread` gave the core, which stands until the state is absent.
    let core = unsafe { Core::<C>::of_raw(core) };
    // A recording is written by whichever thread fills its buffer.
    if core.observer() != Some(Observer::Recording) {
        own_descriptors();
    }
    let thread = &core.background.thread;
    let mut work_due_ns = 0;
    loop {
        // Before the look at what is due: who calls after that finds the word changed.
        let call = thread.call.load(Ordering::Relaxed);
        if thread.state.load(Ordering::Relaxed) == ENDING {
            break;
        }
        let now_ns = core.clock().now_ns();
        let due_ns = core.background_step(now_ns);
        let due_ns = match core.background_work() {
            Some(work) => {
                if work_due_ns <= now_ns {
                    work_due_ns = work(core, now_ns);
                }
                due_ns.min(work_due_ns)
            }
            None => due_ns,
        };
        thread.runs.fetch_add(1, Ordering::Relaxed);
        let due_ns = due_ns.max(now_ns.saturating_add(core.tuning.least_pause_ns()));
        if due_ns > now_ns {
            futex_wait(&thread.call, call, Some(due_ns - now_ns));
        }
    }
    // Not when it begins: the program may be about to filter its calls.
    if !keeps_to_memory_calls() {
        thread.number.store(thread_id(), Ordering::Relaxed);
    }
    // Release pairs with the acquire in `end_thread` and `give_up_thread`. The core may be gone after this.
    thread.state.store(ABSENT, Ordering::Release);
    core::ptr::null_mut()
}
