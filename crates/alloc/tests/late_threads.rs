//! Threads whose first call of a heap comes when they have all but ended.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use core::ffi::c_void;
use strata_alloc::{Config, Heap};

static HEAP: Heap = Heap::with(Config::DEFAULT);
/// Rounds of destructors that glibc runs.
const ROUNDS: usize = 4;

static KEY: strata_sync::atomic::AtomicU32 = strata_sync::atomic::AtomicU32::new(0);

/// Puts itself off until the last round of destructors, and uses the heap there.
unsafe extern "C" fn destructor(round: *mut c_void) {
    let key = KEY.load(strata_sync::atomic::Ordering::Relaxed);
    if round.addr() < ROUNDS {
        // SAFETY: the key stands as long as the program.
        unsafe { libc::pthread_setspecific(key, core::ptr::without_provenance(round.addr() + 1)) };
        return;
    }
    let block = HEAP.allocate(48);
    // SAFETY: the block is ours.
    unsafe { HEAP.deallocate(block) };
}

extern "C" fn body(_: *mut c_void) -> *mut c_void {
    let key = KEY.load(strata_sync::atomic::Ordering::Relaxed);
    // SAFETY: the key stands as long as the program.
    unsafe { libc::pthread_setspecific(key, core::ptr::without_provenance(1)) };
    core::ptr::null_mut()
}

/// A thread whose stack is unmapped as soon as it is joined: glibc keeps no such large ones.
fn run_thread() {
    // SAFETY: zeroed attributes are initialised next.
    let mut attributes: libc::pthread_attr_t = unsafe { core::mem::zeroed() };
    // SAFETY: ours to initialise.
    assert_eq!(unsafe { libc::pthread_attr_init(&raw mut attributes) }, 0);
    // SAFETY: initialised above.
    assert_eq!(unsafe { libc::pthread_attr_setstacksize(&raw mut attributes, 128 << 20) }, 0);
    // SAFETY: a number or a pointer, by the C library; written before it is read.
    let mut thread: libc::pthread_t = unsafe { core::mem::zeroed() };
    // SAFETY: the attributes are initialised and the body takes nothing.
    let error = unsafe {
        libc::pthread_create(&raw mut thread, &raw const attributes, body, core::ptr::null_mut())
    };
    assert_eq!(error, 0);
    // SAFETY: the thread was just made.
    assert_eq!(unsafe { libc::pthread_join(thread, core::ptr::null_mut()) }, 0);
}

#[test]
fn figures_and_forks_bear_threads_that_were_never_seen_to_end() {
    // The heap's own key comes first, so that the test's destructor runs after the heap's in each round.
    let kept = HEAP.allocate(100);
    let mut key = 0;
    // SAFETY: a place for the key, and a destructor that stays.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) }, 0);
    KEY.store(key, strata_sync::atomic::Ordering::Relaxed);
    for _ in 0..20 {
        run_thread();
    }
    let core = HEAP.core().unwrap();
    assert_eq!(core.thread_stats().threads, 1);
    assert_eq!(core.figures().in_use_bytes(), 112);
    // SAFETY: the child calls nothing but the heap and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let block = HEAP.allocate(10);
        let good = !block.is_null() && core.thread_stats().threads == 1;
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    // SAFETY: a child of ours, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child ended well");
    // SAFETY: the block is ours.
    unsafe { HEAP.deallocate(kept) };
    assert!(core.figures().adds_up(), "{:#?}", core.figures());
}
