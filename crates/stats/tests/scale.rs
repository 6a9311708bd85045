//! What a snapshot of a large heap costs:
//! `cargo test --profile matrix -p strata-stats --test scale -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use core::time::Duration;
use std::time::Instant;
use strata_alloc::{Config, Heap, PageHeapChoice, SelectedFigures};
use strata_cpu_cache::IdKind;
use strata_os::rseq;
use strata_page_heap::PageHeap;
use strata_size_classes::{PageSize, Pages8K};
use strata_stats::{
    BoundedText, Details, Dialect, Extent, Ledger, Snapshot, render, render_brief, report,
    report_json,
};

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

/// Has this thread use the cache of every id there is, one after the other: the word in which the kernel tells a thread its
/// concurrency id is overwritten, and stays so until the thread is rescheduled. Says how many were used.
fn use_caches_of_all_ids(heap: &Heap) -> u32 {
    let core = heap.core().unwrap();
    let (cache, area) = (core.cpu_cache(), rseq::glibc_area());
    let Some(area) = area.filter(|_| cache.id_kind() == Some(IdKind::Concurrency)) else {
        return 0;
    };
    let id_word = (area.of_this_thread() + rseq::MM_CID) as *mut u32;
    for id in 0..cache.ids() {
        for _ in 0..1000 {
            if cache.is_populated(id) {
                break;
            }
            for size in [16, 64, 300, 4000] {
                // SAFETY: the area is this thread's; the kernel writes it only when it puts the thread on a CPU,
                // and no other thread of this process uses the heap, so that nobody else has the id.
                unsafe { id_word.write_volatile(id) };
                let block = heap.allocate(size);
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
    }
    // Now the kernel tells the true one again.
    std::thread::sleep(Duration::from_millis(1));
    (0..cache.ids()).filter(|id| cache.is_populated(*id)).count() as u32
}

/// The lines of Strata that held a lock longest since the last call, where that is measured (`--cfg strata_lock_times`).
fn print_longest_holds() {
    #[cfg(strata_lock_times)]
    {
        let mut times: Vec<_> = strata_sync::lock_times().filter(|line| line.holds != 0).collect();
        times.sort_by_key(|line| core::cmp::Reverse(line.longest_ns));
        for line in times.iter().take(8) {
            let (longest_us, holds) = (line.longest_ns as f64 / 1e3, line.holds);
            let mean_us = line.total_ns as f64 / holds as f64 / 1e3;
            println!(
                "    {longest_us:6.1} us at most, {mean_us:5.1} in the mean of {holds}: {}",
                line.place
            );
        }
        strata_sync::forget_lock_times();
    }
}

/// What a snapshot, and a report of each kind, cost of a heap, and how long locks are held for them.
fn costs(heap: &Heap) {
    let core = heap.core().unwrap();
    print_longest_holds();
    let (least, middle) = timed(50, || {
        core::hint::black_box(Snapshot::take(core));
    });
    println!("snapshot: least {least} us, middle {middle} us");
    print_longest_holds();
    let (least, middle) = timed(10, || {
        let mut text = String::with_capacity(1 << 24);
        report_json(core, Extent::Map, &mut text).unwrap();
        core::hint::black_box(text);
    });
    println!("a snapshot file with the map: least {least} us, middle {middle} us");
    print_longest_holds();
    for dialect in [Dialect::TcmallocText, Dialect::TcmallocTextToday, Dialect::Json] {
        let (least, middle) = timed(10, || {
            let mut text = String::with_capacity(1 << 21);
            report(core, dialect, &mut text).unwrap();
            core::hint::black_box(text);
        });
        println!(
            "{}, with the figures of the page heap: least {least} us, middle {middle} us",
            dialect.name()
        );
        print_longest_holds();
    }
}

/// As many CPUs as the machine is believed to have: see docs/notes/snapshots.md for how it is made to believe in 256.
#[test]
#[ignore = "it prints figures, and takes some seconds and 200 MiB"]
fn a_snapshot_of_a_million_spans_and_all_cpus() {
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
    let caches = use_caches_of_all_ids(&heap);
    let spans = core.page_heap().stats().spans_in_use;
    assert!(spans >= SPANS as u64);
    println!("{spans} spans, {caches} used caches of {} CPUs", core.cpu_cache().ids());
    costs(&heap);
    let snapshot = Snapshot::take(core);
    assert_eq!(Ledger::of(&snapshot).unexplained(), 0);
    let (least, middle) = timed(100, || {
        let mut text = String::with_capacity(1 << 16);
        render_brief((&snapshot).into(), None, &mut text).unwrap();
        core::hint::black_box(text);
    });
    println!("rendering the summary: least {least} us, middle {middle} us");
}

/// Three blocks to a hugepage, and none of them touched.
#[test]
#[ignore = "it prints figures, and takes some seconds, 300 MiB and 100 GiB of address space"]
fn the_figures_of_50_000_hugepages() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let blocks: Vec<_> = (0..150_000).map(|_| heap.allocate(680 << 10)).collect();
    assert!(blocks.iter().all(|block| !block.is_null()));
    for block in blocks.iter().step_by(3) {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(*block) };
    }
    let core = heap.core().unwrap();
    match core.page_heap().figures(core) {
        SelectedFigures::Temeraire(figures) => {
            println!("{} hugepages in the filler", figures.filler.hugepages);
        }
        SelectedFigures::Legacy(_) => unreachable!("the heap is the standard one"),
    }
    costs(&heap);
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
