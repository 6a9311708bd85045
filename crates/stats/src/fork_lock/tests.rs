use super::ForkLock;
use std::sync::mpsc::channel;
use strata_alloc::{ForkWatcher, watch_forks};

static LOCK: ForkLock<u32> = ForkLock::new(7);

/// Forks; the number with which the child ends, which is what `in_child` says. Nobody panics there.
fn status_of_child(in_child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child calls what may be called beside vanished threads, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = in_child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: a child of ours, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WEXITSTATUS(status)
}

fn is_free() -> i32 {
    LOCK.try_lock().map_or(1, |value| *value as i32)
}

#[test]
fn a_child_finds_the_lock_free_unless_the_thread_that_forked_has_it() {
    static WATCHER: ForkWatcher = ForkWatcher::new(|| {
        // SAFETY: the handler runs in the child, alone; a number is right at any point.
        unsafe { LOCK.forget_others() }
    });
    watch_forks();
    WATCHER.register();
    WATCHER.register();
    assert_eq!(status_of_child(is_free), 7);
    let (taken, is_taken) = channel();
    let (go, may_go) = channel::<()>();
    let other = std::thread::spawn(move || {
        let _guard = LOCK.lock();
        taken.send(()).expect("somebody waits");
        let _ = may_go.recv();
    });
    is_taken.recv().expect("it takes it");
    assert_eq!(status_of_child(is_free), 7, "who had it is not in the child");
    assert!(LOCK.try_lock().is_none(), "and has it here");
    drop(go);
    other.join().expect("no panic");
    let guard = LOCK.lock_for_figures();
    assert_eq!(status_of_child(is_free), 1, "this thread goes on in the child, and has it there");
    drop(guard);
    assert_eq!(is_free(), 7);
}
