//! `fork`, in whose middle no signal comes.
//!
//! A program with one thread may fork in a handler, whatever that interrupts, its own fork included. Once a process
//! has a second thread, the heap's counts, the C library takes locks of its own for a fork (of fork handlers, of
//! streams, of its own heap), which a handler that forks in its middle finds with the thread that it stands in, and
//! waits for them for ever. So signals wait until the fork is through, in both processes; nobody but the calling
//! thread has to wait. Those of faults do not wait, since fork handlers of the program run meanwhile. What such a
//! handler starts, a thread or a process, begins with its maker's blocked signals, as always.
//!
//! In `libstrata.a` the name is made local (`cargo xtask dist`): a static program has no second one to call.

use crate::next::next_definition;
use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::ptr;
use strata_os::{SignalsBlocked, crash};
use strata_sync::atomic::{AtomicPtr, Ordering};

const FORK: &CStr = c"fork";

/// The next library's `fork`, the C library's as a rule. Written by the constructor, or by who forks before it.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Fork = unsafe extern "C" fn() -> libc::pid_t;

/// Looks for the next library's `fork` while nobody has interrupted the loader. By the constructor.
pub(crate) fn find_next() {
    NEXT.store(next_definition(FORK, fork as *const ()), Ordering::Relaxed);
}

/// A copy of the process with the calling thread alone. 0 in the child, its number in the parent, -1 with `errno`
/// if there is none. (fork(2))
///
/// # Safety
///
/// As fork(2) has it for programs with several threads.
#[unsafe(no_mangle)]
unsafe extern "C" fn fork() -> libc::pid_t {
    if NEXT.load(Ordering::Relaxed).is_null() {
        find_next();
    }
    let next = NEXT.load(Ordering::Relaxed);
    if next.is_null() {
        crash!("the C library has no fork");
    }
    // SAFETY: the loader knows it under the name of a function of this type.
    let next = unsafe { transmute::<*mut c_void, Fork>(next) };
    let _blocked = SignalsBlocked::from_outside();
    // SAFETY: the caller bears what a fork does, and calls the C library's by this.
    unsafe { next() }
}
