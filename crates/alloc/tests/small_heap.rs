//! What the heap of a small program keeps of its own structure in memory.

use strata_alloc::{Config, Heap};
use strata_os::{PageSource, SystemPages};

/// Blocks of 13 classes that do not follow each other, each once.
const SQUARES: core::ops::Range<usize> = 1..14;

/// Of the structure, of some 280 KiB: pages of 4 KiB. Where each class lies where its number says, they are more.
const PAGES: usize = 14;

#[test]
fn the_structure_of_a_heap_of_few_classes_is_on_few_pages() {
    static HEAP: Heap = Heap::with(Config::DEFAULT);
    for root in SQUARES {
        let block = HEAP.allocate(root * root * 24);
        assert!(!block.is_null());
        // SAFETY: the block came from this heap a line above, and nobody has it any more.
        unsafe { HEAP.deallocate(block) };
    }
    let core = HEAP.core().expect("it has had blocks");
    let residency = SystemPages::new().residency(core.own_range()).expect("the kernel says");
    let pages = residency.resident_bytes / 4096;
    assert!((1..=PAGES).contains(&pages), "{pages} pages of the heap's structure in memory");
}
