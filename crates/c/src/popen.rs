//! `popen`, for which a fork waits before it stops the heap.
//!
//! The C library keeps a list of the streams that `popen` made, and holds a lock around it while it makes the next
//! child: that child is to close them, and the list of what it is to close grows by `realloc`. From glibc 2.42 on
//! (and in earlier ones that distributors mended) `fork` takes that lock, so that children find it free; it does so
//! behind the handlers, of which one has stopped the heap. Each would wait for the other for ever. Nobody outside
//! of the C library can take the lock first, as is done with that of [all streams](strata_os::lock_stream_list): so
//! forks wait until no thread is in here.
//!
//! In `libstrata.a` the name is made local (`cargo xtask dist`): a static program has no second one to call.

use crate::next::next_definition;
use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;
use core::ptr;
use strata_os::crash;
use strata_sync::atomic::{AtomicPtr, Ordering};

const POPEN: &CStr = c"popen";

/// The next library's `popen`, the C library's as a rule. Written by who calls it first.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Popen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut libc::FILE;

/// A stream from or to a shell's command; null with `errno`. (popen(3))
///
/// # Safety
///
/// As for the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn popen(command: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    if NEXT.load(Ordering::Relaxed).is_null() {
        NEXT.store(next_definition(POPEN, popen as *const ()), Ordering::Relaxed);
    }
    let next = NEXT.load(Ordering::Relaxed);
    if next.is_null() {
        crash!("the C library has no popen");
    }
    // SAFETY: the loader knows it under the name of a function of this type.
    let next = unsafe { transmute::<*mut c_void, Popen>(next) };
    let _held_off = strata_alloc::hold_off_forks();
    // SAFETY: command and mode are the caller's, and as popen(3) wants them.
    unsafe { next(command, mode) }
}
