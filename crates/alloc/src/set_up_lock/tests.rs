use super::*;
use std::thread;

#[test]
fn one_thread_at_a_time_is_inside() {
    static LOCK: SetUpLock = SetUpLock::new();
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    let threads: std::vec::Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..1000 {
                    let inside = LOCK.alone(|| {
                        let before = INSIDE.fetch_add(1, Ordering::Relaxed);
                        INSIDE.fetch_sub(1, Ordering::Relaxed);
                        before
                    });
                    assert_eq!(inside, Some(0));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn who_is_inside_does_not_wait_for_itself() {
    let lock = SetUpLock::new();
    assert_eq!(lock.alone(|| lock.alone(|| 1)), Some(None));
    assert_eq!(lock.alone(|| 2), Some(2));
}

#[test]
fn the_lock_of_another_process_is_taken_over() {
    // What a child finds whose parent's other thread was inside.
    let lock = SetUpLock { process: AtomicU32::new(process_id() + 1), thread: AtomicUsize::new(1) };
    assert_eq!(lock.alone(|| 3), Some(3));
}
