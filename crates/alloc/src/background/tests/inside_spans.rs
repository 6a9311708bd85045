//! Kernel pages inside of spans.

use super::{allocate, free, heap, pass};
use core::sync::atomic::Ordering;
use std::vec::Vec;

#[test]
fn kernel_pages_inside_of_spans_go_back_when_nobody_wants_them() {
    let heap = heap::<10>("release_rate:0,release_delay:3s");
    let mut blocks = allocate(&heap, 12_000, 512);
    // One in sixteen survives, on every span one.
    let survivors: Vec<_> = blocks.iter().copied().step_by(16).collect();
    let mut index = 0;
    blocks.retain(|_| {
        index += 1;
        index % 16 != 1
    });
    free(&heap, blocks);
    let core = heap.core().unwrap();
    let before = core.figures();
    pass(core, 2_000);
    assert_eq!(core.background_figures().swept_bytes, 0, "before the delay");
    pass(core, 10_000);
    let after = core.figures();
    let swept = after.background.swept_bytes;
    assert_eq!(after.middle.released_bytes, swept);
    assert!(swept >= before.middle.span_bytes / 3, "{swept} of {}", before.middle.span_bytes);
    assert_eq!(after.in_use_bytes(), before.in_use_bytes());
    assert_eq!(after.in_use_bytes(), after.in_use_bytes_by_threads());
    pass(core, 20_000);
    assert!(core.background.at_rest.load(Ordering::Relaxed), "what cannot go is left alone");
    for &block in &survivors {
        // SAFETY: the block is ours, and was filled.
        let bytes = unsafe { core::slice::from_raw_parts(block, 512) };
        assert!(bytes.iter().all(|&byte| byte == 1));
    }
    // What is wanted again counts as backed again.
    let again = allocate(&heap, 9_000, 512);
    assert!(core.figures().middle.released_bytes < swept / 2);
    free(&heap, again);
    free(&heap, survivors);
}

#[test]
fn what_is_inside_of_spans_stays_if_it_is_to_or_wanted_again_and_again() {
    let stays = heap::<12>("release_rate:0,release_delay:3s");
    let heap = heap::<11>("release_rate:0,release_delay:3s,release_inside_spans:false");
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (index, block) in allocate(&heap, 12_000, 512).into_iter().enumerate() {
        if index % 16 == 0 { kept.push(block) } else { gone.push(block) }
    }
    free(&heap, gone);
    let mut others = Vec::new();
    for _ in 0..8 {
        // Each second wants all of it.
        let (mut most, mut few) = (Vec::new(), Vec::new());
        for (index, block) in allocate(&stays, 12_000, 512).into_iter().enumerate() {
            if index % 300 == 0 { few.push(block) } else { most.push(block) }
        }
        free(&stays, most);
        others.extend(few);
        pass(stays.core().unwrap(), 1_000);
    }
    pass(heap.core().unwrap(), 20_000);
    assert_eq!(heap.core().unwrap().background_figures().swept_bytes, 0);
    assert_eq!(stays.core().unwrap().background_figures().swept_bytes, 0);
    free(&heap, kept);
    free(&stays, others);
}
