//! Interleavings of the lock, of what a thread owns, of the once and the sequence word, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-sync --test loom --release`
//!
//! What is guarded is a `loom::cell::UnsafeCell`, so that loom itself finds an access that the
//! lock did not order; a wake-up that is lost is a deadlock, which loom finds too. loom does not
//! reorder `Relaxed` as hardware may: `tests/stress.rs` runs the same on the machine.

#![cfg(strata_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use strata_sync::atomic::{AtomicU64, Ordering};
use strata_sync::owned::{Owned, Token};
use strata_sync::{Mutex, Once, SeqWord};

/// Explores all interleavings with at most `preemptions` switches away from a thread that could
/// have gone on.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A thread that does `work` with what it shares with this one.
fn beside<T: 'static, R: 'static>(
    shared: &Arc<T>,
    work: impl FnOnce(&T) -> R + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

fn add_one(mutex: &Mutex<UnsafeCell<u32>>) {
    let guard = mutex.lock();
    // SAFETY: `with_mut` gives a pointer to the cell's value, which the lock gives to us alone;
    // loom fails the model if it did not.
    guard.with_mut(|value| unsafe { *value += 1 });
}

fn read(cell: &UnsafeCell<u32>) -> u32 {
    // SAFETY: `with` gives a pointer to the cell's value; loom fails the model if somebody may be
    // writing it.
    cell.with(|value| unsafe { *value })
}

#[test]
fn two_threads_are_never_inside_together() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(UnsafeCell::new(0)));
        let other = beside(&mutex, add_one);
        add_one(&mutex);
        other.join().unwrap();
        assert_eq!(read(&mutex.lock()), 2);
        let stats = mutex.stats();
        assert_eq!(stats.operations, 3);
        assert!(stats.spin_acquisitions + stats.waits <= 1);
        assert!(stats.max_waiting_threads <= 1);
        assert!((1..=3).contains(&stats.owner_switches));
    });
}

#[test]
fn no_wake_up_is_lost_between_two_sleepers_and_who_leaves() {
    explore(3, || {
        let mutex = Arc::new(Mutex::new(UnsafeCell::new(0)));
        let others: Vec<_> = (0..2).map(|_| beside(&mutex, add_one)).collect();
        add_one(&mutex);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(read(&mutex.lock()), 3);
        assert!(mutex.stats().max_waiting_threads <= 2);
    });
}

#[test]
fn no_wake_up_is_lost_when_the_holder_comes_back_at_once() {
    explore(3, || {
        let mutex = Arc::new(Mutex::new(UnsafeCell::new(0)));
        let other = beside(&mutex, |mutex| {
            add_one(mutex);
            add_one(mutex);
        });
        add_one(&mutex);
        add_one(&mutex);
        other.join().unwrap();
        assert_eq!(read(&mutex.lock()), 4);
    });
}

#[test]
fn who_only_tries_is_never_inside_with_who_waits() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(UnsafeCell::new(0)));
        let other = beside(&mutex, |mutex| {
            let Some(guard) = mutex.try_lock() else { return 0 };
            // SAFETY: `with_mut` gives a pointer to the cell's value, which the lock gives to us alone;
            // loom fails the model if it did not.
            guard.with_mut(|value| unsafe { *value += 1 });
            1
        });
        add_one(&mutex);
        let tried = other.join().unwrap();
        assert_eq!(read(&mutex.lock()), 1 + tried);
        assert_eq!(mutex.stats().operations, u64::from(2 + tried));
    });
}

#[test]
fn who_holds_without_a_guard_keeps_others_out_and_wakes_them() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(UnsafeCell::new(0)));
        mutex.acquire();
        let other = beside(&mutex, add_one);
        thread::yield_now();
        assert!(mutex.try_lock().is_none());
        // SAFETY: this thread acquired it above and has made no guard since.
        unsafe { mutex.release() };
        other.join().unwrap();
        assert_eq!(read(&mutex.lock()), 1);
    });
}

#[test]
fn once_publishes_what_it_wrote_to_who_waits_and_who_comes_late() {
    explore(3, || {
        let shared = Arc::new((Once::new(), UnsafeCell::new(0), AtomicU64::new(0)));
        let call = |shared: &(Once, UnsafeCell<u32>, AtomicU64)| {
            let (once, value, runs) = shared;
            once.call_once(|| {
                assert!(once.is_running_here());
                runs.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the once runs this for one thread; loom fails the model otherwise.
                value.with_mut(|value| unsafe { *value = 7 });
            });
            assert!(once.is_done() && !once.is_running_here());
            assert_eq!(read(value), 7);
        };
        let others: Vec<_> = (0..2).map(|_| beside(&shared, call)).collect();
        call(&shared);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.2.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn once_runs_here_for_its_runner_alone() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let other = beside(&once, |once| once.call_once(|| assert!(once.is_running_here())));
        assert!(!once.is_running_here());
        other.join().unwrap();
        assert!(once.is_done());
    });
}

type Figures = (SeqWord, AtomicU64, AtomicU64);

