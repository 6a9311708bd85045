//! Caches that nobody uses.

use super::{CLOCKS, SECOND_NS, allocate_and_free, heap, heap_with_words, pass};
use strata_size_classes::{PageSize, Pages8K};

#[test]
fn what_lies_in_transfer_caches_goes_back_in_time() {
    let heap = heap::<0>("");
    // Only the transfer cache has such objects: what a CPU's cache had would come down later, when the thread has moved on.
    std::thread::scope(|scope| {
        scope.spawn(|| allocate_and_free(&heap, 5000, 500)).join().unwrap();
    });
    let core = heap.core().unwrap();
    if let Some(cpus) = core.per_cpu() {
        for id in 0..cpus.used_ids() {
            cpus.drain(&core.source_of_objects(), id).unwrap();
        }
    }
    let class = Pages8K::TABLE.entry(500).unwrap().class();
    let before = core.middle().class_stats(class).transfer.used;
    assert!(before > 0, "the burst left objects in the transfer cache");
    // Another size keeps missing while seconds go by.
    for _ in 0..80 {
        CLOCKS[0].advance(SECOND_NS / 2);
        allocate_and_free(&heap, 3000, 3000);
    }
    let after = core.middle().class_stats(class).transfer;
    assert_eq!(after.used, 0, "{after:?}");
    assert_eq!(core.figures().in_use_bytes(), 0);
}

#[test]
fn caches_of_cpus_that_nobody_uses_are_emptied() {
    let heap = heap_with_words::<6>("");
    allocate_and_free(&heap, 2000, 100);
    let core = heap.core().unwrap();
    let held = core.figures().cpu.held_bytes;
    if core.per_cpu().is_none() {
        return;
    }
    assert!(held > 0);
    for _ in 0..5 {
        pass(core, 1_000);
        // In use, without a miss.
        allocate_and_free(&heap, 1, 100);
    }
    assert!(core.figures().cpu.held_bytes > 0, "a cache in use is left alone");
    pass(core, 5_000);
    let figures = core.figures();
    assert_eq!((figures.cpu.held_bytes, figures.middle.transfer_bytes), (0, 0));
    assert!(core.background_figures().drained_bytes >= held);
}

#[test]
fn threads_that_are_idle_lose_their_caches_and_those_that_work_keep_theirs() {
    let heap = heap_with_words::<13>("front_end:per_thread,release_delay:2s");
    allocate_and_free(&heap, 200, 100);
    let core = heap.core().unwrap();
    let caches = || core.figures().thread_caches;
    if !strata_sync::asymmetric::prepare_heavy_fence() {
        return;
    }
    assert!(caches().held_bytes > 0);
    for _ in 0..5 {
        pass(core, 1_000);
        // In use, without a miss.
        allocate_and_free(&heap, 1, 100);
    }
    assert!(caches().held_bytes > 0, "a cache in use is left alone");
    let held = caches().held_bytes;
    pass(core, 5_000);
    assert_eq!((caches().caches, caches().held_bytes, caches().claimed_bytes), (0, 0, 0));
    assert!(core.background_figures().drained_bytes >= held);
    assert_eq!(core.figures().in_use_bytes(), 0);
    // And back.
    allocate_and_free(&heap, 200, 100);
    assert_eq!(caches().caches, 1);
    assert_eq!(core.figures().in_use_bytes(), core.figures().in_use_bytes_by_threads());
}
