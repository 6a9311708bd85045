use crate::{Config, FrontEndChoice, Heap, LimitKind, MemoryLimit, PageHeapChoice};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::vec::Vec;
use strata_page_heap::{MemoryLimits, PageHeap};

const MIB: usize = 1 << 20;

#[test]
fn what_is_set_before_the_first_block_is_in_force() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let limits = MemoryLimits { soft_bytes: 50 << 20, hard_bytes: 0 };
    assert!(
        heap.set_memory_limits(limits)
            && heap.set_release_rate(77)
            && heap.set_background_pause_ns(5)
    );
    assert_eq!(heap.memory_limits(), limits);
    assert_eq!((heap.config().release_rate, heap.background_pause_ns()), (77, 5));
    assert!(heap.set_release_rate(1 << 40) && heap.set_background_enabled(false));
    assert_eq!((heap.config().release_rate, heap.background_enabled()), (1 << 40, false));
}

#[test]
fn limits_of_the_configuration_are_known_before_the_first_block() {
    let mut config = Config::DEFAULT;
    config.memory_limit = MemoryLimit::Bytes(100 << 20);
    let heap: Heap = Heap::with(config);
    let limits = heap.memory_limits();
    assert_eq!(limits, MemoryLimits { soft_bytes: 0, hard_bytes: 100 << 20 });
    assert!(heap.set_memory_limits(MemoryLimits { soft_bytes: 50 << 20, ..limits }));
    assert_eq!(heap.memory_limits().hard_bytes, 100 << 20, "who sets the one keeps the other");
}

#[test]
fn two_threads_that_set_one_limit_each_at_the_same_moment_keep_the_other_ones() {
    const TIMES: u64 = 5_000;
    let heap: Heap = Heap::with(Config::DEFAULT);
    assert!(heap.set_background_enabled(false));
    let arrived = AtomicU64::new(0);
    let meet = |time: u64| {
        arrived.fetch_add(1, Ordering::Relaxed);
        while arrived.load(Ordering::Relaxed) < 2 * time {
            std::thread::yield_now();
        }
    };
    let lost = |which| {
        let times = (1..=TIMES).map(|time| {
            let bytes = time << 40;
            meet(2 * time - 1);
            assert!(heap.set_memory_limit(which, bytes));
            meet(2 * time);
            heap.memory_limits() != MemoryLimits { soft_bytes: bytes, hard_bytes: bytes }
        });
        times.filter(|is_lost| *is_lost).count()
    };
    std::thread::scope(|scope| {
        let hard = scope.spawn(|| lost(LimitKind::Hard));
        assert_eq!((lost(LimitKind::Soft), hard.join().unwrap()), (0, 0));
    });
}

#[test]
fn a_hard_limit_is_an_end_of_memory() {
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        assert!(heap.set_memory_limits(MemoryLimits { soft_bytes: 0, hard_bytes: 40 << 20 }));
        let blocks: Vec<_> =
            (0..100).map(|_| heap.allocate(MIB)).take_while(|block| !block.is_null()).collect();
        assert!((20..40).contains(&blocks.len()), "{page_heap:?}: {} MiB", blocks.len());
        let core = heap.core().unwrap();
        assert!(core.page_heap().stats().limits.hard_failures > 0);
        assert!(heap.set_memory_limits(MemoryLimits::NONE));
        assert!(!heap.allocate(50 * MIB).is_null());
    }
}

#[test]
fn what_is_free_above_a_limit_goes_when_it_is_set() {
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        for is_soft in [true, false] {
            let limits_of = |bytes| match is_soft {
                true => MemoryLimits { soft_bytes: bytes, hard_bytes: 0 },
                false => MemoryLimits { soft_bytes: 0, hard_bytes: bytes },
            };
            let mut config = Config::DEFAULT;
            config.page_heap = page_heap;
            let heap: Heap = Heap::with(config);
            assert!(heap.set_background_enabled(false));
            let blocks: Vec<_> = (0..64).map(|_| heap.allocate(MIB)).collect();
            for block in &blocks[1..] {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(*block) };
            }
            let core = heap.core().unwrap();
            let before = core.page_heap().stats();
            assert!(before.free_bytes > 32 << 20, "{page_heap:?}: {before:?}");
            assert!(heap.set_memory_limits(limits_of(256 << 20)));
            assert_eq!(core.page_heap().stats().released, before.released, "it is below that");
            assert!(heap.set_memory_limits(limits_of(16 << 20)));
            let after = core.page_heap().stats();
            let backed = strata_page_heap::limited_bytes(core, after.backed_bytes());
            assert!(backed <= 16 << 20, "{page_heap:?}: {after:?}");
            let released = after.released;
            assert_eq!((released.soft_limit > 0, released.hard_limit > 0), (is_soft, !is_soft));
            // Below what is in use nothing more can go, and nothing that is in use is lost.
            assert!(heap.set_memory_limits(limits_of(1)));
            assert_eq!(core.page_heap().stats().in_use_bytes, after.in_use_bytes);
            assert_eq!(core.page_heap().stats().limits.hard_failures, 0, "nobody asked");
        }
    }
}

