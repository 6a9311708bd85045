//! Sleeping until a word changes: futex(2), within this process.

use crate::system_call::system_call;
use crate::{KeepErrno, errno};
use core::ptr;
use core::sync::atomic::AtomicU32;

/// Why a wait ended. A caller that looks at the word again anyway needs none of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitEnd {
    /// Woken, or interrupted by a signal: the kernel does not always tell these apart.
    Woken,
    /// The word did not hold what was expected.
    Changed,
    /// The time was up.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, at most `timeout_ns` nanoseconds.
///
/// Wakes without reason too: look at the word again. Keeps `errno`. One system call.
///
/// ```
/// use core::sync::atomic::AtomicU32;
/// use strata_os::{WaitEnd, futex_wait};
/// let word = AtomicU32::new(1);
/// assert_eq!(futex_wait(&word, 0, None), WaitEnd::Changed);
/// assert_eq!(futex_wait(&word, 1, Some(1000)), WaitEnd::TimedOut);
/// ```
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout_ns: Option<u64>) -> WaitEnd {
    let _keep = KeepErrno::new();
    let limit = timeout_ns.map(duration);
    let limit_pointer = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel reads the word, which lives as long as the borrow, atomically, and the
    // time, which lives until the end of this function, and writes neither.
    let result = unsafe {
        system_call!(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            limit_pointer,
        )
    };
    if result == 0 {
        return WaitEnd::Woken;
    }
    match errno() {
        libc::EAGAIN => WaitEnd::Changed,
        libc::ETIMEDOUT => WaitEnd::TimedOut,
        _ => WaitEnd::Woken,
    }
}

/// Wakes at most `count` threads that sleep on `word`; says how many there were.
///
/// Keeps `errno`. One system call, even if nobody sleeps.
pub fn futex_wake(word: &AtomicU32, count: u32) -> u32 {
    let _keep = KeepErrno::new();
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the kernel takes the address as a key; it does not read or write there.
    let woken = unsafe {
        system_call!(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
        )
    };
    u32::try_from(woken).unwrap_or(0)
}

fn duration(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
