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

/// A lock that a thread of that process has.
fn held_by(holder: Holder) -> SetUpLock {
    SetUpLock { holder: AtomicU32::new(holder.word()), thread: AtomicUsize::new(thread_pointer()) }
}

/// This process, once its forks are counted: another test may be about to tell the C library of the handlers.
fn counted() -> Holder {
    crate::watch_forks();
    loop {
        match Holder::here() {
            Holder { generation: 0, .. } => thread::yield_now(),
            this => return this,
        }
    }
}

#[test]
fn the_lock_of_another_process_is_taken_over() {
    // What a child finds whose parent's other thread was inside, with handlers of forks and without.
    let this = counted();
    let others = [
        Holder { process: this.process ^ 1, generation: 0 },
        Holder { process: this.process ^ 1, generation: this.generation % GENERATIONS + 1 },
    ];
    for other in others {
        assert_eq!(Holder::of_word(other.word()), other);
        assert_eq!(held_by(other).alone(|| 3), Some(3));
    }
}

#[test]
fn another_process_of_the_same_memory_is_waited_for() {
    let this = counted();
    let lock = held_by(Holder { process: this.process ^ 1, ..this });
    let is_left = AtomicU32::new(0);
    thread::scope(|scope| {
        let waits = scope.spawn(|| lock.alone(|| is_left.load(Ordering::Relaxed)));
        is_left.store(1, Ordering::Relaxed);
        // As that process does at its end.
        lock.holder.store(0, Ordering::Release);
        assert_eq!(waits.join().unwrap(), Some(1));
    });
}

#[test]
fn who_never_leaves_is_not_waited_for_for_ever() {
    let this = counted();
    let lock = held_by(Holder { process: this.process ^ 1, ..this });
    assert_eq!(lock.alone_within(3, || 4), Some(4));
}
