//! The ledger against the kernel.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_types, reason = "a test may fail")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, Heap, PageHeapChoice};
use strata_stats::{Place, Reconciliation, reconcile};

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each_page_heap(run: impl Fn(&Heap)) {
    each_page_heap_with(Config::DEFAULT, run);
}

fn each_page_heap_with(mut config: Config, run: impl Fn(&Heap)) {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        eprintln!("{page_heap:?}");
        run(&heap);
    }
}

fn touch(block: *mut u8, bytes: usize) {
    // SAFETY: the caller's block, which is so long.
    unsafe { block.write_bytes(1, bytes) };
}

#[test]
fn every_step_of_a_program_agrees_with_the_kernel() {
    each_page_heap(|heap| {
        let mut blocks = Vec::new();
        let mut random = 11u64;
        for _ in 0..12 {
            for _ in 0..400 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let choice = (random >> 33) as usize;
                if choice % 7 < 4 || blocks.is_empty() {
                    let size = [100, 3000, 60_000, 400_000, 3 << 20][choice % 5] + choice % 1000;
                    let block = heap.allocate(size);
                    // Some are touched whole, some in part, some not.
                    touch(block, size * (choice / 64 % 3) / 2);
                    blocks.push((block, size));
                } else {
                    let (block, size) = blocks.swap_remove(choice % blocks.len());
                    // SAFETY: the block is ours, and this is what it was asked for with.
                    unsafe { heap.deallocate_sized(block, size, 1) };
                }
            }
            if random >> 60 < 4 {
                heap.release(5 << 20);
            }
            let kernel = reconcile(heap.core().unwrap());
            let spans = kernel.place(Place::Spans);
            assert_eq!(
                spans.found_bytes, spans.ledger_bytes,
                "the page map has all spans\n{kernel}"
            );
            assert!(kernel.agrees(), "{kernel}");
        }
        for (block, size) in blocks {
            // SAFETY: the block is ours, and this is what it was asked for with.
            unsafe { heap.deallocate_sized(block, size, 1) };
        }
    });
}

#[test]
fn what_was_never_touched_is_a_line_of_its_own() {
    each_page_heap(|heap| {
        let blocks = [(); 3].map(|()| heap.allocate(20 << 20));
        let untouched = reconcile(heap.core().unwrap()).place(Place::Spans).untouched_bytes();
        assert!(untouched >= 60 << 20, "nobody touched any of it");
        touch(blocks[1], 20 << 20);
        let kernel = reconcile(heap.core().unwrap());
        let spans = kernel.place(Place::Spans);
        // The kernel rounds to hugepages where it likes to.
        assert!(spans.resident_bytes >= 20 << 20, "{kernel}");
        assert!(spans.untouched_bytes() <= 40 << 20, "{kernel}");
        assert!(spans.untouched_bytes() >= 34 << 20, "{kernel}");
        for block in blocks {
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
    });
}

#[test]
fn what_was_given_back_is_not_in_memory() {
    each_page_heap(|heap| {
        let block = heap.allocate(30 << 20);
        touch(block, 30 << 20);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        heap.release(usize::MAX);
        let kernel = reconcile(heap.core().unwrap());
        assert!(kernel.pages_resident_bytes() < 8 << 20, "{kernel}");
        assert!(kernel.agrees(), "{kernel}");
    });
}

/// Whatever place the ledger counts wrongly, the kernel's figures are not what it comes to.
#[test]
fn a_ledger_that_counts_wrongly_does_not_agree() {
    // What is free is to be in memory: where nothing is, more of it could be what was never touched.
    let mut config = Config::DEFAULT;
    config.release_rate = 0;
    each_page_heap_with(config, |heap| {
        let blocks = [(); 20].map(|()| heap.allocate(1 << 20));
        for block in blocks {
            touch(block, 1 << 20);
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
        let kernel = reconcile(heap.core().unwrap());
        assert!(kernel.agrees(), "{kernel}");
        let right = serde_json::to_value(kernel).unwrap();
        for (place, field) in [
            ("spans", "ledger_bytes"),
            ("free_pages", "ledger_bytes"),
            ("free_pages", "ledger_mapped_bytes"),
            ("metadata", "ledger_mapped_bytes"),
            ("slabs", "ledger_mapped_bytes"),
            ("heap", "ledger_mapped_bytes"),
        ] {
            let mut wrong = right.clone();
            let figure = wrong[place][field].as_u64().unwrap();
            wrong[place][field] = (figure + (2 << 20)).into();
            let wrong: Reconciliation = serde_json::from_value(wrong).unwrap();
            assert!(!wrong.agrees(), "2 MiB too much of {place}: {wrong}");
        }
    });
}
