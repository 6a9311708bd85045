//! How long locks are held, by the line that takes them: under `--cfg strata_lock_times` alone, which makes each
//! lock cost two system calls more.
//!
//! What is measured is the time of the holder itself, on a CPU: the scheduler, and other threads, add nothing to
//! it. What the kernel does for the holder (a page fault, a `madvise`) counts.

use core::panic::Location;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Lines of the program that take locks; those that come when all are taken are left out.
const LINES: usize = 256;

static TIMES: [Line; LINES] = [const { Line::NONE }; LINES];

/// What is known of one line.
struct Line {
    /// The line; null as long as this is nobody's. Written once, by who takes it.
    place: AtomicPtr<Location<'static>>,
    /// Written by everybody who let go of a lock that was taken there, as the next two.
    holds: AtomicU64,
    longest_ns: AtomicU64,
    total_ns: AtomicU64,
}

/// How long locks were held that one line of the program takes.
#[derive(Clone, Copy, Debug)]
pub struct LockTimes {
    /// The line.
    pub place: &'static Location<'static>,
    /// How often it took one.
    pub holds: u64,
    /// The longest that it held one, in nanoseconds of its thread's time on a CPU.
    pub longest_ns: u64,
    /// All times that it held one together.
    pub total_ns: u64,
}

/// How long each line of the program that takes locks held them, since the start or the last [`forget_lock_times`].
pub fn lock_times() -> impl Iterator<Item = LockTimes> {
    TIMES.iter().filter_map(|line| {
        // SAFETY: what stands there is null or a place of the program, which stays.
        let place = unsafe { line.place.load(Ordering::Relaxed).as_ref() }?;
        Some(LockTimes {
            place,
            holds: line.holds.load(Ordering::Relaxed),
            longest_ns: line.longest_ns.load(Ordering::Relaxed),
            total_ns: line.total_ns.load(Ordering::Relaxed),
        })
    })
}

/// Begins anew.
pub fn forget_lock_times() {
    for line in &TIMES {
        line.holds.store(0, Ordering::Relaxed);
        line.longest_ns.store(0, Ordering::Relaxed);
        line.total_ns.store(0, Ordering::Relaxed);
    }
}

/// Part of a lock: who took it last, and when.
pub(crate) struct Taken {
    /// Written by the holder, as the next.
    place: AtomicPtr<Location<'static>>,
    since_ns: AtomicU64,
}

impl Taken {
    pub(crate) const fn new() -> Self {
        Self { place: AtomicPtr::new(core::ptr::null_mut()), since_ns: AtomicU64::new(0) }
    }

    /// The caller took the lock.
    #[track_caller]
    pub(crate) fn begin(&self) {
        self.place.store(core::ptr::from_ref(Location::caller()).cast_mut(), Ordering::Relaxed);
        self.since_ns.store(strata_os::thread_time_ns(), Ordering::Relaxed);
    }

    /// The holder is about to let go.
    pub(crate) fn end(&self) {
        let held_ns =
            strata_os::thread_time_ns().saturating_sub(self.since_ns.load(Ordering::Relaxed));
        let place = self.place.load(Ordering::Relaxed);
        let free = core::ptr::null_mut();
        let line = TIMES.iter().find(|line| {
            let order = Ordering::Relaxed;
            let taken = line.place.compare_exchange(free, place, order, order);
            taken.is_ok() || taken == Err(place)
        });
        if let Some(line) = line {
            line.holds.fetch_add(1, Ordering::Relaxed);
            line.longest_ns.fetch_max(held_ns, Ordering::Relaxed);
            line.total_ns.fetch_add(held_ns, Ordering::Relaxed);
        }
    }
}

impl Line {
    #[expect(clippy::declare_interior_mutable_const, reason = "each line is a copy of its own")]
    const NONE: Self = Self {
        place: AtomicPtr::new(core::ptr::null_mut()),
        holds: AtomicU64::new(0),
        longest_ns: AtomicU64::new(0),
        total_ns: AtomicU64::new(0),
    };
}
