//! Recent snapshots, recorded and read by many threads.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_types, reason = "a test may fail")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use strata_alloc::{Config, Heap};
use strata_stats::{Category, History, Ledger, Snapshot};

fn one() -> Snapshot {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(1);
    let snapshot = Snapshot::take(heap.core().unwrap());
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(block) };
    snapshot
}

fn numbered(like: &Snapshot, number: u64) -> Arc<Snapshot> {
    let mut snapshot = *like;
    snapshot.taken_ns = number;
    Arc::new(snapshot)
}

#[test]
fn the_last_snapshots_are_kept_in_order() {
    let (history, like) = (History::new(3), one());
    assert!(history.latest().is_none() && history.recent().is_empty() && history.peak().is_none());
    for number in [10, 20, 15, 30, 5] {
        history.publish(numbered(&like, number));
    }
    let numbers: Vec<_> = history.recent().iter().map(|snapshot| snapshot.taken_ns).collect();
    assert_eq!(numbers, [15, 20, 30]);
    assert_eq!(history.latest().unwrap().taken_ns, 30);
}

#[test]
fn the_peak_is_a_whole_snapshot_and_stays() {
    let history = History::new(2);
    let heap: Heap = Heap::with(Config::DEFAULT);
    let small = heap.allocate(1000);
    let core = heap.core().unwrap();
    history.record(core);
    let large = heap.allocate(50 << 20);
    history.record(core);
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(large) };
    heap.release(usize::MAX);
    for _ in 0..5 {
        history.record(core);
    }
    let peak = Ledger::of(&history.peak().unwrap());
    assert!(peak.bytes(Category::InUse) >= 50 << 20);
    assert_eq!(peak.unexplained(), 0, "all figures are of one moment");
    assert!(Ledger::of(&history.latest().unwrap()).bytes(Category::InUse) < 1 << 20);
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(small) };
}

/// Two who record and six who read: each list that is read is in order, has no gaps that its recorder did not make, and
/// never goes back.
#[test]
fn lists_are_whole_while_others_record() {
    const EACH: u64 = 3_000;
    let (history, like) = (History::new(8), one());
    let next = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let recorders: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        history.publish(numbered(&like, next.fetch_add(1, Relaxed)));
                    }
                })
            })
            .collect();
        for _ in 0..6 {
            scope.spawn(|| {
                let mut seen = 0;
                while !done.load(Relaxed) {
                    let numbers: Vec<_> =
                        history.recent().iter().map(|snapshot| snapshot.taken_ns).collect();
                    assert!(numbers.len() <= 8);
                    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
                    let last = numbers.last().copied().unwrap_or(0);
                    assert!(last >= seen, "{last} after {seen}");
                    seen = last;
                }
            });
        }
        for recorder in recorders {
            recorder.join().unwrap();
        }
        done.store(true, Relaxed);
    });
    let numbers: Vec<_> = history.recent().iter().map(|snapshot| snapshot.taken_ns).collect();
    assert_eq!(numbers, (2 * EACH - 7..=2 * EACH).collect::<Vec<_>>());
}

#[test]
fn snapshots_that_fell_out_are_freed_and_those_that_are_read_stay() {
    let (history, like) = (History::new(1), one());
    let kept = numbered(&like, 1);
    history.publish(Arc::clone(&kept));
    let read = history.latest().unwrap();
    let dropped: Weak<Snapshot> = {
        let snapshot = numbered(&like, 2);
        let weak = Arc::downgrade(&snapshot);
        history.publish(snapshot);
        weak
    };
    // It is the peak no more than the others: of equals the first stays.
    history.publish(numbered(&like, 3));
    assert_eq!(read.taken_ns, 1);
    // What is replaced goes when every thread has passed on; pinning and publishing moves the epoch.
    for number in 4..10_000 {
        if dropped.strong_count() == 0 {
            break;
        }
        history.publish(numbered(&like, number));
    }
    assert_eq!(dropped.strong_count(), 0, "nobody reads it, and it is still there");
}
