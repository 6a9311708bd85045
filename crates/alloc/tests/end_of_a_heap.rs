//! The end of a heap, in a process in which nobody else maps memory or has the threads' words.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::thread;
use strata_alloc::{Config, FrontEnd, Heap, WhyPerThread};

#[test]
fn a_heap_that_ends_gives_its_words_and_all_its_memory_back() {
    let mapped = || strata_os::process_memory().unwrap().mapped_bytes;
    // The first round maps what the process keeps: thread stacks, the exit key.
    let mut after_first = 0;
    for round in 0..20 {
        let heap: Heap = Heap::with(Config::DEFAULT);
        let blocks: Vec<usize> =
            fill(&heap, 500).into_iter().map(<*mut u8>::expose_provenance).collect();
        let front_end = heap.core().unwrap().front_end();
        assert_ne!(front_end, FrontEnd::PerThread(WhyPerThread::NoSlot), "round {round}");
        thread::scope(|scope| {
            scope.spawn(|| drop(fill(&heap, 100))).join().unwrap();
        });
        assert_eq!(heap.core().unwrap().thread_stats().threads, 1);
        drop(blocks);
        drop(heap);
        if round == 0 {
            after_first = mapped();
        }
    }
    let grown = mapped().saturating_sub(after_first);
    assert!(grown < 16 << 20, "{grown} bytes stay mapped after 19 heaps");
}

fn fill(heap: &Heap, count: usize) -> Vec<*mut u8> {
    let fill_one = |index: usize| {
        let size = index * 37 % 3000;
        let block = heap.allocate(size);
        assert!(!block.is_null());
        // SAFETY: the block is ours and this long.
        unsafe { block.write_bytes(index as u8, size) };
        block
    };
    (0..count).map(fill_one).collect()
}
