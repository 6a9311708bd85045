//! Something that is done once, and that others wait for.

use crate::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::parking::Parking;
use crate::thread_token::thread_token;
use core::fmt;

const NEW: u32 = 0;
const RUNNING: u32 = 1;
/// Running, and somebody may sleep until it is done.
const AWAITED: u32 = 2;
const DONE: u32 = 3;

/// Runs a function once for all threads; afterwards it costs one load.
///
/// What the function wrote is visible to everybody whose [`call_once`](Self::call_once) has
/// returned or who has seen [`is_done`](Self::is_done). Those who come while it runs sleep in the
/// kernel. A function that unwinds leaves the `Once` as if it had not run.
///
/// An allocator is started by the first `malloc`, and starting it may call `malloc`: whoever can
/// be called from within asks [`is_running_here`](Self::is_running_here) first.
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use strata_sync::Once;
///
/// static START: Once = Once::new();
/// static CPUS: AtomicU32 = AtomicU32::new(0);
///
/// START.call_once(|| {
///     assert!(START.is_running_here());
///     CPUS.store(4, Ordering::Relaxed);
/// });
/// START.call_once(|| unreachable!("it was done above"));
/// assert!(START.is_done());
/// assert_eq!(CPUS.load(Ordering::Relaxed), 4);
/// ```
#[repr(C)]
pub struct Once {
    /// `NEW` to `RUNNING` by who runs it, to `AWAITED` by who waits, to `DONE` by who ran it: that
    /// release publishes what the function wrote.
    state: AtomicU32,
    parking: Parking,
    /// Token of the thread that runs it, written by that thread alone before it runs.
    runner: AtomicUsize,
}

impl Once {
    crate::const_fn! {
        /// Nothing has run.
        pub const fn new() -> Self {
            Self {
                state: AtomicU32::new(NEW),
                parking: Parking::new(),
                runner: AtomicUsize::new(0),
            }
        }
    }

    /// Runs `function` unless one has run, and returns when one has.
    ///
    /// Called by the very thread that is running it, it could only wait for itself for ever:
    /// it stops the process with one line instead.
    #[inline]
    pub fn call_once(&self, function: impl FnOnce()) {
        if !self.is_done() {
            self.run_or_wait(function);
        }
    }

    /// Whether the function has run.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        // Acquire: pairs with the release in `Running::drop`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Whether the calling thread is inside the function now.
    pub fn is_running_here(&self) -> bool {
        // Relaxed: a thread sees its own writes, and another thread's token is never its own.
        matches!(self.state.load(Ordering::Relaxed), RUNNING | AWAITED)
            && self.runner.load(Ordering::Relaxed) == thread_token()
    }

    /// Makes it as new if a thread that did not come along into the child was running it.
    ///
    /// # Safety
    /// The process is a child after `fork` and has only the calling thread, and what a vanished
    /// thread left half done may be begun again.
    pub unsafe fn reset_after_fork(&self) {
        if !self.is_done() && !self.is_running_here() {
            self.state.store(NEW, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn run_or_wait(&self, function: impl FnOnce()) {
        while !self.is_done() {
            // Acquire: pairs with the release in `Running::drop` of one that unwound.
            if self
                .state
                .compare_exchange(NEW, RUNNING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                self.runner.store(thread_token(), Ordering::Relaxed);
                let mut running = Running { once: self, outcome: NEW };
                function();
                running.outcome = DONE;
                return;
            }
            self.wait_for_runner();
        }
    }

    fn wait_for_runner(&self) {
        if self.is_running_here() {
            strata_os::crash!("once: begun again by the thread that is running it");
        }
        let seen =
            self.state.compare_exchange(RUNNING, AWAITED, Ordering::Relaxed, Ordering::Relaxed);
        if matches!(seen, Ok(_) | Err(AWAITED)) {
            self.parking.wait(&self.state, AWAITED);
        }
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("done", &self.is_done()).finish_non_exhaustive()
    }
}

/// The time in which the function runs; its end, ordinary or by unwinding, is told to all.
struct Running<'a> {
    once: &'a Once,
    outcome: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.once.runner.store(0, Ordering::Relaxed);
        // Release: pairs with the acquire in `is_done`.
        if self.once.state.swap(self.outcome, Ordering::Release) == AWAITED {
            self.once.parking.wake_all(&self.once.state);
        }
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