#[test]
fn no_background_work_is_done_while_it_is_off() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    assert!(heap.set_background_enabled(false));
    let core = heap.core().unwrap();
    for second in 0..100 {
        core.background_step(second << 30);
    }
    assert_eq!(core.background_figures().steps, 0);
    assert!(heap.set_background_enabled(true));
    core.background_step(100 << 30);
    assert_eq!(core.background_figures().steps, 1);
}

#[test]
fn a_thread_of_the_program_s_own_does_the_work() {
    let mut config = Config::DEFAULT;
    config.background_thread = crate::BackgroundThread::Off;
    let heap: Heap = Heap::with(config);
    assert!(heap.set_release_rate(1));
    let core = heap.core().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| core.run_background(&stop));
        while core.background_figures().steps < 3 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn cpus_keep_to_a_limit_that_is_lowered_and_may_use_one_that_is_raised() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    // Else limits move in a test that takes seconds.
    assert!(heap.set_background_enabled(false));
    let round = |heap: &Heap| {
        for size in [64, 1000, 5000, 40_000] {
            let blocks: Vec<_> = (0..3 * MIB / size / 8).map(|_| heap.allocate(size)).collect();
            for block in blocks {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
    };
    for _ in 0..10 {
        round(&heap);
    }
    let core = heap.core().unwrap();
    if core.per_cpu().is_none() {
        return;
    }
    let most = || {
        let ids = 0..core.cpu_cache().ids();
        ids.map(|id| core.cpu_cache().cpu_stats(id))
            .filter(|stats| stats.populated)
            .fold((0, 0), |(limit, held), stats| {
                (stats.limit_bytes.max(limit), stats.held_bytes.max(held))
            })
    };
    assert_eq!(most().0, 3 << 19);
    let before = most().1;
    assert!(heap.set_max_per_cpu_cache_size(100_000));
    assert_eq!(heap.max_per_cpu_cache_size(), 100_000);
    assert!(most().1 <= 100_000 && most().0 <= 100_000, "{:?}, {before} before", most());
    round(&heap);
    assert!(most().1 <= 100_000, "{:?}", most());
    assert!(heap.set_max_per_cpu_cache_size(4 << 20));
    assert!(most().0 > 3 << 20, "{:?}", most());
    round(&heap);
    assert_eq!(core.figures().in_use_bytes(), 0);
}

/// A heap whose program has so much that a limit which follows it grows, once it is used. Says what the limit is then.
fn limit_of_a_large_program(config: Config) -> Option<usize> {
    let heap: Heap = Heap::with(config);
    let ids = heap.core_or_set_up()?.per_cpu()?.ids() as usize;
    if ids > 8 {
        // One that borrows from so many finds room for all that passes through it.
        return None;
    }
    let fill = |bytes: usize, size: usize| -> Vec<*mut u8> {
        (0..bytes / size).map(|_| heap.allocate(size)).collect()
    };
    let free = |blocks: Vec<*mut u8>| {
        // SAFETY: the blocks are ours.
        blocks.into_iter().for_each(|block| unsafe { heap.deallocate(block) });
    };
    let ballast = fill(8 * ids * (3 << 19), 128 << 10);
    for _ in 0..40 {
        for size in (1..=24).map(|step| step * 320) {
            free(fill(2 << 20, size));
        }
    }
    let limit = heap.max_per_cpu_cache_size();
    free(ballast);
    Some(limit)
}

#[test]
fn a_limit_that_was_given_holds_where_it_is_the_default_too() {
    const DEFAULT: usize = Config::DEFAULT.max_per_cpu_cache_size;
    for (text, grows) in [("", true), ("max_per_cpu_cache_size:1536K", false)] {
        let config = Config::parse(text.as_bytes(), |_| unreachable!("it can be understood"));
        let Some(limit) = limit_of_a_large_program(config) else { return };
        assert_eq!(limit > DEFAULT, grows, "{text:?}: {limit}");
    }
}

#[test]
fn one_cpu_s_cache_is_emptied() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    // SAFETY: the blocks are ours.
    (0..100).for_each(|_| unsafe { heap.deallocate(heap.allocate(500)) });
    let core = heap.core().unwrap();
    let ids = core.cpu_cache().ids();
    let held: u64 = (0..ids).map(|id| core.cpu_cache().cpu_stats(id).held_bytes).sum();
    let went: u64 = (0..ids).map(|id| heap.release_cpu(id)).sum();
    assert_eq!(went, held);
    assert_eq!(core.figures().cpu.held_bytes, 0);
    assert_eq!(heap.release_cpu(u32::MAX), 0);
}

#[test]
fn caches_of_threads_have_a_limit_that_can_be_set() {
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerThread;
    let heap: Heap = Heap::with(config);
    assert_eq!(heap.max_total_thread_cache_bytes(), 32 << 20);
    assert!(heap.set_max_total_thread_cache_bytes(5 << 20));
    assert_eq!(heap.max_total_thread_cache_bytes(), 5 << 20);
    assert!(!heap.set_max_per_cpu_cache_size(5 << 20), "there are none");
}
