//! What goes back in time, and when nothing is left to do.

use super::{
    CLOCKS, MIB, SECOND_NS, allocate, allocate_and_free, emptied, free, heap, pass, released,
};
use core::sync::atomic::Ordering;
use strata_page_heap::PageHeap;

#[test]
fn what_nobody_wants_goes_back_after_the_delay_and_not_before() {
    for page_heap in ["temeraire", "legacy"] {
        let options = std::format!("page_heap:{page_heap},release_rate:0,release_delay:9s");
        let heap = heap::<2>(&options);
        let blocks = allocate(&heap, 64, MIB);
        let core = heap.core().unwrap();
        pass(core, 20_000);
        free(&heap, blocks);
        let before = core.page_heap().stats();
        pass(core, 8_000);
        assert_eq!(released(core), (0, 0), "{page_heap}");
        pass(core, 6_000);
        assert_eq!(released(core).1, 0);
        let after = core.page_heap().stats();
        assert!(after.free_bytes <= 3 * MIB as u64, "{page_heap}: {before:?} {after:?}");
    }
}

#[test]
fn what_is_wanted_again_and_again_stays() {
    let heap = heap::<3>("release_rate:0,release_delay:3s");
    for _ in 0..30 {
        allocate_and_free(&heap, 64, MIB);
        pass(heap.core().unwrap(), 1_000);
    }
    let core = heap.core().unwrap();
    assert_eq!(released(core), (0, 0), "each second wants all of it");
    pass(core, 10_000);
    assert!(released(core).0 >= 60 * MIB as u64);
}

#[test]
fn the_rate_holds_whatever_is_wanted() {
    let heap = heap::<4>("release_rate:4M,release_delay:never");
    let kept = allocate(&heap, 64, MIB);
    let core = heap.core().unwrap();
    pass(core, 1_000);
    free(&heap, kept);
    pass(core, 5_000);
    let (idle, policy) = released(core);
    let mib = policy as usize / MIB;
    assert_eq!(idle, 0);
    assert!((14..=30).contains(&mib), "{mib} MiB in five seconds");
}

#[test]
fn never_is_never() {
    let heap = emptied::<5>("release_rate:0,release_delay:never");
    let core = heap.core().unwrap();
    pass(core, 100_000);
    assert_eq!(released(core), (0, 0));
}

#[test]
fn a_heap_at_rest_is_left_alone_until_somebody_misses() {
    let heap = emptied::<7>("release_delay:1s");
    let core = heap.core().unwrap();
    pass(core, 20_000);
    assert!(core.background.at_rest.load(Ordering::Relaxed));
    let steps = core.background_figures().steps;
    pass(core, 30_000);
    assert_eq!(core.background_figures().steps, steps, "nothing to do");
    allocate_and_free(&heap, 64, MIB);
    assert!(!core.background.at_rest.load(Ordering::Relaxed));
    pass(core, 20_000);
    assert!(core.page_heap().stats().free_bytes <= 3 * MIB as u64);
}

#[test]
fn slow_paths_do_it_where_no_thread_does() {
    let heap = emptied::<8>("release_rate:0,release_delay:1s,background_thread:false");
    let core = heap.core().unwrap();
    // Small blocks that miss from time to time.
    for _ in 0..400 {
        CLOCKS[8].advance(SECOND_NS / 20);
        allocate_and_free(&heap, 1000, 3000);
    }
    let stats = core.page_heap().stats();
    assert!(stats.released.idle > 0 && stats.free_bytes <= 6 * MIB as u64, "{stats:?}");
    assert!(!core.background_figures().has_thread);
}

#[test]
fn a_clock_that_jumps_back_does_not_stop_the_steps() {
    let heap = heap::<1>("");
    CLOCKS[1].set(1000 * SECOND_NS);
    allocate_and_free(&heap, 3000, 3000);
    let core = heap.core().unwrap();
    pass(core, 1000);
    let before = core.background_figures().steps;
    CLOCKS[1].set(SECOND_NS);
    for _ in 0..10 {
        CLOCKS[1].advance(SECOND_NS);
        allocate_and_free(&heap, 3000, 3000);
    }
    assert!(core.background_figures().steps >= before + 5);
    // What is idle by the new time goes back.
    pass(core, 10_000);
    let stats = core.page_heap().stats();
    assert!(stats.free_bytes <= 2 * MIB as u64, "{stats:?}");
}
