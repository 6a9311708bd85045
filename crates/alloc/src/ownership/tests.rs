use crate::{Config, Heap, Ownership, PageHeapChoice};
use std::vec::Vec;

#[test]
fn blocks_are_owned_until_their_span_goes() {
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        let other: Heap = Heap::with(config);
        for size in [1, 100, 5000, 300_000, 10 << 20] {
            let block = heap.allocate(size);
            assert_eq!(heap.ownership(block), Ownership::Owned, "{size}");
            assert_eq!(other.ownership(block), Ownership::NotOwned, "{size}");
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
        let large = heap.allocate(3 << 20);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(large) };
        assert_eq!(heap.ownership(large), Ownership::NotOwned);
        for strange in [0usize, 1, 4096, usize::MAX, 1 << 47, (1 << 47) - 1, 1 << 63] {
            let pointer = core::ptr::without_provenance(strange);
            assert_eq!(heap.ownership(pointer), Ownership::NotOwned, "{strange:#x}");
        }
    }
}

#[test]
fn live_spans_are_those_of_blocks() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let small: Vec<_> = (0..500).map(|_| heap.allocate(1000)).collect();
    let large = heap.allocate(2 << 20);
    let core = heap.core().unwrap();
    let (mut spans, mut last, mut bytes) = (Vec::new(), 0, 0);
    core.for_each_live_span(|range, object_bytes| {
        assert!(range.start >= last, "in order of addresses");
        last = range.end();
        bytes += range.bytes;
        spans.push((range, object_bytes));
    });
    assert_eq!(bytes as u64, strata_page_heap::PageHeap::stats(core.page_heap()).in_use_bytes);
    let of = |block: *mut u8| {
        let address = block.addr();
        spans.iter().find(|(range, _)| (range.start..range.end()).contains(&address)).copied()
    };
    let size = heap.rounded_size(1000, 1).unwrap();
    for block in small {
        assert_eq!(of(block).map(|(_, object_bytes)| object_bytes), Some(size));
    }
    let (range, object_bytes) = of(large).unwrap();
    assert_eq!((range.start, object_bytes), (large.addr(), range.bytes));
}
