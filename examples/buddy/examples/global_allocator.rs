//! A program all of whose memory comes from the buddy system: `cargo run --package strata-example-buddy --example
//! global_allocator`.

use std::collections::BTreeMap;
use strata_alloc::{Heap, HeapConfig};
use strata_example_buddy::BuddyPageHeap;
use strata_os::{MonotonicClock, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::Pages8K;

/// What the heap is made of.
struct OnBuddies;

impl HeapConfig for OnBuddies {
    type Pages = Pages8K;
    type Source = SystemPages;
    type PageHeap = BuddyPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
}

#[global_allocator]
static HEAP: Heap<OnBuddies> = Heap::new();

fn main() {
    let words: BTreeMap<usize, String> =
        (0..200_000).map(|number| (number, format!("the number {number}"))).collect();
    let large: Vec<Vec<u8>> = (1..20).map(|mib| vec![7; mib << 20]).collect();
    show("with everything");
    drop(words);
    drop(large);
    HEAP.release(usize::MAX);
    show("with nothing");
}

fn show(when: &str) {
    let Some(core) = HEAP.core() else { return };
    let stats = core.page_heap().stats();
    println!(
        "{when}: {} MiB in spans, {} MiB free, {} MiB unmapped",
        stats.in_use_bytes >> 20,
        stats.free_bytes >> 20,
        stats.unmapped_bytes >> 20
    );
    let blocks = core.page_heap().figures(core);
    for (order, (backed, unbacked)) in
        blocks.backed_blocks.iter().zip(blocks.unbacked_blocks).enumerate()
    {
        if backed + unbacked > 0 {
            println!("  blocks of {} MiB: {backed} backed, {unbacked} not", 2 << order);
        }
    }
}
