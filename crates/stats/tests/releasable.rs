//! What the summary says could go back now is what goes when somebody asks.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_types, reason = "a test may fail")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, Heap, PageHeapChoice};
use strata_page_heap::PageHeap;
use strata_span::HUGEPAGE_BYTES;
use strata_stats::{Figures, RenderPageHeap, Snapshot};
use strata_temeraire::SkipIntervals;

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn releasable(heap: &Heap) -> u64 {
    let core = heap.core().unwrap();
    let page_heap = core.page_heap().figures(core);
    let snapshot = Snapshot::take(core);
    Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: None }.releasable_bytes()
}

/// Blocks of which all but each `stay`th are free again.
fn sieve(heap: &Heap, size: usize, count: usize, stay: usize) -> Vec<*mut u8> {
    let blocks: Vec<_> = (0..count).map(|_| heap.allocate(size)).collect();
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % stay == 0);
    for (_, block) in go {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    stay.into_iter().map(|(_, block)| block).collect()
}

fn free(heap: &Heap, blocks: Vec<*mut u8>) {
    // SAFETY: the blocks are ours.
    blocks.into_iter().for_each(|block| unsafe { heap.deallocate(block) });
}

#[test]
fn what_could_go_goes() {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        for size in [100_000, 700_000, 3 << 20, (5 << 20) + 70_000] {
            let mut config = Config::DEFAULT;
            config.page_heap = page_heap;
            let heap: Heap = Heap::with(config);
            let stay = sieve(&heap, size, 150, 4);
            // Caches are empty then, so that a release finds no more than what was free.
            heap.release(0);
            let before = releasable(&heap);
            let went = heap.release(usize::MAX) as u64;
            // Of a hugepage that is broken all that is free goes.
            assert!((before..before + HUGEPAGE_BYTES as u64).contains(&went), "{went} of {before}");
            free(&heap, stay);
        }
    }
}

#[test]
fn what_recent_demand_keeps_could_not_go_where_hugepages_would_break() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let of_hugepages = vec![heap.allocate(40 << 20)];
    let stay = sieve(&heap, 100_000, 400, 4);
    let core = heap.core().unwrap();
    let free_bytes = Snapshot::take(core).heap.page_heap.free_bytes;
    let kept = releasable(&heap);
    assert!(kept < free_bytes / 2, "{kept} of {free_bytes}: all of it was in use a moment ago");
    core.page_heap().set_skip_intervals(SkipIntervals::NONE);
    assert_eq!(releasable(&heap), free_bytes, "nobody looks at demand");
    free(&heap, stay);
    free(&heap, of_hugepages);
}
