//! What must hold of a heap's figures when nothing is underway.

use strata_alloc::{Heap, HeapConfig};
use strata_page_heap::PageHeap;
use strata_size_classes::PageSize;

/// The figures add up to the byte, and the bytes in use are `expected`, counted at the layers and at the
/// threads.
pub(crate) fn check<C: HeapConfig>(heap: &Heap<C>, expected: u64) {
    let Some(core) = heap.core() else {
        assert_eq!(expected, 0);
        return;
    };
    let figures = core.figures();
    assert_eq!(figures.in_use_bytes(), expected, "in use, counted at the layers: {figures:#?}");
    assert_eq!(figures.in_use_bytes_by_threads(), expected, "in use, counted at the threads");

    let page_heap = figures.page_heap;
    assert_eq!(
        page_heap.system_bytes,
        page_heap.in_use_bytes + page_heap.free_bytes + page_heap.unmapped_bytes,
        "every page of the page heap is in use, free or unmapped: {page_heap:#?}"
    );
    assert!(page_heap.system_bytes <= page_heap.reserved_bytes, "{page_heap:#?}");
    let mut reserved = 0;
    core.page_heap().for_each_reservation(|range| reserved += range.bytes as u64);
    assert_eq!(reserved, page_heap.reserved_bytes, "reservations");

    let middle = figures.middle;
    assert_eq!(middle.span_bytes, middle.out_bytes + middle.central_bytes, "spans: {middle:#?}");
    assert!(middle.span_bytes <= page_heap.in_use_bytes);

    let mut by_class = 0;
    for class in C::Pages::TABLE.classes() {
        let stats = core.middle().class_stats(class);
        let cached = core.cached_objects(class) + stats.transfer.used;
        assert!(
            cached <= stats.central.objects_out,
            "caches hold more than spans handed out: {stats:#?}"
        );
        by_class += (stats.central.objects_out - cached) * stats.object_bytes;
    }
    let large = page_heap.in_use_bytes - middle.span_bytes;
    assert_eq!(by_class + large, expected, "in use, summed over the classes");

    let arena = figures.arena;
    assert_eq!(
        arena.reserved_bytes,
        arena.allocated_bytes + arena.unallocated_bytes + arena.unavailable_bytes,
        "every metadata byte is handed out, to be had, or left over: {arena:#?}"
    );
    for id in 0..core.cpu_cache().ids() {
        let cpu = core.cpu_cache().cpu_stats(id);
        assert_eq!(
            cpu.capacity_bytes + cpu.available_bytes,
            cpu.granted_bytes,
            "capacity of CPU {id} is conserved: {cpu:#?}"
        );
        assert!(cpu.granted_bytes <= cpu.limit_bytes, "{cpu:#?}");
        assert!(cpu.held_bytes <= cpu.capacity_bytes, "{cpu:#?}");
    }
}
