//! Threads of the allocator's own in programs with much thread-local storage.

use core::cell::Cell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};
use strata_os::start_thread;

const MUCH: usize = 4 << 20;
thread_local!(static STORAGE: [Cell<u8>; MUCH] = const { [const { Cell::new(0) }; MUCH] });

static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn use_storage(_: *mut c_void) -> *mut c_void {
    STORAGE.with(|storage| storage[MUCH - 1].set(7));
    SEEN.store(STORAGE.with(|storage| storage[MUCH - 1].get()).into(), Ordering::Release);
    core::ptr::null_mut()
}

#[test]
fn a_thread_has_its_stack_besides_much_storage() {
    STORAGE.with(|storage| storage[0].set(1));
    // SAFETY: the function bears any argument, and stays.
    unsafe { start_thread(256 << 10, use_storage, core::ptr::null_mut()) }.unwrap();
    while SEEN.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), 7);
}
