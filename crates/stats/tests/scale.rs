//! What a snapshot of a large heap costs: `cargo test --profile matrix -p strata-stats --test scale -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::time::Instant;
use strata_alloc::{Config, Heap, PageHeapChoice};
use strata_cpu_cache::{CpuCache, IdKind, Setup};
use strata_os::SystemPages;
use strata_page_heap::PageHeap;
use strata_size_classes::{PageSize, Pages8K};
use strata_stats::{BoundedText, Details, Dialect, Snapshot, render, render_brief, report};

/// The least and the middle of some runs, in microseconds.
fn timed(runs: usize, mut run: impl FnMut()) -> (u128, u128) {
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let begin = Instant::now();
            run();
            begin.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    (times[0], times[runs / 2])
}

#[test]
#[ignore = "it prints figures, and takes some seconds and 200 MiB"]
fn a_snapshot_of_a_million_spans() {
    const SPANS: usize = 1_000_000;
    let heap: Heap = Heap::with(Config::DEFAULT);
    // The smallest class that has one object to a span.
    let size = Pages8K::TABLE
        .classes()
        .filter(|class| Pages8K::TABLE.info(*class).objects == 1)
        .map(|class| Pages8K::TABLE.size(class))
        .min();
    let size = size.unwrap_or(1 << 20);
    for _ in 0..SPANS {
        assert!(!heap.allocate(size).is_null());
    }
    let core = heap.core().unwrap();
    let spans = core.page_heap().stats().spans_in_use;
    println!("{spans} spans");
    assert!(spans >= SPANS as u64);
    let (least, middle) = timed(50, || {
        core::hint::black_box(Snapshot::take(core));
    });
    println!("snapshot of {SPANS} spans: least {least} us, middle {middle} us");
    let (least, middle) = timed(10, || {
        let mut text = String::with_capacity(1 << 20);
        report(core, Dialect::TcmallocText, &mut text).unwrap();
        core::hint::black_box(text);
    });
    println!(
        "TCMalloc's report, figures of the page heap included: least {least} us, middle {middle} us"
    );
    let snapshot = Snapshot::take(core);
    let (least, middle) = timed(100, || {
        let mut text = String::with_capacity(1 << 16);
        render_brief((&snapshot).into(), None, &mut text).unwrap();
        core::hint::black_box(text);
    });
    println!("rendering the summary: least {least} us, middle {middle} us");
}

/// Another thread takes spans and gives them back while snapshots and reports are made: the longest that it waited for the page
/// heap's lock. The scheduler is part of each wait, and never makes one shorter: of several heaps the least counts.
#[test]
#[ignore = "it prints figures, and takes some seconds"]
fn how_long_the_page_heap_s_lock_is_held() {
    let mut longest: Vec<_> = (0..9)
        .map(|_| {
            let heap: Heap = Heap::with(Config::DEFAULT);
            for _ in 0..100_000 {
                assert!(!heap.allocate(30_000).is_null());
            }
            let core = heap.core().unwrap();
            let done = core::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(core::sync::atomic::Ordering::Relaxed) {
                        let block = heap.allocate(300_000);
                        // SAFETY: the block is ours.
                        unsafe { heap.deallocate(block) };
                    }
                });
                for _ in 0..50 {
                    core::hint::black_box(Snapshot::take(core));
                    let mut text = String::with_capacity(1 << 20);
                    report(core, Dialect::TcmallocText, &mut text).unwrap();
                }
                done.store(true, core::sync::atomic::Ordering::Relaxed);
            });
            let lock = Snapshot::take(core).heap.page_heap.lock;
            (lock.max_wait_ns / 1000, lock.waits)
        })
        .collect();
    longest.sort_unstable();
    println!(
        "the longest wait for the page heap's lock, in us, with the number of waits: {longest:?}"
    );
}

#[test]
#[ignore = "it prints figures"]
fn the_caches_of_256_cpus() {
    let Some(area) = strata_os::rseq::glibc_area() else { return println!("no rseq here") };
    let cache: &'static CpuCache = Box::leak(Box::new(CpuCache::new()));
    let setup = Setup {
        table: Pages8K::TABLE,
        ids: 256,
        id_kind: IdKind::Cpu,
        area: area.offset,
        limit_bytes: 3 << 19,
    };
    // SAFETY: nobody uses the caches.
    unsafe { cache.set_up(&SystemPages::new(), setup) }.unwrap();
    let (least, middle) = timed(50, || {
        for id in 0..256 {
            core::hint::black_box(cache.cpu_stats(id));
            for class in Pages8K::TABLE.classes() {
                core::hint::black_box(cache.objects(id, class));
            }
        }
    });
    println!("figures of 256 CPUs: least {least} us, middle {middle} us");
}

/// What is asked for is 200 MB a second. The least time counts: what else runs on the machine makes none shorter.
#[test]
#[ignore = "it prints figures"]
fn how_fast_reports_are_written() {
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        for round in 0..20_000usize {
            let block = heap.allocate(round * 131 % 400_000);
            if round % 3 != 0 {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
        let core = heap.core().unwrap();
        let (snapshot, details) = (Snapshot::take(core), Details::take(core));
        let figures = core.page_heap().figures(core);
        let mut buffer = vec![0; 4 << 20];
        for dialect in Dialect::ALL {
            let mut bytes = 0;
            let least = (0..300).map(|_| {
                let begin = Instant::now();
                let mut text = BoundedText::new(&mut buffer);
                render(dialect, &snapshot, &details, &figures, &mut text).unwrap();
                bytes = text.needed();
                begin.elapsed().as_nanos()
            });
            let least = least.min().unwrap_or(1).max(1);
            let rate = bytes as u128 * 1000 / least;
            println!("{page_heap:?}, {}: {bytes} bytes, {rate} MB/s", dialect.name());
        }
    }
}
