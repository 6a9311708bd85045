//! The lock itself, without what it guards: one word, and the figures about it.

use crate::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::lock_stats::LockStats;
use crate::parking::Parking;
use crate::spin::spin_hint;
use crate::thread_token::thread_token;
#[cfg(not(strata_loom))]
use strata_os::{Clock, MonotonicClock};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep: who lets go must wake one.
const AWAITED: u32 = 2;

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

/// For so long a lock has to look like this thread's own to be it: longer than a thread is stopped between two
/// instructions, as a rule.
#[cfg(not(strata_loom))]
const PROOF_NS: u64 = 5_000_000;

/// A futex lock with counters.
///
/// What an uncontended operation touches stands in the first 32 bytes. Fields without another
/// remark are written by the holder alone, with plain stores, and read by anybody at any time.
#[repr(C)]
pub(crate) struct RawLock {
    /// `FREE`, `HELD` or `AWAITED`; written by everybody who takes, awaits or lets go. Its
    /// release on letting go publishes the guarded value to the next acquire.
    state: AtomicU32,
    /// Threads asleep or about to be; written by them.
    waiting: AtomicU32,
    /// Token of the last holder.
    owner: AtomicUsize,
    operations: AtomicU64,
    owner_switches: AtomicU64,
    spin_acquisitions: AtomicU64,
    waits: AtomicU64,
    total_wait_ns: AtomicU64,
    max_wait_ns: AtomicU64,
    max_waiting_threads: AtomicU32,
    parking: Parking,
}

#[cfg(all(not(strata_loom), target_pointer_width = "64"))]
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
                parking: Parking::new(),
            }
        }
    }

    /// Takes the lock, waiting for it as long as it takes.
    #[inline]
    pub(crate) fn acquire(&self) {
        if !self.take_free(HELD) {
            self.acquire_contended();
        }
        self.count_operation();
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let taken = self.take_free(HELD);
        if taken {
            self.count_operation();
        }
        taken
    }

    /// Takes the lock, unless this thread seems to hold it already, or it is not to be had for `patience_ns`.
    #[cfg(not(strata_loom))]
    pub(crate) fn acquire_unless_held(&self, patience_ns: u64) -> bool {
        let token = thread_token();
        let mut start_ns = None;
        loop {
            for _ in 0..SPINS {
                if self.try_acquire() {
                    return true;
                }
                spin_hint();
            }
            // Whoever took it a moment ago may not have written its token yet: only after some time is ours a proof. (The
            // other way about, this thread may have been interrupted before it wrote its own: then patience ends it.)
            let seems_ours = self.owner.load(Ordering::Relaxed) == token
                && self.state.load(Ordering::Relaxed) != FREE;
            let now_ns = now_ns();
            let waited_ns = now_ns.saturating_sub(*start_ns.get_or_insert(now_ns));
            if waited_ns >= if seems_ours { patience_ns.min(PROOF_NS) } else { patience_ns } {
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

    /// Lets go, and wakes one thread if any may be asleep.
    ///
    /// # Safety
    /// The calling thread holds the lock, or took it over from who did.
    #[inline]
    pub(crate) unsafe fn release(&self) {
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
    fn acquire_contended(&self) {
        // Acquire in the exchange: pairs with the release in `release`. It says "awaited" although
        // nobody may sleep yet, since this thread is about to.
        if self.spin_until_taken() || self.state.swap(AWAITED, Ordering::Acquire) == FREE {
            add_as_holder(&self.spin_acquisitions, 1);
        } else {
            self.sleep_until_taken();
        }
    }

    /// Looks for a moment whether the holder lets go, unless others sleep already: it would
    /// overtake them.
    fn spin_until_taken(&self) -> bool {
        for _ in 0..SPINS {
            match self.state.load(Ordering::Relaxed) {
                FREE if self.take_free(HELD) => return true,
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
    fn count_operation(&self) {
        add_as_holder(&self.operations, 1);
        let token = thread_token();
        if self.owner.load(Ordering::Relaxed) != token {
            self.owner.store(token, Ordering::Relaxed);
            add_as_holder(&self.owner_switches, 1);
        }
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
