use super::{PROPERTIES, property};
use crate::{PageHeapKind, Snapshot};
use std::vec::Vec;
use strata_alloc::{Config, Heap};

#[test]
fn each_name_is_there_once_and_answered_singly() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let blocks: Vec<_> = (0..5000).map(|round| heap.allocate(round * 31 % 100_000)).collect();
    for block in blocks.into_iter().step_by(2) {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    let snapshot = Snapshot::take(heap.core().expect("used"));
    let kind = PageHeapKind::HugePageAware;
    for (index, each) in PROPERTIES.iter().enumerate() {
        assert!(PROPERTIES.iter().skip(index + 1).all(|other| other.name != each.name));
        assert_eq!(
            property(each.name, &snapshot, kind),
            Some(each.of(&snapshot, kind)),
            "{}",
            each.name
        );
    }
    let read = |name| property(name, &snapshot, kind).expect("there is such a name");
    let physical = read("generic.physical_memory_used");
    assert_eq!(
        read("generic.current_allocated_bytes") + read("tcmalloc.external_fragmentation_bytes"),
        physical
    );
    assert_eq!(read("tcmalloc.required_bytes") + read("tcmalloc.page_heap_free"), physical);
    assert_eq!(physical + read("tcmalloc.page_heap_unmapped"), read("generic.virtual_memory_used"));
    assert_eq!(read("tcmalloc.desired_usage_limit_bytes"), u64::MAX);
    assert!(read("generic.peak_memory_usage") >= read("generic.heap_size"));
}
