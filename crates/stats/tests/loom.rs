//! The interleavings of who publishes and who reads, over crossbeam's epochs: `cargo xtask loom --package strata-stats`.
#![cfg(crossbeam_loom)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_types, reason = "a test may fail")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use strata_stats::EpochCell;

/// A version that loom sees written when it is made and when it goes, and read when somebody looks at it: one that
/// goes while somebody looks, or is looked at before it is whole, is a race.
struct Version {
    number: UnsafeCell<usize>,
    live: Arc<AtomicUsize>,
}

impl Version {
    fn new(number: usize, live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Relaxed);
        Self { number: UnsafeCell::new(number), live: Arc::clone(live) }
    }

    fn number(&self) -> usize {
        // SAFETY: nobody writes while it is published, which is what loom checks.
        self.number.with(|number| unsafe { *number })
    }

    fn next(&self) -> Self {
        Self::new(self.number() + 1, &self.live)
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        // SAFETY: it is dropped when nobody looks at it any more, which is what loom checks.
        self.number.with_mut(|number| unsafe { *number = usize::MAX });
        self.live.fetch_sub(1, Relaxed);
    }
}

// SAFETY: the number is written when nobody else has the version, which is what loom checks.
unsafe impl Send for Version {}
// SAFETY: the number is written when nobody else has the version, which is what loom checks.
unsafe impl Sync for Version {}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // The epochs make many steps of their own; with two preemptions most defects are still found.
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(run);
}

/// Moves the epochs on until what was replaced has gone.
fn pass_epochs() {
    for _ in 0..4 {
        crossbeam_epoch::pin().flush();
    }
}

#[test]
fn read_while_another_publishes() {
    model(|| {
        let live = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(EpochCell::new(Version::new(1, &live)));
        let publisher = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.replace(Version::next);
                pass_epochs();
            })
        };
        let first = cell.read(Version::number);
        let second = cell.read(Version::number);
        assert!((1..=2).contains(&first) && first <= second, "{first}, then {second}");
        publisher.join().unwrap();
        assert_eq!(cell.read(Version::number), 2);
    });
}

#[test]
fn two_publish_and_neither_is_lost() {
    model(|| {
        let live = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(EpochCell::new(Version::new(1, &live)));
        let publisher = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || cell.replace(Version::next))
        };
        cell.replace(Version::next);
        publisher.join().unwrap();
        assert_eq!(cell.read(Version::number), 3);
    });
}

#[test]
fn what_was_replaced_goes_when_nobody_looks_any_more() {
    model(|| {
        let live = Arc::new(AtomicUsize::new(0));
        let cell = EpochCell::new(Version::new(1, &live));
        cell.replace(Version::next);
        pass_epochs();
        assert_eq!(live.load(Relaxed), 1, "the present version alone is left");
        drop(cell);
        assert_eq!(live.load(Relaxed), 0);
    });
}
