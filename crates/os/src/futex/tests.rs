use super::{WaitEnd, futex_wait, futex_wake};
use crate::{errno, set_errno};
use core::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_changed_word_does_not_sleep_and_errno_stays() {
    let word = AtomicU32::new(7);
    set_errno(33);
    assert_eq!(futex_wait(&word, 8, None), WaitEnd::Changed);
    assert_eq!(errno(), 33);
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let word = AtomicU32::new(0);
    let begin = std::time::Instant::now();
    assert_eq!(futex_wait(&word, 0, Some(2_000_000)), WaitEnd::TimedOut);
    assert!(begin.elapsed() >= core::time::Duration::from_millis(2));
}

#[test]
fn a_sleeper_is_woken_by_another_thread() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let sleeper = std::thread::spawn(|| {
        while WORD.load(Ordering::Acquire) == 0 {
            futex_wait(&WORD, 0, None);
        }
    });
    WORD.store(1, Ordering::Release);
    while !sleeper.is_finished() {
        futex_wake(&WORD, 1);
        std::thread::yield_now();
    }
    sleeper.join().expect("it ended well");
    assert_eq!(futex_wake(&WORD, u32::MAX), 0);
}
