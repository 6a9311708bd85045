//! Heaps that grow beyond what they ever had while most of it is free.

use super::*;

/// A heap of 40 MiB of which four in five spans went, though wanted a moment before, and the blocks that stay: too many
/// for a heap that fell. What is free is too short for longer spans.
fn with_holes<const TEST: usize>(options: &str) -> (Heap<Timed<TEST>>, Vec<*mut u8>) {
    let heap = heap::<TEST>(options);
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (index, block) in allocate(&heap, 1280, 32 << 10).into_iter().enumerate() {
        if index % 5 == 0 { kept.push(block) } else { gone.push(block) }
    }
    CLOCKS[TEST].advance(SECOND_NS / 5);
    free(&heap, gone);
    (heap, kept)
}

/// Takes 12 MiB of longer blocks. Says how many bytes behind the heap were the most before and after that; nothing
/// where caches run per thread, and what they hold counts as in use.
fn grow<const TEST: usize>(options: &str) -> Option<(u64, u64)> {
    let (heap, mut kept) = with_holes::<TEST>(options);
    let page_heap = heap.core().unwrap().page_heap();
    let before = page_heap.stats().peak_backed_bytes;
    kept.extend(allocate(&heap, 24, 512 << 10));
    let after = page_heap.stats().peak_backed_bytes;
    for &block in &kept {
        // SAFETY: the block is ours, and was filled.
        let bytes = unsafe { core::slice::from_raw_parts(block, 32 << 10) };
        assert!(bytes.iter().all(|&byte| byte == 1));
    }
    free(&heap, kept);
    heap.core().unwrap().per_cpu().map(|_| (before, after))
}

#[test]
fn a_heap_of_which_most_is_free_gives_back_what_it_grows_by() {
    const MOST: u64 = 8 * MIB as u64;
    let Some((before, after)) = grow::<29>("") else { return };
    assert!(after < before + MOST, "from {before} to {after}");
    for options in ["release_rate:0", "release_delay:never"] {
        let (before, after) = grow::<30>(options).unwrap();
        assert!(after > before + MOST, "{options}: from {before} to {after}");
    }
}

#[test]
fn what_cpus_caches_hold_goes_along() {
    let (heap, mut kept) = with_holes::<31>("");
    let core = heap.core().unwrap();
    if core.per_cpu().is_none() {
        return;
    }
    for _ in 0..8 {
        allocate_and_free(&heap, 2_000, 1000);
    }
    let before = core.bytes_in_cpu_caches();
    kept.extend(allocate(&heap, 24, 512 << 10));
    let after = core.bytes_in_cpu_caches();
    assert!(after < before / 2, "from {before} to {after}");
    free(&heap, kept);
}
