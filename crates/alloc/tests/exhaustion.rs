//! A page source that fails, at every call in turn.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test may fail, with std's locks"
)]

use std::sync::Mutex;
use strata_alloc::{Config, Heap, HeapConfig, SelectedPageHeap};
use strata_os::{FailingPages, Fault, MonotonicClock, SystemPages};
use strata_size_classes::Pages8K;

static PAGES: FailingPages<SystemPages> = FailingPages::new(SystemPages::new());
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A heap on [`PAGES`].
struct Failing;

impl HeapConfig for Failing {
    type Pages = Pages8K;
    type Source = FailingPages<SystemPages>;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static Self::Source {
        &PAGES
    }
    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

/// A program of all kinds of blocks; says how many it did not get.
fn program(heap: &Heap<Failing>) -> usize {
    let mut missing = 0;
    let mut blocks = Vec::new();
    for step in 0..120_usize {
        let size = [24, 200, 3000, 40_000, 300_000, 2 << 20][step % 6] + step;
        let align = [1, 16, 64, 1 << 13, 1 << 15][step % 5];
        let block = match step % 3 {
            0 => heap.allocate_aligned(size, align),
            1 => heap.allocate_zeroed(size, align),
            _ => heap.allocate_aligned(size, 1),
        };
        if block.is_null() {
            missing += 1;
            continue;
        }
        // SAFETY: the block is ours and this long.
        unsafe { block.write_bytes(step as u8, size.min(8192)) };
        blocks.push((block, size));
        if step % 7 == 0 {
            let (block, size) = blocks.swap_remove(step % blocks.len());
            // SAFETY: the block is ours.
            let grown = unsafe { heap.reallocate(block, 1, size * 3) };
            if grown.is_null() {
                missing += 1;
                // SAFETY: the block is ours still.
                unsafe { heap.deallocate(block) };
            } else {
                blocks.push((grown, size * 3));
            }
        }
        if step % 5 == 0 {
            let (block, _) = blocks.swap_remove(step % blocks.len());
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
    }
    if heap.core().is_some() {
        heap.release(1 << 20);
    }
    for (block, _) in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    missing
}

fn check_empty(heap: &Heap<Failing>, what: &str) {
    let Some(core) = heap.core() else { return };
    let figures = core.figures();
    assert_eq!(figures.in_use_bytes(), 0, "{what}");
    assert_eq!(figures.in_use_bytes_by_threads(), 0, "{what}");
    let pages = figures.page_heap;
    assert_eq!(
        pages.system_bytes,
        pages.in_use_bytes + pages.free_bytes + pages.unmapped_bytes,
        "{what}"
    );
}

fn options() -> [Config; 3] {
    ["page_heap:temeraire", "page_heap:legacy", "front_end:per_thread"]
        .map(|text| Config::parse(text.as_bytes(), |_| ()))
}

#[test]
fn any_single_call_may_fail() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    for config in options() {
        for n in 1.. {
            let heap: Heap<Failing> = Heap::with(config);
            PAGES.arm(Fault::nth(n));
            let before = PAGES.failures();
            program(&heap);
            let failed = PAGES.failures() > before;
            PAGES.disarm();
            check_empty(&heap, "after one failure");
            assert_eq!(program(&heap), 0, "memory is back after call {n} failed");
            check_empty(&heap, "after the failure has passed");
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn memory_may_run_out_at_any_call_and_come_back() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    for config in options() {
        for n in 1.. {
            let heap: Heap<Failing> = Heap::with(config);
            PAGES.arm(Fault::from_nth(n));
            let before = PAGES.failures();
            let missing = program(&heap);
            let failed = PAGES.failures() > before;
            assert!(n > 1 || missing > 0, "without any memory there is none");
            PAGES.disarm();
            check_empty(&heap, "while nothing could be had");
            assert_eq!(program(&heap), 0, "memory is back after all calls from {n} failed");
            check_empty(&heap, "after memory came back");
            if !failed {
                break;
            }
        }
    }
}
