//! Time, as the policies see it.

use crate::kernel_clock::clock_gettime;
use crate::{KeepErrno, restraint};
use core::sync::atomic::{AtomicU64, Ordering};

/// A clock that only ever counts upwards, in nanoseconds from an arbitrary start.
///
/// Users must bear a clock that jumps all the same: suspended machines and fakes do.
pub trait Clock: Sync {
    /// Now, in nanoseconds.
    fn now_ns(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }
}

/// The system's clock: `CLOCK_MONOTONIC`, which no administrator sets.
///
/// Costs one call into the kernel's shared page (some 20 ns), no system call. Stands still after
/// [`make_no_calls`](crate::make_no_calls).
///
/// ```
/// use strata_os::{Clock, MonotonicClock};
/// let before = MonotonicClock.now_ns();
/// assert!(MonotonicClock.now_ns() >= before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl MonotonicClock {
    /// The system's clock.
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        read(libc::CLOCK_MONOTONIC)
    }
}

/// How long this thread has run on a CPU, in nanoseconds; 0 where the system does not tell.
///
/// For measurements: a system call, in which no time passes while others run.
pub fn thread_time_ns() -> u64 {
    let _keep = KeepErrno::new();
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to write for the length of the call, and stays zero if that fails.
    unsafe { clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// What [`MonotonicClock`] showed at the kernel's last tick, 1 to 10 ms ago: for ages that nobody wants to know better. A
/// third of its cost, some 6 ns.
pub fn coarse_now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: libc::clockid_t) -> u64 {
    let still_ns = restraint::still_ns();
    if still_ns != 0 {
        return still_ns;
    }
    let _keep = KeepErrno::new();
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to write for the length of the call. On failure, which a kernel
    // without this clock alone could cause, it stays zero.
    unsafe { clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// The time of the day in seconds since 1970, UTC, as the machine's clock has it; 0 where it has none.
///
/// For whoever reads it later: it may jump.
pub fn unix_time_seconds() -> u64 {
    let _keep = KeepErrno::new();
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to write for the length of the call, and stays zero if that fails.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0)
}

/// A clock that stands still until it is told: hours pass in a test at once.
///
/// May be read and moved by several threads; it publishes nothing but the time.
///
/// ```
/// use strata_os::{Clock, ManualClock};
/// static CLOCK: ManualClock = ManualClock::new(0);
/// CLOCK.advance(1_000_000_000);
/// assert_eq!(CLOCK.now_ns(), 1_000_000_000);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    /// Written by `set` and `advance`, read by `now_ns`; publishes only itself.
    now_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now_ns`.
    pub const fn new(now_ns: u64) -> Self {
        Self { now_ns: AtomicU64::new(now_ns) }
    }

    /// Sets it, backwards too: policies must bear that.
    pub fn set(&self, now_ns: u64) {
        self.now_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Moves it on by `by_ns`.
    pub fn advance(&self, by_ns: u64) {
        self.now_ns.fetch_add(by_ns, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