fn change_twice((sequence, used, free): &Figures) {
    for taken in 1..=2 {
        sequence.begin();
        used.store(taken, Ordering::Relaxed);
        free.store(10 - taken, Ordering::Relaxed);
        sequence.end();
    }
}

fn read_figures((sequence, used, free): &Figures) -> Option<(u64, u64)> {
    sequence.read(|| (used.load(Ordering::Relaxed), free.load(Ordering::Relaxed)))
}

fn new_figures() -> Arc<Figures> {
    Arc::new((SeqWord::new(), AtomicU64::new(0), AtomicU64::new(10)))
}

#[test]
fn figures_read_before_and_during_a_change_fit_each_other() {
    loom::model(|| {
        let figures = new_figures();
        let writer = beside(&figures, change_twice);
        if let Some((used, free)) = read_figures(&figures) {
            assert_eq!(used + free, 10);
        }
        writer.join().unwrap();
        assert_eq!(read_figures(&figures), Some((2, 8)));
    });
}

/// The other way round, because loom's search begins with the thread that spawned and is not
/// complete for what a thread may read late: only here does it find a relaxed `end`.
#[test]
fn figures_read_during_and_after_a_change_fit_each_other() {
    loom::model(|| {
        let figures = new_figures();
        let reader = beside(&figures, |figures| {
            if let Some((used, free)) = read_figures(figures) {
                assert_eq!(used + free, 10);
            }
        });
        change_twice(&figures);
        reader.join().unwrap();
    });
}

/// A value of several threads, how many of them live, and how often they were inside.
struct Holdings {
    value: Owned<UnsafeCell<u32>>,
    users: AtomicU64,
}

fn holdings(users: u64) -> Arc<Holdings> {
    Arc::new(Holdings { value: Owned::new(UnsafeCell::new(0)), users: AtomicU64::new(users) })
}

impl Holdings {
    fn add_one(value: &UnsafeCell<u32>) {
        // SAFETY: `with_mut` gives a pointer to the cell's value, which is ours alone inside; loom fails the model if
        // it is not.
        value.with_mut(|value| unsafe { *value += 1 });
    }

    /// Comes as the heap does: the owner's way if it is open.
    fn work(&self) {
        match self.value.enter(Token::here()) {
            Some(entered) => Self::add_one(&entered),
            None => self.value.with(Token::here(), Self::add_one),
        }
    }

    /// This thread ends.
    fn leave(&self) {
        self.users.fetch_sub(1, Ordering::Relaxed);
        let is_last = || self.users.load(Ordering::Relaxed) == 0;
        // SAFETY: this thread is outside and does not come again; the others are counted before they come, and until
        // they leave.
        unsafe { self.value.leave(Token::here(), is_last) };
    }

    fn count(&self) -> u32 {
        self.value.visit(read)
    }
}

#[test]
fn a_visitor_comes_while_the_owner_enters() {
    explore(3, || {
        let holdings = holdings(1);
        holdings.work();
        let visitor = beside(&holdings, |holdings| holdings.value.visit(Holdings::add_one));
        holdings.work();
        holdings.work();
        visitor.join().unwrap();
        assert_eq!(holdings.count(), 4);
        assert!(holdings.value.enter(Token::here()).is_some(), "it is the owner still");
    });
}

#[test]
fn a_second_thread_ends_the_ownership_while_the_owner_enters() {
    explore(3, || {
        let holdings = holdings(2);
        holdings.work();
        let second = beside(&holdings, |holdings| {
            holdings.work();
            holdings.work();
        });
        holdings.work();
        holdings.work();
        second.join().unwrap();
        assert!(holdings.value.enter(Token::here()).is_none());
        holdings.work();
        assert_eq!(holdings.count(), 6);
    });
}

#[test]
fn the_owner_leaves_while_others_come() {
    explore(2, || {
        let holdings = holdings(3);
        holdings.work();
        let others: Vec<_> = (0..2)
            .map(|_| {
                beside(&holdings, |holdings| {
                    holdings.work();
                    holdings.work();
                    holdings.leave();
                })
            })
            .collect();
        holdings.work();
        holdings.leave();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(holdings.count(), 6);
    });
}

#[test]
fn who_lost_the_value_enters_while_the_last_but_one_leaves_and_a_new_thread_comes() {
    explore(2, || {
        let holdings = holdings(2);
        holdings.work();
        let second = beside(&holdings, |holdings| {
            holdings.work();
            holdings.leave();
            // A thread after this one.
            holdings.users.fetch_add(1, Ordering::Relaxed);
            holdings.work();
            holdings.work();
            holdings.leave();
        });
        holdings.work();
        holdings.leave();
        second.join().unwrap();
        assert_eq!(holdings.count(), 5);
    });
}

#[test]
fn a_fork_keeps_the_owner_outside_and_lets_it_in_again() {
    explore(3, || {
        let holdings = holdings(1);
        holdings.work();
        let forks = beside(&holdings, |holdings| {
            holdings.value.acquire();
            // SAFETY: this thread acquired it.
            unsafe { holdings.value.release() };
            holdings.value.visit(Holdings::add_one);
        });
        holdings.work();
        forks.join().unwrap();
        holdings.work();
        assert_eq!(holdings.count(), 4);
    });
}
