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

/// Whether a child of this process that does `work` says yes. One that waits for ever is ended by an alarm.
fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work` alone, which allocates nothing, and ends without coming back to the harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: numbers; the child does as it is told and ends.
        unsafe { libc::alarm(60) };
        let code = libc::c_int::from(!work());
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is ours to be written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

#[test]
fn each_fork_is_a_generation_in_its_child_alone() {
    let this = counted();
    let is_next = |before: Holder| {
        let here = Holder::here();
        here.generation == before.generation % GENERATIONS + 1
            && here.process != before.process
            && !before.may_share_memory(here)
    };
    assert!(in_child(|| {
        let child = Holder::here();
        is_next(this) && in_child(|| is_next(child)) && Holder::here() == child
    }));
    assert_eq!(counted(), this, "no fork leads here");
}

#[test]
fn a_child_does_not_wait_for_a_thread_that_did_not_come_along() {
    counted();
    let lock = SetUpLock::new();
    let is_over = AtomicU32::new(0);
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            lock.alone(|| {
                is_over.store(1, Ordering::Release);
                while is_over.load(Ordering::Acquire) != 2 {
                    thread::yield_now();
                }
            })
        });
        while is_over.load(Ordering::Acquire) != 1 {
            thread::yield_now();
        }
        // However long it would wait for a process that has its memory.
        let has_it = in_child(|| lock.alone_within(u32::MAX, || 6) == Some(6));
        is_over.store(2, Ordering::Release);
        assert!(has_it);
        assert_eq!(inside.join().unwrap(), Some(()), "the parent's thread has it all the time");
    });
}

#[test]
fn a_word_keeps_a_process_and_as_many_generations_as_it_has_bits_for() {
    for generation in [0, 1, 2, GENERATIONS - 1, GENERATIONS] {
        for process in [1, 2, (1 << PROCESS_BITS) - 1] {
            let holder = Holder { process, generation };
            assert_ne!(holder.word(), 0, "a free lock is nobody's");
            assert_eq!(Holder::of_word(holder.word()), holder);
            assert_eq!(holder.may_share_memory(Holder { process: 7, ..holder }), generation != 0);
            let next = Holder { generation: generation % GENERATIONS + 1, ..holder };
            assert!(!holder.may_share_memory(next));
        }
    }
}
