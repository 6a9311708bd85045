//! What a heap counts after misuses that it was told to report.

use crate::marks::Marked;
use std::sync::Barrier;
use strata_alloc::{Config, FrontEnd, Heap, HeapConfig, Standard};
use strata_os::{in_own_process, in_own_process_for};

/// Two threads free `rounds` blocks of their own spans, each both, at the same moment; says what the heap counts then.
fn free_large_blocks_twice_at_once(heap: &Heap, rounds: usize) -> (u64, i64) {
    let at_once = Barrier::new(2);
    for _ in 0..rounds {
        let block = heap.allocate(1 << 20).expose_provenance();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    at_once.wait();
                    // SAFETY: none for one of the two: this is the misuse.
                    unsafe { heap.deallocate(core::ptr::with_exposed_provenance_mut(block)) };
                });
            }
        });
    }
    let figures = heap.core().unwrap().figures();
    let counted = figures.threads.allocated_bytes.wrapping_sub(figures.threads.deallocated_bytes);
    (figures.large.blocks, counted.wrapping_sub(figures.in_use_bytes()).cast_signed())
}

#[test]
fn a_large_block_that_two_threads_free_at_the_same_moment_is_counted_once() {
    const NAME: &str =
        "counts::a_large_block_that_two_threads_free_at_the_same_moment_is_counted_once";
    for conf in ["misuse:report", "misuse:report,page_heap:legacy"] {
        let output = in_own_process_for(NAME, conf, || {
            let heap = Heap::with(Config::parse(conf.as_bytes(), |_| ()));
            assert_eq!(free_large_blocks_twice_at_once(&heap, 400), (0, 0));
        });
        if let Some(output) = output {
            assert!(output.status.success(), "{conf}: {output:?}");
        }
    }
}

/// Frees blocks twice, or writes to them when they are free, and empties the caches, in which that is found; says
/// by how much what the threads count is off from what the layers do. (In caches of threads free blocks lead to
/// each other: with one that is on a list twice others are lost, and nobody counts them.)
fn difference_after_misuse<C: HeapConfig>() -> i64 {
    let heap: Heap<C> = Heap::with(Config::parse(b"misuse:report", |_| ()));
    for size in [16, 100, 1000, 9000] {
        let blocks: Vec<*mut u8> = (0..300).map(|_| heap.allocate(size)).collect();
        if !matches!(heap.core().unwrap().front_end(), FrontEnd::PerCpu(_)) {
            eprintln!("left out: no caches of CPUs");
            return 0;
        }
        for block in &blocks {
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(*block) };
        }
        for block in blocks.iter().step_by(7) {
            // SAFETY: none: this is the misuse.
            unsafe { block.cast::<u64>().write(5) };
        }
        for block in blocks.iter().step_by(3) {
            // SAFETY: none: this is the misuse.
            unsafe { heap.deallocate(*block) };
        }
        heap.release(usize::MAX);
    }
    let figures = heap.core().unwrap().figures();
    let counted = figures.threads.allocated_bytes.wrapping_sub(figures.threads.deallocated_bytes);
    counted.wrapping_sub(figures.in_use_bytes()).cast_signed()
}

#[test]
fn what_is_told_of_and_left_alone_is_counted_as_in_use() {
    let output =
        in_own_process("counts::what_is_told_of_and_left_alone_is_counted_as_in_use", || {
            assert_eq!(difference_after_misuse::<Standard>(), 0);
            assert_eq!(difference_after_misuse::<Marked>(), 0, "in a heap that marks");
        });
    if let Some(output) = output {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("strata: ") || said.contains("left out"), "nothing was found");
    }
}
