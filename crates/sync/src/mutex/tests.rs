use super::Mutex;
use crate::LockStats;
use std::sync::mpsc;
use std::thread;

/// Waits until `count` threads of `mutex` have gone to sleep or are about to.
fn await_sleepers(mutex: &Mutex<u64>, count: u32) {
    while mutex.lock.waiting() < count {
        thread::yield_now();
    }
}

#[test]
fn a_lock_nobody_contends_counts_operations_and_one_owner() {
    let mutex = Mutex::new(5_u64);
    for _ in 0..10 {
        *mutex.lock() += 1;
    }
    let expected = LockStats { operations: 10, owner_switches: 1, ..LockStats::ZERO };
    assert_eq!(mutex.stats(), expected);
    assert_eq!(mutex.into_inner(), 15);
}

#[test]
fn a_failed_try_leaves_the_lock_held_and_counts_nothing() {
    let mutex = Mutex::new(0_u64);
    let guard = mutex.lock();
    assert!(mutex.try_lock().is_none());
    assert!(mutex.try_lock().is_none());
    assert_eq!(mutex.stats().operations, 1);
    drop(guard);
    assert!(mutex.try_lock().is_some());
    assert_eq!(mutex.stats().operations, 2);
}

#[test]
fn a_lock_that_changes_hands_counts_a_switch_each_time() {
    let mutex = Mutex::new(0_u64);
    drop(mutex.lock());
    let (to_other, other_turn) = mpsc::channel::<()>();
    let (to_main, main_turn) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let mutex = &mutex;
        scope.spawn(move || {
            for () in other_turn {
                drop(mutex.lock());
                to_main.send(()).unwrap();
            }
        });
        for _ in 0..3 {
            to_other.send(()).unwrap();
            main_turn.recv().unwrap();
            drop(mutex.lock());
        }
        drop(to_other);
    });
    let expected = LockStats { operations: 7, owner_switches: 7, ..LockStats::ZERO };
    assert_eq!(mutex.stats(), expected);
}

#[test]
fn a_thread_that_sleeps_is_counted_with_its_time() {
    let mutex = Mutex::new(0_u64);
    let guard = mutex.lock();
    thread::scope(|scope| {
        scope.spawn(|| *mutex.lock() += 1);
        await_sleepers(&mutex, 1);
        drop(guard);
    });
    let stats = mutex.stats();
    assert_eq!((stats.operations, stats.waits, stats.max_waiting_threads), (2, 1, 1));
    assert_eq!(stats.spin_acquisitions, 0);
    assert_eq!(stats.owner_switches, 2);
    assert!(stats.max_wait_ns > 0, "a wait through the kernel takes time");
    assert_eq!(stats.total_wait_ns, stats.max_wait_ns);
    assert_eq!(mutex.into_inner(), 1);
}

#[test]
fn most_threads_waiting_at_once_are_remembered() {
    let mutex = Mutex::new(0_u64);
    let guard = mutex.lock();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| *mutex.lock() += 1);
        }
        await_sleepers(&mutex, 3);
        drop(guard);
    });
    let stats = mutex.stats();
    assert_eq!((stats.operations, stats.waits, stats.max_waiting_threads), (4, 3, 3));
    assert!(stats.max_wait_ns <= stats.total_wait_ns);
    assert_eq!(mutex.lock.waiting(), 0);
    assert_eq!(mutex.into_inner(), 3);
}

#[test]
fn errno_survives_a_wait_and_a_wake_up() {
    let mutex = Mutex::new(0_u64);
    let guard = mutex.lock();
    thread::scope(|scope| {
        scope.spawn(|| {
            strata_os::set_errno(4711);
            *mutex.lock() += 1;
            assert_eq!(strata_os::errno(), 4711);
        });
        await_sleepers(&mutex, 1);
        strata_os::set_errno(1147);
        drop(guard);
        assert_eq!(strata_os::errno(), 1147);
    });
}

#[test]
fn a_lock_held_without_a_guard_is_left_by_release() {
    let mutex = Mutex::new(0_u64);
    mutex.acquire();
    assert!(mutex.try_lock().is_none());
    // SAFETY: this thread acquired it two lines above and made no guard.
    unsafe { mutex.release() };
    assert!(mutex.try_lock().is_some());
}

#[test]
fn a_lock_held_by_a_vanished_thread_is_free_after_reset() {
    let mut mutex = Mutex::new(1_u64);
    thread::scope(|scope| scope.spawn(|| mutex.acquire()).join().unwrap());
    assert!(mutex.try_lock().is_none());
    // SAFETY: the thread that held it has ended, nobody else knows the lock, and its value is a
    // number that may be left at any point.
    assert!(unsafe { mutex.reset_after_fork() });
    *mutex.lock() += 1;
    assert_eq!(*mutex.get_mut(), 2);
    assert_eq!(mutex.stats().operations, 2);
}

#[test]
fn a_guard_that_unwinds_leaves_the_lock() {
    let mutex = Mutex::new(0_u64);
    let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        let _guard = mutex.lock();
        std::panic::resume_unwind(std::boxed::Box::new("on purpose"));
    }));
    assert!(outcome.is_err());
    assert!(mutex.try_lock().is_some());
}

#[test]
fn an_unsized_value_is_guarded_too() {
    let mutex = Mutex::new([1_u8, 2, 3]);
    let slice: &Mutex<[u8]> = &mutex;
    slice.lock().reverse();
    assert_eq!(*mutex.lock(), [3, 2, 1]);
}

#[test]
fn who_does_not_want_to_wait_for_ever_gives_up() {
    let lock = Mutex::new(0);
    std::thread::scope(|scope| {
        let guard = lock.lock();
        let other = scope.spawn(|| lock.lock_unless_held(1_000_000).is_none());
        assert!(other.join().expect("no panic"), "another thread holds it");
        assert!(
            lock.lock_unless_held(u64::MAX).is_none(),
            "this thread holds it, and would wait for ever"
        );
        drop(guard);
        let other = scope.spawn(|| lock.lock_unless_held(0).is_some());
        assert!(other.join().expect("no panic"), "nobody holds it");
    });
    assert_eq!(lock.stats().operations, 2);
}

#[test]
fn who_waits_for_some_time_gets_a_lock_that_is_left_meanwhile() {
    let lock = Mutex::new(0);
    std::thread::scope(|scope| {
        let guard = lock.lock();
        let other = scope.spawn(|| lock.lock_unless_held(u64::MAX).map(|mut value| *value += 1));
        std::thread::yield_now();
        drop(guard);
        assert!(other.join().expect("no panic").is_some());
    });
    assert_eq!(*lock.lock(), 1);
}

#[test]
fn a_fork_that_gives_up_waiting_leaves_the_lock_with_its_holder() {
    let lock = Mutex::new(0);
    let before = crate::locks_kept_over_forks();
    std::thread::scope(|scope| {
        let guard = lock.lock();
        let other = scope.spawn(|| {
            lock.acquire_within(1_000_000);
            // SAFETY: this thread called the line above, and made no guard.
            unsafe { lock.release() };
        });
        other.join().expect("no panic");
        assert!(lock.try_lock().is_none(), "the holder has it still");
        drop(guard);
    });
    assert!(crate::locks_kept_over_forks() != before);
    lock.acquire_within(0);
    assert!(lock.try_lock().is_none());
    // SAFETY: this thread called the line above, and made no guard.
    unsafe { lock.release() };
    assert!(lock.try_lock().is_some());
}
