//! Which system calls are made: all that are of use, or memory's alone.
//!
//! A program that puts itself behind a filter of system calls (seccomp(2)) knows those that the C library's
//! `malloc` makes, and may have said that any other ends the process. So from the moment on that it does, the calls
//! that a C library's `malloc` never makes are not made: they help, and nothing hangs on them.
//!
//! What stays: `mmap`, `munmap`, `mprotect`, `madvise`, `futex` (and `clock_gettime` where the kernel's page does
//! not serve it), `write` for a last line, and what a program asked for by name: files of snapshots and recordings,
//! figures in reports as far as they need no other call.

use crate::{Clock, MonotonicClock, thp_mode};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Set once; says only "make no other calls".
static RESTRAINED: AtomicBool = AtomicBool::new(false);

/// From now on this process makes the calls of memory alone. Children of forks inherit that, and nothing takes it back.
///
/// A call that another thread is in the middle of is not waited for. Any thread may call this at any time.
///
/// ```standalone_crate
/// strata_os::keep_to_memory_calls();
/// assert!(strata_os::keeps_to_memory_calls());
/// assert!(strata_os::process_memory().is_none());
/// ```
pub fn keep_to_memory_calls() {
    if keeps_to_memory_calls() {
        return;
    }
    // Heaps ask late, and are answered what is found now.
    thp_mode();
    RESTRAINED.store(true, Ordering::Relaxed);
}

/// Not 0: the process makes no calls at all, and this is what the clock shows. Written once.
static STILL_NS: AtomicU64 = AtomicU64::new(0);

/// From now on this process makes no system calls at all, and reads no clock: for seccomp's strict mode, which ends
/// a process for either. What there is no memory for fails; the time stands still. Nothing takes it back.
pub fn make_no_calls() {
    let now_ns = MonotonicClock.now_ns().max(1);
    keep_to_memory_calls();
    STILL_NS.store(now_ns, Ordering::Relaxed);
}

/// Whether this process makes no system calls at all.
#[inline]
pub fn makes_no_calls() -> bool {
    still_ns() != 0
}

/// What the clock shows where it stands still; else 0.
#[inline]
pub(crate) fn still_ns() -> u64 {
    STILL_NS.load(Ordering::Relaxed)
}

/// Whether this process makes the calls of memory alone.
#[inline]
pub fn keeps_to_memory_calls() -> bool {
    RESTRAINED.load(Ordering::Relaxed)
}

/// As [`keeps_to_memory_calls`], as a kernel would answer to a call that it refuses.
pub(crate) fn check() -> Result<(), i32> {
    if keeps_to_memory_calls() { Err(libc::EPERM) } else { Ok(()) }
}
