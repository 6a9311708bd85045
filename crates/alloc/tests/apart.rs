//! Where the first short blocks of a program lie, which threads may come to share.

use strata_alloc::{Config, FrontEnd, FrontEndChoice, Heap};

/// The lines of the processor's cache on which a row of fresh blocks begins. None where caches cannot be per CPU: those of
/// threads begin with one object, then two.
fn lines(bytes: usize) -> Option<Vec<usize>> {
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerCpu;
    let heap: Heap = Heap::with(config);
    let lines = (0..8).map(|_| heap.allocate(bytes).addr() / 64).collect();
    let front_end = heap.core().expect("it has blocks").figures().front_end;
    (!matches!(front_end, FrontEnd::PerThread(_))).then_some(lines)
}

#[test]
fn the_first_short_blocks_in_a_row_share_no_line_with_the_next() {
    for bytes in [8, 16, 24, 32, 48] {
        let Some(lines) = lines(bytes) else { return };
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{bytes} bytes: {lines:x?}");
    }
}

#[test]
fn the_first_four_short_blocks_have_a_line_each() {
    for bytes in [8, 16, 24, 32, 48] {
        let Some(mut lines) = lines(bytes) else { return };
        lines.truncate(4);
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4, "{bytes} bytes: {lines:x?}");
    }
}
