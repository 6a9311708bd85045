//! The lock itself, without what it guards: one word, and the figures about it.

use crate::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::lock_stats::LockStats;
use crate::parking::Parking;
use crate::spin::spin_hint;
use crate::thread_token::thread_token;
#[cfg(not(strata_loom))]
use strata_os::{Clock, MonotonicClock};

const FREE: u32 = 0;
/// Held, and somebody may sleep: who lets go must wake one.
const AWAITED: u32 = 2;

/// Held by the thread with this token, and nobody sleeps: an odd number, which has 31 bits of the token. (Threads
/// whose tokens lie a multiple of 16 GiB apart have the same.) A signal comes most often right behind the
/// instruction that takes a lock: then this alone says whose it is.
const fn held_by(token: usize) -> u32 {
    let [a, b, c, d, ..] = (token >> 2).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) | 1
}

/// Beside an owner's token, which is even: it has the lock.
const HOLDS: usize = 1;

/// Locks that forks found with the very thread that forked, so far. core's, since it is no part of what loom looks at.
static KEPT_OVER_FORKS: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// How often a fork found a lock with the very thread that forked: see [`Mutex::acquire`](crate::Mutex::acquire).
pub fn locks_kept_over_forks() -> u32 {
    KEPT_OVER_FORKS.load(Ordering::Relaxed)
}

/// Looks at the word before a thread goes to sleep, one spin hint apart: 1 to 3 microseconds.
///
/// Measured with two to eight threads on four CPUs (Zen) over sections of 10 to 600 steps: half
/// and twice as many are within the spread of each other. With none, sections of a quarter of a
/// microsecond and more cost one and a half times as much, since each hand-over goes through the
/// kernel; with eight times as many, short sections that four threads fight for cost up to twice
/// as much, since those who look slow down the one who works.
#[cfg(not(strata_loom))]
const SPINS: u32 = 50;
#[cfg(strata_loom)]
const SPINS: u32 = 1;

/// Time between two rounds of looks of one who does not want to wait for ever: a section that makes a system call is over
/// by then.
#[cfg(not(strata_loom))]
const PATIENCE_STEP_NS: u64 = 50_000;

/// A futex lock with counters.
///
/// What an uncontended operation touches stands in the first 32 bytes. Fields without another
/// remark are written by the holder alone, with plain stores, and read by anybody at any time.
#[repr(C)]
pub(crate) struct RawLock {
    /// `FREE`, `held_by` somebody or `AWAITED`; written by everybody who takes, awaits or lets go. Its
    /// release on letting go publishes the guarded value to the next acquire.
    state: AtomicU32,
    /// Threads asleep or about to be; written by them.
    waiting: AtomicU32,
    /// Token of the last holder, and [`HOLDS`] while it has the lock.
    owner: AtomicUsize,
    operations: AtomicU64,
    owner_switches: AtomicU64,
    spin_acquisitions: AtomicU64,
    waits: AtomicU64,
    total_wait_ns: AtomicU64,
    max_wait_ns: AtomicU64,
    max_waiting_threads: AtomicU32,
    /// A fork found the lock with the very thread that forks, and left it so. Written and read by that thread.
    kept_over_fork: AtomicBool,
    parking: Parking,
    #[cfg(strata_lock_times)]
    taken: crate::lock_times::Taken,
}

#[cfg(all(not(strata_loom), not(strata_lock_times), target_pointer_width = "64"))]
mod layout {
    use super::RawLock;
    use core::mem::offset_of;
    use static_assertions::const_assert_eq;

    const_assert_eq!(size_of::<RawLock>(), 72);
    const_assert_eq!(offset_of!(RawLock, state), 0);
    const_assert_eq!(offset_of!(RawLock, owner), 8);
    const_assert_eq!(offset_of!(RawLock, operations), 16);
    const_assert_eq!(offset_of!(RawLock, owner_switches), 24);
}

