//! Threads that are idle keep nothing, and come back.

use core::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};
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

/// Lets so many seconds pass for the background work, whatever the clock says.
fn pass(heap: &Heap, now_ns: &mut u64, seconds: u64) {
    let core = heap.core().expect("blocks were had");
    for _ in 0..seconds {
        *now_ns += 1_000_000_000;
        // Each task has its turn.
        for _ in 0..20 {
            core.background_step(*now_ns);
        }
    }
}

/// Whether the kernel has what the loss of an idle thread's cache needs.
fn caches_can_be_taken() -> bool {
    strata_sync::asymmetric::prepare_heavy_fence()
}

#[test]
fn threads_that_wait_lose_their_caches_to_the_background_work() {
    let _alone = alone();
    if !caches_can_be_taken() {
        return;
    }
    let heap = per_thread();
    let (idle, over) = (Barrier::new(41), Barrier::new(41));
    let mut now_ns = 1_000_000_000;
    thread::scope(|scope| {
        let begin = |_| {
            scope.spawn(|| {
                work(&heap);
                idle.wait();
                over.wait();
                work(&heap);
            })
        };
        let threads: Vec<_> = (0..40).map(begin).collect();
        idle.wait();
        let core = heap.core().expect("blocks were had");
        let before = core.figures();
        assert_eq!(before.thread_caches.caches, 40);
        pass(&heap, &mut now_ns, 60);
        let figures = core.figures();
        over.wait();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(before.thread_caches.held_bytes > 0);
        assert_eq!((figures.thread_caches.caches, figures.thread_caches.held_bytes), (0, 0));
        assert_eq!(figures.threads.threads, 40, "they are known all the same");
    });
    let figures = heap.core().expect("blocks were had").figures();
    assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
}

#[test]
fn caches_may_be_taken_at_any_moment_of_threads_that_come_and_go_work_and_pause() {
    let _alone = alone();
    if !caches_can_be_taken() {
        return;
    }
    let heap = per_thread();
    work(&heap);
    let (stop, lives) = (AtomicBool::new(false), AtomicUsize::new(0));
    let taken = thread::scope(|scope| {
        for number in 0..4 {
            let (heap, stop, lives) = (&heap, &stop, &lives);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let lived = thread::scope(|scope| {
                        scope
                            .spawn(move || {
                                for _ in 0..5 {
                                    work(heap);
                                    thread::sleep(Duration::from_micros(40 * number));
                                }
                            })
                            .join()
                    });
                    lived.expect("no panic");
                    lives.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (core, mut now_ns) = (heap.core().expect("blocks were had"), 1_000_000_000);
        let mut most = 0;
        for passes in 0..1_000_000 {
            // More than these where threads get no CPU meanwhile.
            if passes >= 3000 && most > 0 && lives.load(Ordering::Relaxed) > 0 {
                break;
            }
            let before = core.background_figures().drained_bytes;
            pass(&heap, &mut now_ns, 1);
            most = most.max(core.background_figures().drained_bytes - before);
        }
        stop.store(true, Ordering::Relaxed);
        most
    });
    assert!(taken > 0 && lives.load(Ordering::Relaxed) > 0);
    heap.mark_idle();
    let figures = heap.core().expect("blocks were had").figures();
    assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
    assert_eq!(figures.thread_caches.held_bytes, 0, "what was taken and what ended is nowhere");
}
