use crate::{Config, Heap, HeapConfig, SelectedPageHeap};
use std::vec::Vec;
use strata_os::{ManualClock, SystemPages};
use strata_size_classes::{PageSize, Pages8K};

static CLOCK: ManualClock = ManualClock::new(1);

/// The standard heap, with time in our hands.
struct Timed;

impl HeapConfig for Timed {
    type Pages = Pages8K;
    type Source = SystemPages;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = ManualClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }
    fn clock() -> &'static ManualClock {
        &CLOCK
    }
}

fn allocate_and_free(heap: &Heap<Timed>, count: usize, size: usize) {
    let blocks: Vec<_> = (0..count).map(|_| heap.allocate(size)).collect();
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}

#[test]
fn what_lies_in_transfer_caches_goes_back_in_time() {
    let heap: Heap<Timed> = Heap::with(Config::DEFAULT);
    allocate_and_free(&heap, 5000, 500);
    let core = heap.core().unwrap();
    let class = Pages8K::TABLE.entry(500).unwrap().class();
    let before = core.middle().class_stats(class).transfer.used;
    assert!(before > 0, "the burst left objects in the transfer cache");
    // Another size keeps missing while seconds go by.
    for _ in 0..40 {
        CLOCK.advance(1_000_000_000);
        allocate_and_free(&heap, 3000, 3000);
    }
    let after = core.middle().class_stats(class).transfer;
    assert_eq!(after.used, 0, "{after:?}");
    assert_eq!(core.figures().in_use_bytes(), 0);
}

#[test]
fn a_clock_that_jumps_back_does_not_stop_the_rounds() {
    let heap: Heap<Timed> = Heap::with(Config::DEFAULT);
    allocate_and_free(&heap, 3000, 3000);
    let core = heap.core().unwrap();
    core.background.due_ns.store(u64::MAX, core::sync::atomic::Ordering::Relaxed);
    for _ in 0..10 {
        CLOCK.advance(1_000_000_000);
        allocate_and_free(&heap, 3000, 3000);
    }
    assert!(core.background_figures().steps >= 5);
}
