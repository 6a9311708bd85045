//! Heaps whose page heap was written outside of Strata: reports have its sums, and no section of its own.

use crate::cells::{self, Cell};
use crate::programs::Program;
use crate::reading::{Taken, read};
use crate::sums;
use core::marker::PhantomData;
use strata_alloc::{FrontEndChoice, Heap, HeapConfig, PageHeapChoice};
use strata_example_buddy::BuddyPageHeap;
use strata_os::{MonotonicClock, Seed, SystemPages};
use strata_size_classes::PageSize;

/// A heap on the example's buddy system.
struct OnBuddies<P>(PhantomData<fn() -> P>);

impl<P: PageSize> HeapConfig for OnBuddies<P> {
    type Pages = P;
    type Source = SystemPages;
    type PageHeap = BuddyPageHeap<P>;
    type Clock = MonotonicClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
}

/// The report of a random program adds up at any step, with pages of size `P`.
pub(crate) fn add_up<P: PageSize>(pages: &'static str) {
    let _alone = cells::alone();
    for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
        // The choice of a page heap does not matter to one that is a type.
        let page_heap = PageHeapChoice::default();
        let cell = Cell { pages, page_heap, front_end, seed: Seed::from_environment() };
        eprintln!("on buddies: {cell}");
        let heap: Heap<OnBuddies<P>> = Heap::with(cell.config());
        let mut program = Program::new(&cell, &heap);
        for _ in 0..4 {
            program.run(600);
            holds(&heap);
        }
        program.end();
        holds(&heap);
    }
}

fn holds<P: PageSize>(heap: &Heap<OnBuddies<P>>) {
    let taken = Taken::without_page_heap(heap.core().expect("the heap was used"));
    let reports = read(&taken.texts);
    sums::at_any_moment(&reports);
    sums::ledger_at_rest(&taken.snapshot);
    let spans = reports[0].lines("other_page_heap").next().expect("each page heap has this line");
    assert_eq!(spans.number("spans"), Some(taken.snapshot.heap.page_heap.spans_in_use));
}
