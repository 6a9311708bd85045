mod caches;
mod falls;
mod growth;
mod inside_spans;
mod releases;
mod steps;
mod thread;

use crate::{Config, Core, FrontEnd, Heap, HeapConfig, SelectedPageHeap, WhyPerThread};
use core::sync::atomic::Ordering;
use std::vec::Vec;
use strata_os::{Clock, ManualClock, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::Pages8K;

const SECOND_NS: u64 = 1_000_000_000;
const MIB: usize = 1 << 20;

static CLOCKS: [ManualClock; 32] = [const { ManualClock::new(SECOND_NS) }; 32];

/// The standard heap, with time in our hands: a clock for each test.
struct Timed<const TEST: usize>;

impl<const TEST: usize> HeapConfig for Timed<TEST> {
    type Pages = Pages8K;
    type Source = SystemPages;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = ManualClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }
    fn clock() -> &'static ManualClock {
        &CLOCKS[TEST]
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

fn heap<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    Heap::with(Config::parse(options.as_bytes(), |complaint| std::panic!("{complaint}")))
}

/// A heap whose threads have words of their own. There are two sets of those in a program, and the tests
/// beside this one may have both for a while.
fn heap_with_words<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    loop {
        let heap = heap::<TEST>(options);
        allocate_and_free(&heap, 1, 100);
        let front_end = heap.core().unwrap().front_end();
        if !matches!(front_end, FrontEnd::PerThread(WhyPerThread::NoSlot)) {
            return heap;
        }
        drop(heap);
        std::thread::sleep(core::time::Duration::from_millis(1));
    }
}

fn allocate<C: HeapConfig>(heap: &Heap<C>, count: usize, size: usize) -> Vec<*mut u8> {
    let blocks: Vec<_> = (0..count).map(|_| heap.allocate(size)).collect();
    for &block in &blocks {
        // SAFETY: the block is ours and this long.
        unsafe { block.write_bytes(1, size) };
    }
    blocks
}

fn free<C: HeapConfig>(heap: &Heap<C>, blocks: Vec<*mut u8>) {
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}

fn allocate_and_free<C: HeapConfig>(heap: &Heap<C>, count: usize, size: usize) {
    free(heap, allocate(heap, count, size));
}

/// Lets `milliseconds` pass, with all the steps that a thread of the heap's own would do.
fn pass<C: HeapConfig<Clock = ManualClock>>(core: &Core<C>, milliseconds: u64) {
    let end_ns = C::clock().now_ns() + milliseconds * 1_000_000;
    while C::clock().now_ns() < end_ns {
        let now_ns = C::clock().now_ns();
        let due_ns = core.background_step(now_ns);
        C::clock().set(due_ns.clamp(now_ns, end_ns));
    }
}

/// A heap that had 64 MiB in large blocks, all of which were freed.
fn emptied<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    let heap = heap::<TEST>(options);
    allocate_and_free(&heap, 64, MIB);
    heap
}

fn released<C: HeapConfig>(core: &Core<C>) -> (u64, u64) {
    let released = core.page_heap().stats().released;
    (released.idle, released.policy)
}
