//! What stops a program that gives a span back twice, and the line that it leaves.

#![cfg(not(strata_loom))]

use strata_os::{ManualClock, SystemPages, thread_id};
use strata_page_heap::{LegacyPageHeap, PageHeap, SpanRequest};
use strata_size_classes::Pages8K;
use strata_span::{Ground, PageCount, SpanPlace};
use strata_temeraire::Temeraire;

/// In a process of its own, the test `name` gives a span to the heap that another thread is just giving back.
fn ends_with_its_line<H: PageHeap<Pages8K>>(name: &str) {
    strata_os::ends_with_its_line(name, |expect| {
        let ground = Ground::<Pages8K, _, _, _>::new(
            SystemPages::new(),
            SystemPages::new(),
            ManualClock::new(0),
        );
        let heap = H::EMPTY;
        let span = heap.allocate(&ground, SpanRequest::of(PageCount::new(9))).expect("memory");
        let (start, thread) = (span.start::<Pages8K>().value(), thread_id());
        expect(format!(
            "double free: free({start:#x}), no block, free span {start:#x} of 9 pages, thread {thread}; last: freed"
        ));
        // What the other thread does first.
        span.set_place(SpanPlace::Unused);
        // SAFETY: the span came from this heap; that it is given back twice is what the test is about.
        unsafe { heap.deallocate(&ground, span) };
    });
}

#[test]
fn a_span_that_two_threads_give_back_is_taken_once_by_temeraire() {
    ends_with_its_line::<Temeraire<Pages8K>>(
        "a_span_that_two_threads_give_back_is_taken_once_by_temeraire",
    );
}

#[test]
fn a_span_that_two_threads_give_back_is_taken_once_by_the_legacy_heap() {
    ends_with_its_line::<LegacyPageHeap<Pages8K>>(
        "a_span_that_two_threads_give_back_is_taken_once_by_the_legacy_heap",
    );
}
