use super::*;
use std::thread;

#[test]
fn a_lock_is_its_holders_also_while_others_sleep() {
    let lock = RawLock::new();
    assert!(!lock.is_ours());
    lock.acquire();
    assert!(lock.is_ours());
    thread::scope(|scope| {
        scope.spawn(|| assert!(!lock.is_ours(), "it is another thread's")).join().expect("no");
        scope.spawn(|| {
            lock.acquire();
            assert!(lock.is_ours(), "it was left");
            // SAFETY: acquired above.
            unsafe { lock.release() };
        });
        while lock.waiting() == 0 {
            thread::yield_now();
        }
        assert!(lock.is_ours(), "somebody waits for it");
        scope.spawn(|| assert!(!lock.is_ours(), "it is another's still")).join().expect("no");
        // SAFETY: acquired above.
        unsafe { lock.release() };
    });
    assert!(!lock.is_ours());
}
