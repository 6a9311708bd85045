//! Where blocks lie that are allocated one after another.

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
