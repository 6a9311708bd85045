//! Where blocks lie that are allocated one after another, or anew.

// Two tests at most, each with one heap at a time: threads have words for two.

use strata_alloc::{Config, FrontEndChoice, Heap};

const BLOCKS: usize = 5000;

/// How many of a row of fresh blocks begin where the one before them ends.
fn neighbours(front_end: FrontEndChoice, bytes: usize) -> usize {
    let mut config = Config::DEFAULT;
    config.front_end = front_end;
    let heap: Heap = Heap::with(config);
    let blocks: Vec<_> = (0..BLOCKS).map(|_| heap.allocate(bytes).addr()).collect();
    blocks.windows(2).filter(|pair| pair[1] == pair[0] + bytes).count()
}

#[test]
fn fresh_blocks_in_a_row_lie_upwards_side_by_side() {
    for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
        for bytes in [16, 32, 96, 512] {
            let count = neighbours(front_end, bytes);
            // Where a span ends, and where the thread goes to another CPU, there is a gap.
            assert!(count > BLOCKS * 3 / 4, "{front_end:?}, {bytes} bytes: {count}");
        }
    }
}

#[test]
fn what_a_block_leaves_that_grows_alone_is_at_hand_in_its_thread_s_cache() {
    let config = b"front_end:per_thread,background_thread:false";
    let heap: Heap = Heap::with(Config::parse(config, |_| ()));
    // SAFETY: the blocks are the test's own, and given up.
    let free = |block| unsafe { heap.deallocate(block) };
    // SAFETY: the blocks are the test's own, and given up.
    let bytes = |block| unsafe { heap.usable_size(block) } as u64;
    let held = || heap.core().expect("it has blocks").figures().thread_caches.held_bytes;
    // The cache has one of the longer ones, and none of the shorter.
    free(heap.allocate(5000));
    let block = heap.allocate(3000);
    let (before, short) = (held(), bytes(block));
    // SAFETY: the blocks are the test's own, and given up.
    let grown = unsafe { heap.reallocate(block, 16, 5000) };
    assert_eq!(held() + bytes(grown), before + short);
    assert_eq!(heap.allocate(3000), block);
    free(grown);
    free(block);
}
