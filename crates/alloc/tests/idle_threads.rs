//! Threads that are idle keep nothing, and come back.

use std::{
    sync::{Barrier, Mutex, MutexGuard, PoisonError},
    thread,
};
use strata_alloc::{Config, FrontEnd, FrontEndChoice, Heap};

/// One test at a time: threads keep words for two heaps.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn per_thread() -> Heap {
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerThread;
    Heap::with(config)
}

/// Allocates and frees blocks of many sizes.
fn work(heap: &Heap) {
    let blocks: Vec<_> = (1..200).map(|number| (heap.allocate(number * 37), number * 37)).collect();
    for (block, size) in blocks {
        assert!(!block.is_null());
        // SAFETY: the block is ours, of this size.
        unsafe { heap.deallocate_sized(block, size, 1) };
    }
}

#[test]
fn an_idle_thread_holds_nothing_and_claims_nothing() {
    let _alone = alone();
    let heap = per_thread();
    work(&heap);
    let core = heap.core().expect("blocks were had");
    assert!(core.figures().thread_caches.held_bytes > 0);
    assert!(core.figures().thread_caches.claimed_bytes > 0);
    heap.mark_idle();
    let caches = core.figures().thread_caches;
    assert_eq!((caches.caches, caches.held_bytes, caches.claimed_bytes), (0, 0, 0));
    assert_eq!(core.figures().threads.threads, 1, "the thread is known all the same");
    heap.mark_idle();
    assert_eq!(core.figures().thread_caches.caches, 0, "twice is once");
    assert_eq!(core.figures().in_use_bytes(), 0);
}

#[test]
fn a_thread_that_is_busy_again_has_a_cache_at_once_and_one_that_allocates_has_one_too() {
    let _alone = alone();
    let heap = per_thread();
    work(&heap);
    let core = heap.core().expect("blocks were had");
    heap.mark_idle();
    heap.mark_busy();
    assert_eq!(core.figures().thread_caches.caches, 1);
    heap.mark_busy();
    assert_eq!(core.figures().thread_caches.caches, 1);
    heap.mark_idle();
    work(&heap);
    let caches = core.figures().thread_caches;
    assert_eq!(caches.caches, 1);
    assert!(caches.held_bytes > 0);
    let figures = core.figures();
    assert_eq!(figures.in_use_bytes(), figures.in_use_bytes_by_threads());
}

#[test]
fn what_idle_threads_gave_back_serves_others_and_they_end_in_good_order() {
    let _alone = alone();
    let heap = per_thread();
    let (idle, over) = (Barrier::new(9), Barrier::new(9));
    thread::scope(|scope| {
        let begin = |number: u32| {
            let (heap, idle, over) = (&heap, &idle, &over);
            scope.spawn(move || {
                work(heap);
                heap.mark_idle();
                idle.wait();
                over.wait();
                // Some end idle, some come back first.
                if number.is_multiple_of(2) {
                    work(heap);
                }
            })
        };
        let threads: Vec<_> = (0..8).map(begin).collect();
        idle.wait();
        let core = heap.core().expect("blocks were had");
        let figures = core.figures();
        over.wait();
        // Joined, since a scope ends before its threads' destructors have run.
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!((figures.thread_caches.caches, figures.threads.threads), (0, 8));
    });
    let core = heap.core().expect("blocks were had");
    let figures = core.figures();
    assert_eq!((figures.thread_caches.caches, figures.threads.threads), (0, 0));
    assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
}

#[test]
fn where_caches_are_per_cpu_idle_threads_change_nothing() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    heap.mark_idle();
    heap.mark_busy();
    assert!(heap.core().is_none(), "a heap without a block is not set up for this");
    work(&heap);
    let core = heap.core().expect("blocks were had");
    if !matches!(core.front_end(), FrontEnd::PerCpu(_)) {
        return;
    }
    heap.mark_idle();
    work(&heap);
    heap.mark_busy();
    assert_eq!(core.figures().thread_caches.caches, 0);
    assert_eq!(core.figures().in_use_bytes(), 0);
}
