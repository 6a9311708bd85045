//! Locks and onces in a child after `fork`, while the parent's other threads hold them.

#![cfg(not(strata_loom))]

use std::sync::mpsc;
use std::thread;
use strata_sync::{Mutex, Once, SeqWord, thread_block};

/// Runs `child` in a child process and says whether it returned true.
fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls nothing that may wait for a thread that did not come along, but
    // what is under test, and leaves by `_exit`.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "fork");
    if id == 0 {
        // A child that waits for ever is ended by this signal.
        // SAFETY: takes a number; the default action ends the process.
        unsafe { libc::alarm(10) };
        let status = i32::from(!child());
        // SAFETY: ends the process without running anything else of it.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: the status is ours to write, and the child is ours to await.
    assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_lock_acquired_before_fork_serves_parent_and_child() {
    static LOCK: Mutex<u32> = Mutex::new(1);
    LOCK.acquire();
    let child = in_child(|| {
        // SAFETY: the child has this thread alone, which held the lock without a guard.
        let was_held = unsafe { LOCK.reset_after_fork() };
        *LOCK.lock() += 1;
        was_held && *LOCK.lock() == 2
    });
    // SAFETY: acquired above, in this process, without a guard.
    unsafe { LOCK.release() };
    assert!(child);
    assert_eq!(*LOCK.lock(), 1);
}

#[test]
fn a_lock_of_a_thread_that_did_not_come_along_is_free_after_reset() {
    static LOCK: Mutex<u32> = Mutex::new(1);
    let (held, is_held) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        let _guard = LOCK.lock();
        held.send(()).unwrap();
        may_leave.recv().unwrap();
    });
    is_held.recv().unwrap();
    let child = in_child(|| {
        let taken_before = LOCK.try_lock().is_some();
        // SAFETY: the child has this thread alone, and the number may be left at any point.
        let was_held = unsafe { LOCK.reset_after_fork() };
        !taken_before && was_held && *LOCK.lock() == 1
    });
    leave.send(()).unwrap();
    other.join().unwrap();
    assert!(child);
}

#[test]
fn a_once_whose_runner_did_not_come_along_is_run_by_the_child() {
    static ONCE: Once = Once::new();
    let (running, is_running) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        ONCE.call_once(|| {
            running.send(()).unwrap();
            may_leave.recv().unwrap();
        });
    });
    is_running.recv().unwrap();
    let child = in_child(|| {
        let mut ran = false;
        // SAFETY: the child has this thread alone, and nothing was done that could be half done.
        unsafe { ONCE.reset_after_fork() };
        ONCE.call_once(|| ran = true);
        ran && ONCE.is_done()
    });
    leave.send(()).unwrap();
    other.join().unwrap();
    assert!(child);
}

#[test]
fn figures_in_flux_at_fork_are_readable_in_the_child_after_reset() {
    static SEQUENCE: SeqWord = SeqWord::new();
    SEQUENCE.begin();
    let child = in_child(|| {
        let in_flux = SEQUENCE.read(|| ()).is_none();
        SEQUENCE.reset_after_fork();
        in_flux && SEQUENCE.read(|| ()).is_some()
    });
    SEQUENCE.end();
    assert!(child);
}

#[test]
fn the_forking_thread_keeps_its_words_in_the_child() {
    assert!(thread_block::count_allocated(thread_block::Slot::FIRST, 640));
    let child = in_child(|| {
        // SAFETY: the child has this thread alone.
        unsafe { thread_block::reset_after_fork() };
        // SAFETY: the words are this thread's, which lives on in the child.
        let words = unsafe { &*thread_block::words(thread_block::Slot::FIRST) };
        words.allocated.bytes() == 640
    });
    assert!(child);
}
