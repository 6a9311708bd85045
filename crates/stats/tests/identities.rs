//! What a report says adds up, whatever the program did: the identities that the figures of TCMalloc's own
//! documentation keep to, and the ledger, to the byte.
//!
//! Random programs run on each page size, page heap and front end; their report is read back from its text.
//! `STRATA_SEED` sets the seed of the programs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

#[path = "identities/buddies.rs"]
mod buddies;
#[path = "identities/cells.rs"]
mod cells;
#[path = "identities/counted.rs"]
mod counted;
#[path = "identities/programs.rs"]
mod programs;
#[path = "identities/random_figures.rs"]
mod random_figures;
#[path = "identities/read_back.rs"]
mod read_back;
#[path = "identities/read_back_page_heap.rs"]
mod read_back_page_heap;
#[path = "identities/reading.rs"]
mod reading;
#[path = "identities/sums.rs"]
mod sums;

use cells::{Cell, for_each_cell};
use core::sync::atomic::{AtomicBool, Ordering};
use programs::Program;
use reading::{Taken, read};
use std::sync::Barrier;
use strata_alloc::{Heap, HeapConfig};
use strata_page_heap::PageHeap;
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_stats::{RenderPageHeap, Snapshot};

/// All that a heap tells, and the reports about it.
fn taken<C: HeapConfig>(heap: &Heap<C>) -> Taken<<C::PageHeap as PageHeap<C::Pages>>::Figures>
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    Taken::of(heap.core().expect("the heap was used"))
}

#[test]
fn the_report_of_a_random_program_adds_up_at_any_step() {
    for_each_cell!(|cell: &Cell, heap| {
        let mut program = Program::new(cell, heap);
        for _ in 0..4 {
            program.run(1200);
            let taken = taken(heap);
            let reports = read(&taken.texts);
            sums::at_rest(&taken, &reports);
            read_back::compare(&taken, &reports);
        }
        program.end();
        let taken = taken(heap);
        let reports = read(&taken.texts);
        sums::at_rest(&taken, &reports);
        assert_eq!(reports[0].number("in_use_by_app"), Some(0));
    });
}

/// Figures that no heap would have, so that each is another number: what a report says of them is read back from it.
#[test]
fn reports_of_random_figures_are_read_back_figure_by_figure() {
    for_each_cell!(|cell: &Cell, heap| {
        let mut program = Program::new(cell, heap);
        program.run(600);
        let core = heap.core().expect("the heap was used");
        random_figures::are_read_back(core, cell.seed);
        program.end();
    });
}

/// Those identities that are not about a page heap's own sections.
#[test]
fn the_report_about_a_page_heap_of_ones_own_adds_up_at_any_step() {
    buddies::add_up::<Pages4K>("4k");
    buddies::add_up::<Pages8K>("8k");
    buddies::add_up::<Pages32K>("32k");
    buddies::add_up::<Pages256K>("256k");
}

#[test]
fn the_ledger_is_exact_after_threads_that_free_each_other_s_blocks() {
    for_each_cell!(|cell: &Cell, heap| {
        let mut programs: Vec<_> =
            (0..6).map(|number| Program::new(&cell.numbered(number), heap)).collect();
        for _ in 0..2 {
            programs = std::thread::scope(|scope| {
                let threads: Vec<_> = programs
                    .into_iter()
                    .map(|mut program| {
                        scope.spawn(move || {
                            program.run(400);
                            program
                        })
                    })
                    .collect();
                // Joined one by one: only then has a thread given its cache back.
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            // Each thread goes on with the blocks of another.
            programs.rotate_left(1);
            sums::ledger_at_rest(&Snapshot::take(heap.core().expect("set up")));
        }
        let taken = taken(heap);
        let reports = read(&taken.texts);
        sums::at_rest(&taken, &reports);
        read_back::compare(&taken, &reports);
        programs.into_iter().for_each(Program::end);
        sums::ledger_at_rest(&Snapshot::take(heap.core().expect("set up")));
    });
}

#[test]
fn the_report_of_sixty_four_threads_adds_up_while_they_run_and_after() {
    const THREADS: usize = 64;
    for_each_cell!(few: |cell: &Cell, heap| {
        let begin = Barrier::new(THREADS + 1);
        let done = AtomicBool::new(false);
        let programs: Vec<_> = std::thread::scope(|scope| {
            // Also where an assertion fails: the scope waits for the threads.
            let _end = SetAtEnd(&done);
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    let mut program = Program::new(&cell.numbered(number), heap);
                    let (begin, done) = (&begin, &done);
                    scope.spawn(move || {
                        begin.wait();
                        loop {
                            program.run(50);
                            if done.load(Ordering::Relaxed) {
                                return program;
                            }
                        }
                    })
                })
                .collect();
            begin.wait();
            while heap.core().is_none() {
                std::thread::yield_now();
            }
            // Read when the threads have stopped: they would fill the memory meanwhile.
            let texts = [(); 10].map(|()| taken(heap).texts);
            done.store(true, Ordering::Relaxed);
            let programs = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            let programs = programs.collect();
            texts.iter().for_each(|texts| sums::at_any_moment(&read(texts)));
            programs
        });
        let taken = taken(heap);
        sums::at_rest(&taken, &read(&taken.texts));
        sums::ledger_at_rest(&Snapshot::take(heap.core().expect("set up")));
        programs.into_iter().for_each(Program::end);
        sums::ledger_at_rest(&Snapshot::take(heap.core().expect("set up")));
    });
}

/// Programs print their report at exit, and libraries from whatever thread asks. Optimized, a report needs 60 KiB, the
/// page heap's own figures included; these tests are not.
#[test]
fn a_report_is_written_on_a_small_stack() {
    for_each_cell!(few: |cell: &Cell, heap| {
        let mut program = Program::new(cell, heap);
        program.run(500);
        let mut text = String::with_capacity(1 << 20);
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(192 << 10);
            let write = || {
                let core = heap.core().expect("set up");
                strata_stats::report_tcmalloc(core, &mut text).expect("strings take all");
            };
            small.spawn_scoped(scope, write).expect("a thread").join().expect("no panic");
        });
        assert!(text.ends_with("times that the kernel refused it\n"));
        program.end();
    });
}

/// Sets a flag when it goes.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_is_mapped_is_what_the_source_handed_out() {
    let _alone = cells::alone();
    let before = counted::outstanding_bytes();
    let heap: Heap<counted::Counted> = Heap::with(strata_alloc::Config::DEFAULT);
    let mut program = Program::new(&Cell::FIRST, &heap);
    for _ in 0..5 {
        program.run(2_000);
        let snapshot = Snapshot::take(heap.core().expect("set up"));
        let ledger = strata_stats::Ledger::of(&snapshot);
        assert_eq!(ledger.mapped_bytes, counted::outstanding_bytes() - before);
        sums::ledger_at_rest(&snapshot);
    }
    program.end();
    drop(heap);
    assert_eq!(counted::outstanding_bytes(), before, "a heap that ends gives all back");
}
