//! Where the first short blocks of a program lie, which threads may come to share.

use strata_alloc::{Config, FrontEndChoice, Heap};

/// The lines of the processor's cache on which a row of fresh blocks begins.
fn lines(bytes: usize) -> Vec<usize> {
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerCpu;
    let heap: Heap = Heap::with(config);
    (0..8).map(|_| heap.allocate(bytes).addr() / 64).collect()
}

#[test]
fn the_first_short_blocks_in_a_row_share_no_line_with_the_next() {
    for bytes in [8, 16, 24, 32, 48] {
        let lines = lines(bytes);
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{bytes} bytes: {lines:x?}");
    }
}

#[test]
fn the_first_four_short_blocks_have_a_line_each() {
    for bytes in [8, 16, 24, 32, 48] {
        let mut lines = lines(bytes);
        lines.truncate(4);
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4, "{bytes} bytes: {lines:x?}");
    }
}