impl RawLock {
    crate::const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                state: AtomicU32::new(FREE),
                waiting: AtomicU32::new(0),
                owner: AtomicUsize::new(0),
                operations: AtomicU64::new(0),
                owner_switches: AtomicU64::new(0),
                spin_acquisitions: AtomicU64::new(0),
                waits: AtomicU64::new(0),
                total_wait_ns: AtomicU64::new(0),
                max_wait_ns: AtomicU64::new(0),
                max_waiting_threads: AtomicU32::new(0),
                kept_over_fork: AtomicBool::new(false),
                parking: Parking::new(),
                #[cfg(strata_lock_times)]
                taken: crate::lock_times::Taken::new(),
            }
        }
    }

    /// Takes the lock, waiting for it as long as it takes.
    #[inline]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub(crate) fn acquire(&self) {
        let token = thread_token();
        if !self.take_free(held_by(token)) {
            self.acquire_contended(token);
        }
        self.count_operation(token);
    }

    /// Takes the lock if it is free.
    #[inline]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub(crate) fn try_acquire(&self) -> bool {
        let token = thread_token();
        let taken = self.take_free(held_by(token));
        if taken {
            self.count_operation(token);
        }
        taken
    }

    /// Takes the lock before a fork; leaves it as it is if this thread holds it.
    #[cfg_attr(strata_lock_times, track_caller)]
    pub(crate) fn acquire_for_fork(&self) {
        if self.is_ours() {
            self.kept_over_fork.store(true, Ordering::Relaxed);
            KEPT_OVER_FORKS.fetch_add(1, Ordering::Relaxed);
        } else {
            self.acquire();
        }
    }

    /// The same; leaves it as it is, too, if it is not to be had for `patience_ns`.
    #[cfg_attr(strata_lock_times, track_caller)]
    pub(crate) fn acquire_for_fork_within(&self, patience_ns: u64) {
        if !self.acquire_unless_held(patience_ns) {
            self.kept_over_fork.store(true, Ordering::Relaxed);
            KEPT_OVER_FORKS.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Undoes [`acquire_for_fork`](Self::acquire_for_fork), in the parent or in the child.
    ///
    /// # Safety
    /// The calling thread called it, or is the child of the thread that did.
    pub(crate) unsafe fn release_after_fork(&self) {
        if self.kept_over_fork.load(Ordering::Relaxed) {
            self.kept_over_fork.store(false, Ordering::Relaxed);
        } else {
            // SAFETY: the caller took the lock, since nothing says otherwise.
            unsafe { self.release() };
        }
    }

    /// Whether this thread holds the lock: asked by a signal handler that may have interrupted it there. Where
    /// others wait for the lock, the answer may be no within some instructions of taking it and letting go.
    pub(crate) fn is_ours(&self) -> bool {
        let token = thread_token();
        let state = self.state.load(Ordering::Relaxed);
        state == held_by(token)
            || state == AWAITED && self.owner.load(Ordering::Relaxed) == token | HOLDS
    }

    /// Takes the lock, unless this thread holds it already, or it is not to be had for `patience_ns`.
    #[cfg(not(strata_loom))]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub(crate) fn acquire_unless_held(&self, patience_ns: u64) -> bool {
        let mut start_ns = None;
        loop {
            for _ in 0..SPINS {
                if self.try_acquire() {
                    return true;
                }
                spin_hint();
            }
            let now_ns = now_ns();
            let waited_ns = now_ns.saturating_sub(*start_ns.get_or_insert(now_ns));
            if self.is_ours() || waited_ns >= patience_ns {
                return false;
            }
            // Nobody changes this word: it is a sleep.
            strata_os::futex_wait(
                &core::sync::atomic::AtomicU32::new(0),
                0,
                Some(PATIENCE_STEP_NS),
            );
        }
    }

    /// The same under loom, where no time passes.
    #[cfg(strata_loom)]
    pub(crate) fn acquire_unless_held(&self, _patience_ns: u64) -> bool {
        let free = !self.is_ours();
        if free {
            self.acquire();
        }
        free
    }

    /// Lets go, and wakes one thread if any may be asleep.
    ///
    /// # Safety
    /// The calling thread holds the lock, or took it over from who did.
    #[inline]
    pub(crate) unsafe fn release(&self) {
        #[cfg(strata_lock_times)]
        self.taken.end();
        self.owner.store(self.owner.load(Ordering::Relaxed) & !HOLDS, Ordering::Relaxed);
        // Release: pairs with the acquire in `take_free` and in `sleep_until_taken`.
        if self.state.swap(FREE, Ordering::Release) == AWAITED {
            self.wake_one_sleeper();
        }
    }

    /// Makes the lock free and forgets its sleepers, whoever holds it; says whether somebody did.
    ///
    /// # Safety
    /// The process has this one thread, as a child has after `fork`, and the holder is not on
    /// its stack.
    pub(crate) unsafe fn reset_after_fork(&self) -> bool {
        self.waiting.store(0, Ordering::Relaxed);
        self.owner.store(0, Ordering::Relaxed);
        self.state.swap(FREE, Ordering::Relaxed) != FREE
    }

    /// Each figure as it is now; they may be of different moments while others hold the lock.
    pub(crate) fn stats(&self) -> LockStats {
        LockStats {
            operations: self.operations.load(Ordering::Relaxed),
            spin_acquisitions: self.spin_acquisitions.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            max_waiting_threads: self.max_waiting_threads.load(Ordering::Relaxed),
            owner_switches: self.owner_switches.load(Ordering::Relaxed),
            total_wait_ns: self.total_wait_ns.load(Ordering::Relaxed),
            max_wait_ns: self.max_wait_ns.load(Ordering::Relaxed),
        }
    }

    /// Threads asleep, or about to be.
    #[cfg(all(test, not(strata_loom)))]
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn take_free(&self, held: u32) -> bool {
        // Acquire: pairs with the release in `release`.
        self.state.compare_exchange(FREE, held, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, token: usize) {
        // Acquire in the exchange: pairs with the release in `release`. It says "awaited" although
        // nobody may sleep yet, since this thread is about to.
        if self.spin_until_taken(token) || self.state.swap(AWAITED, Ordering::Acquire) == FREE {
            add_as_holder(&self.spin_acquisitions, 1);
        } else {
            self.sleep_until_taken();
        }
    }

    /// Looks for a moment whether the holder lets go, unless others sleep already: it would
    /// overtake them.
    fn spin_until_taken(&self, token: usize) -> bool {
        for _ in 0..SPINS {
            match self.state.load(Ordering::Relaxed) {
                FREE if self.take_free(held_by(token)) => return true,
                AWAITED => return false,
                _ => spin_hint(),
            }
        }
        false
    }

    /// Sleeps until the lock is this thread's. Leaves it marked as awaited, since others may
    /// still sleep: the one wake-up too many that this costs at the end is never one too few.
    fn sleep_until_taken(&self) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let start_ns = now_ns();
        loop {
            self.parking.wait(&self.state, AWAITED);
            // Acquire: pairs with the release in `release`.
            if self.state.swap(AWAITED, Ordering::Acquire) == FREE {
                break;
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.count_wait(now_ns().saturating_sub(start_ns), waiting);
    }

    #[cold]
    #[inline(never)]
    fn wake_one_sleeper(&self) {
        self.parking.wake_one(&self.state);
    }

    /// Counts one operation; the caller holds the lock.
    #[inline(always)]
    #[cfg_attr(strata_lock_times, track_caller)]
    fn count_operation(&self, token: usize) {
        add_as_holder(&self.operations, 1);
        if self.owner.load(Ordering::Relaxed) != token {
            add_as_holder(&self.owner_switches, 1);
        }
        self.owner.store(token | HOLDS, Ordering::Relaxed);
        #[cfg(strata_lock_times)]
        self.taken.begin();
    }

    /// Counts one wait; the caller holds the lock.
    fn count_wait(&self, wait_ns: u64, waiting: u32) {
        add_as_holder(&self.waits, 1);
        add_as_holder(&self.total_wait_ns, wait_ns);
        if self.max_wait_ns.load(Ordering::Relaxed) < wait_ns {
            self.max_wait_ns.store(wait_ns, Ordering::Relaxed);
        }
        if self.max_waiting_threads.load(Ordering::Relaxed) < waiting {
            self.max_waiting_threads.store(waiting, Ordering::Relaxed);
        }
    }
}

/// Adds to a figure that the holder alone writes: a load and a store, not a locked instruction.
#[inline(always)]
fn add_as_holder(figure: &AtomicU64, amount: u64) {
    figure.store(figure.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

#[cfg(not(strata_loom))]
fn now_ns() -> u64 {
    MonotonicClock.now_ns()
}

/// No time passes under loom: it replays an execution step by step, and what is counted of a wait
/// must not change the steps.
#[cfg(strata_loom)]
fn now_ns() -> u64 {
    0
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
