use super::{HugepageTracker, backing::Gap};
use crate::{handle::Handle, test_ground::ground};
use std::{vec, vec::Vec};
use strata_size_classes::Pages8K;
use strata_span::{Hugepage, Platform, Pool};

/// A tracker of a fresh hugepage.
fn tracker(zeroed: bool) -> Handle<HugepageTracker> {
    let ground = ground::<Pages8K>();
    let pool = Pool::<HugepageTracker>::new();
    let place = pool.allocate(ground.arena(), ground.metadata()).unwrap();
    // SAFETY: the arena's memory is never unmapped, and the test has the tracker alone.
    let tracker = unsafe { Handle::new(place) };
    tracker.start(Hugepage::new(77), 256, zeroed, false, 100);
    tracker
}

#[test]
fn pages_come_from_the_shortest_run_that_has_room() {
    let tracker = tracker(true);
    let parts: Vec<_> = [20, 5, 30, 5].map(|count| tracker.allocate(count, 1).unwrap()).into();
    assert_eq!(parts.iter().map(|part| part.start).collect::<Vec<_>>(), [0, 20, 25, 55]);
    tracker.deallocate(0, 20, 200);
    tracker.deallocate(25, 30, 200);
    assert_eq!(tracker.longest_free(), 256 - 60);
    assert_eq!(tracker.allocate(18, 1).unwrap().start, 0, "20 pages are the tightest");
    assert_eq!(tracker.allocate(25, 1).unwrap().start, 25);
    assert_eq!(tracker.allocate(16, 16).unwrap().start, 64, "at a multiple of 16");
    assert_eq!(tracker.allocations(), 5);
    assert_eq!(tracker.used_pages(), 5 + 5 + 18 + 25 + 16);
}

#[test]
fn released_pages_are_counted_until_they_are_taken_again() {
    let tracker = tracker(false);
    tracker.allocate(256, 1).unwrap();
    tracker.deallocate(16, 32, 200);
    assert_eq!((tracker.free_pages(), tracker.released_pages()), (32, 0));
    tracker.mark_released(16, 32);
    assert_eq!((tracker.free_pages(), tracker.released_pages()), (0, 32));
    let part = tracker.allocate(8, 1).unwrap();
    assert_eq!((part.released, part.zeroed), (8, true), "what was released by force reads as zero");
    assert_eq!((tracker.free_pages(), tracker.released_pages()), (0, 24));
    tracker.deallocate(part.start, 8, 300);
    assert_eq!((tracker.free_pages(), tracker.released_pages()), (8, 24));
    assert!(!tracker.allocate(8, 1).unwrap().zeroed, "it was used in between");
}

#[test]
fn only_pages_that_were_never_used_read_as_zero() {
    let fresh = tracker(true);
    assert!(fresh.allocate(10, 1).unwrap().zeroed);
    fresh.deallocate(0, 10, 200);
    let again = fresh.allocate(12, 1).unwrap();
    assert_eq!((again.start, again.zeroed), (0, false), "10 of the 12 were used before");
    assert!(fresh.allocate(10, 1).unwrap().zeroed);
    assert!(!tracker(false).allocate(1, 1).unwrap().zeroed);
}

#[test]
fn gaps_are_cut_where_backing_ends_and_released_in_whole_granules() {
    let tracker = tracker(false);
    tracker.allocate(256, 1).unwrap();
    tracker.deallocate(10, 21, 200);
    tracker.mark_released(16, 8);
    let gap = |start, length, released| Gap { start, length, released };
    let expected = vec![gap(10, 6, false), gap(16, 8, true), gap(24, 7, false)];
    assert_eq!(tracker.gaps().collect::<Vec<_>>(), expected);
    assert_eq!(tracker.backed_gaps(1).collect::<Vec<_>>(), [(10, 6), (24, 7)]);
    assert_eq!(tracker.backed_gaps(4).collect::<Vec<_>>(), [(12, 4), (24, 4)]);
    assert_eq!(tracker.backed_gaps(8).count(), 0);
}

#[test]
fn free_pages_have_the_mean_of_their_ages() {
    let tracker = tracker(false);
    for count in [100, 100, 56] {
        tracker.allocate(count, 1).unwrap();
    }
    tracker.deallocate(0, 10, 1_000);
    assert_eq!(tracker.free_since_ns(), 1_000);
    tracker.deallocate(100, 30, 5_000);
    assert_eq!(tracker.free_since_ns(), 1_000 + 3_000);
    // A clock that was put back does no harm.
    tracker.deallocate(200, 20, 10);
    assert_eq!(tracker.free_since_ns(), 4_000);
}
