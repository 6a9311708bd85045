//! `__register_atfork`, by which all fork handlers of a process are registered.
//!
//! Preparations run in the opposite order of their registration, so that who is first locks last. The heap must be
//! that: a handler that runs while the heap's locks are taken and allocates would wait for the thread that it runs
//! in. The heap registers with the constructor, but libraries that are loaded behind this one run theirs before,
//! and some (those that stand before the C library to give it other users or other files) register handlers there
//! that allocate. So whoever registers first comes by here, and finds the heap's registered before its own.
//!
//! `pthread_atfork` is a part of each object (glibc links it in), and calls this one by name. In `libstrata.a` the
//! name is made local (`cargo xtask dist`): a static program has no second one to call.

use crate::next::next_definition;
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr;
use strata_os::crash;
use strata_sync::atomic::{AtomicPtr, Ordering};

const REGISTER: &CStr = c"__register_atfork";

/// The C library's. Written by who registers first, which the constructor does at the latest.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Handler = unsafe extern "C" fn();

type Register =
    unsafe extern "C" fn(Option<Handler>, Option<Handler>, Option<Handler>, *const c_void) -> c_int;

/// Has the handlers called around each fork until the object of that handle is unloaded; 0, or the error. What
/// pthread_atfork(3) calls.
///
/// # Safety
///
/// The handlers bear to be called in any fork.
#[unsafe(no_mangle)]
unsafe extern "C" fn __register_atfork(
    prepare: Option<Handler>,
    parent: Option<Handler>,
    child: Option<Handler>,
    object: *const c_void,
) -> c_int {
    // Comes back here for the heap's own handlers, once.
    strata_alloc::watch_forks();
    let register = next();
    // The list grows by `malloc` under a lock that each fork takes again behind the handlers.
    let _held_off = forks_call_handlers_unlocked().then(strata_alloc::hold_off_forks);
    // SAFETY: the handlers bear to be called in any fork, as the caller promises.
    unsafe { register(prepare, parent, child, object) }
}

/// The C library's function, or that of another library between.
fn next() -> Register {
    if NEXT.load(Ordering::Relaxed).is_null() {
        let found = next_definition(REGISTER, __register_atfork as *const ());
        if found.is_null() {
            crash!("the C library has no __register_atfork");
        }
        NEXT.store(found, Ordering::Relaxed);
    }
    // SAFETY: the loader knows it under the name of a function of this type, part of glibc's binary interface since 2.3.2.
    unsafe { transmute::<*mut c_void, Register>(NEXT.load(Ordering::Relaxed)) }
}

/// Whether the list's lock is free while handlers run: not before glibc 2.36, whose fork has it from before the
/// first handler to after the last. There a fork that waited for who registers would keep it waiting for the lock;
/// and who has the lock is not waited for by a handler.
fn forks_call_handlers_unlocked() -> bool {
    strata_os::glibc_version().is_some_and(|version| version >= (2, 36))
}
