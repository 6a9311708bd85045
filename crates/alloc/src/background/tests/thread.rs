//! The thread of a heap.

use super::{MIB, allocate_and_free};
use crate::{BackgroundThread, Config, Heap};
use core::sync::atomic::Ordering;

#[test]
fn a_heap_gets_a_thread_when_it_has_grown_and_loses_it_when_it_ends() {
    let heap: Heap = Heap::with(Config::parse(b"background_thread:true", |_| ()));
    allocate_and_free(&heap, 10, MIB);
    let core = heap.core().unwrap();
    assert!(!core.background_figures().has_thread, "10 MiB are small");
    allocate_and_free(&heap, 40, MIB);
    let figures = core.background_figures();
    assert_eq!((figures.has_thread, figures.thread_starts), (true, 1));
    let look_below_bytes = &core.background.fallen.look_below_bytes;
    look_below_bytes.store(u64::MAX, Ordering::Relaxed);
    allocate_and_free(&heap, 40, MIB);
    assert_eq!(core.background_figures().thread_starts, 1);
    assert_eq!(look_below_bytes.load(Ordering::Relaxed), 0, "frees leave it to the thread");
    drop(heap);
}

#[test]
fn a_small_heap_gets_a_thread_when_many_threads_of_the_program_have_ended() {
    let heap: Heap = Heap::with(Config::parse(b"background_thread:true", |_| ()));
    allocate_and_free(&heap, 2, MIB);
    let core = heap.core().unwrap();
    let ended = &core.threads.ended;
    ended.store(strata_upkeep::THREAD_FROM_ENDED_THREADS - 1, Ordering::Relaxed);
    allocate_and_free(&heap, 10, MIB);
    assert!(!core.background_figures().has_thread, "one is missing");
    ended.store(strata_upkeep::THREAD_FROM_ENDED_THREADS, Ordering::Relaxed);
    allocate_and_free(&heap, 10, MIB);
    assert!(core.background_figures().has_thread);
}

#[test]
fn a_heap_has_no_thread_unless_it_was_asked_for() {
    for config in [Config::DEFAULT, Config::parse(b"background_thread:false", |_| ())] {
        let heap: Heap = Heap::with(config);
        allocate_and_free(&heap, 40, MIB);
        assert!(!heap.core().unwrap().background_figures().has_thread);
        let asked = heap.start_background_thread();
        assert_eq!(asked, config.background_thread != BackgroundThread::Off);
    }
}

#[test]
fn heaps_with_threads_come_and_go() {
    for _ in 0..50 {
        let heap: Heap = Heap::with(Config::DEFAULT);
        assert!(heap.start_background_thread());
        allocate_and_free(&heap, 100, 1000);
    }
}
