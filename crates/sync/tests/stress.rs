//! What loom does not explore, since it does not reorder `Relaxed` as hardware may: the same
//! rules on the machine, with more threads and more turns.

#![cfg(not(strata_loom))]

use core::cell::UnsafeCell;
use std::thread;
use strata_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use strata_sync::{Mutex, Once, SeqWord};

const THREADS: u64 = 8;
const TURNS: u64 = 20_000;

#[test]
fn no_turn_is_lost_among_eight_threads() {
    let mutex = Mutex::new([0_u64; 4]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    mutex.lock().iter_mut().for_each(|count| *count += 1);
                }
            });
        }
    });
    let stats = mutex.stats();
    assert_eq!(*mutex.lock(), [THREADS * TURNS; 4]);
    assert_eq!(stats.operations, THREADS * TURNS);
    assert!(stats.spin_acquisitions + stats.waits <= stats.operations);
    assert!((1..=stats.operations).contains(&stats.owner_switches));
    assert!(u64::from(stats.max_waiting_threads) < THREADS);
    assert!(stats.max_wait_ns <= stats.total_wait_ns);
    assert_eq!(stats.waits == 0, stats.max_waiting_threads == 0);
}

#[test]
fn a_thread_that_tries_is_never_inside_with_another() {
    let mutex = Mutex::new(0_u64);
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mutex, taken) = (&mutex, &taken);
            scope.spawn(move || {
                for _ in 0..TURNS {
                    let guard = if thread % 2 == 0 { mutex.try_lock() } else { Some(mutex.lock()) };
                    if let Some(mut count) = guard {
                        *count += 1;
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(*mutex.lock(), taken.load(Ordering::Relaxed));
}

#[test]
fn figures_of_one_writer_fit_each_other_for_readers_without_a_lock() {
    let sequence = SeqWord::new();
    let figures = [const { AtomicU64::new(0) }; 4];
    let done = AtomicBool::new(false);
    let read = || figures.each_ref().map(|figure| figure.load(Ordering::Relaxed));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let Some([first, second, third, fourth]) = sequence.read(read) else {
                        strata_sync::spin_hint();
                        continue;
                    };
                    assert_eq!([second, third, fourth], [2, 2, 3].map(|factor| factor * first));
                    assert!(last <= first, "figures never go back");
                    last = first;
                }
            });
        }
        for turn in 1..=200_000 {
            sequence.begin();
            for (figure, factor) in figures.iter().zip([1, 2, 2, 3]) {
                figure.store(turn * factor, Ordering::Relaxed);
            }
            sequence.end();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(sequence.read(read), Some([200_000, 400_000, 400_000, 600_000]));
}

/// A cell that the once under test guards.
struct Published(UnsafeCell<u64>);

// SAFETY: written inside the once, read after it.
unsafe impl Sync for Published {}

#[test]
fn a_once_publishes_plain_writes_to_all_who_pass() {
    for turn in 0..500 {
        let (once, value) = (Once::new(), Published(UnsafeCell::new(u64::MAX)));
        thread::scope(|scope| {
            for _ in 0..4 {
                let (once, value) = (&once, &value);
                scope.spawn(move || {
                    // SAFETY: one thread alone runs this, before anybody reads.
                    once.call_once(|| unsafe { *value.0.get() = turn });
                    // SAFETY: nobody writes any more once `call_once` has returned.
                    assert_eq!(unsafe { *value.0.get() }, turn);
                });
            }
        });
    }
}
