use super::{
    CollapseFigures, LOOK_AGAIN_NS, MILLISECOND_NS, MOST_DOUBLINGS, MOST_MISSING_BYTES,
    MOST_WAIT_NS, PAUSE_NS, SECOND_NS,
};
use crate::{
    hugepage_aware::HugePageAware,
    test_ground::{TestGround, ground},
};
use std::{boxed::Box, vec::Vec};
use strata_os::{AddressRange, Advice, CallKinds, Fault, PageSource};
use strata_page_heap::{MemoryLimits, PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{HUGEPAGE_BYTES, PageCount, SpanHandle};

const PER_HUGEPAGE: usize = HUGEPAGE_BYTES / Pages8K::BYTES;

struct Heap {
    ground: TestGround<Pages8K>,
    heap: Box<HugePageAware<Pages8K>>,
    live: Vec<SpanHandle>,
}

impl Heap {
    /// A heap of `hugepages` hugepages full of single pages, which all were written to.
    fn full(hugepages: usize) -> Self {
        let heap = Box::new(HugePageAware::new());
        let mut heap = Self { ground: ground(), heap, live: Vec::new() };
        heap.fill(hugepages * PER_HUGEPAGE);
        heap
    }

    fn fill(&mut self, pages: usize) {
        while self.live.len() < pages {
            let request = SpanRequest::of(PageCount::ONE);
            let span = self.heap.allocate(&self.ground, request).expect("memory is not short");
            self.ground.source.source().touch(span.range::<Pages8K>());
            self.live.push(span);
        }
    }

    /// Every eighth page of all hugepages but one goes, to the kernel too, and is used again: small pages stand there.
    fn break_all(&mut self) {
        let pages = self.live.len();
        for index in (0..pages / 8).rev() {
            self.free(index * 8);
        }
        let all = PageCount::new(pages);
        self.heap.release(&self.ground, all, ReleaseReason::HardLimit);
        self.fill(pages);
    }

    fn free(&mut self, index: usize) {
        let span = self.live.swap_remove(index);
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    /// Lets `seconds` pass, and has done what is due.
    fn maintain(&self, seconds: u64) -> CollapseFigures {
        self.ground.clock.advance(seconds * SECOND_NS);
        self.heap.maintain(&self.ground, strata_os::Clock::now_ns(&self.ground.clock));
        self.heap.figures(&self.ground).collapse
    }

    fn hugepage_bytes(&self) -> usize {
        let mut bytes = 0;
        self.heap.for_each_reservation(|range| {
            let answer = self.ground.source.residency(range).expect("the range is reserved");
            bytes += answer.hugepage_bytes;
        });
        bytes
    }
}

#[test]
fn hugepages_that_were_given_back_in_part_and_are_full_again_are_made_whole() {
    let mut heap = Heap::full(12);
    // What is committed ahead counts as well.
    let whole = heap.hugepage_bytes() / HUGEPAGE_BYTES;
    heap.break_all();
    assert_eq!(heap.hugepage_bytes() / HUGEPAGE_BYTES, whole - 12);
    let figures = heap.maintain(1);
    assert_eq!((figures.asked, figures.collapsed, figures.failures), (12, 12, 0));
    assert_eq!(heap.hugepage_bytes() / HUGEPAGE_BYTES, whole);
}

#[test]
fn a_hugepage_is_looked_at_again_after_five_minutes_at_the_earliest() {
    let mut heap = Heap::full(12);
    assert_eq!(heap.maintain(1).whole, 12);
    heap.break_all();
    for _ in 0..29 {
        assert_eq!(heap.maintain(10).asked, 12);
    }
    assert_eq!(heap.maintain(60).collapsed, 12);
}

#[test]
fn a_hugepage_that_is_nearly_full_is_made_whole_although_pages_of_it_are_away() {
    let mut heap = Heap::full(12);
    let whole = heap.hugepage_bytes();
    for index in (0..heap.live.len() / 8).rev() {
        heap.free(index * 8);
    }
    let all = PageCount::new(heap.live.len());
    let given = heap.heap.release(&heap.ground, all, ReleaseReason::HardLimit);
    assert!(given >= PageCount::new(11 * PER_HUGEPAGE / 8), "{given:?}");
    let before = heap.heap.stats();
    let figures = heap.maintain(1);
    assert_eq!((figures.sparse, figures.failures), (0, 0), "{figures:?}");
    assert!(figures.collapsed >= 11, "{figures:?}");
    assert!(heap.hugepage_bytes() >= whole - HUGEPAGE_BYTES);
    let after = heap.heap.stats();
    // What the kernel filled is free memory again.
    assert_eq!(after.in_use_bytes, before.in_use_bytes);
    assert!(after.free_bytes >= before.free_bytes + given.bytes() as u64 / 2, "{after:?}");
    let again = heap.heap.release(&heap.ground, all, ReleaseReason::HardLimit);
    assert_eq!(again.bytes() as u64, after.free_bytes);
}

#[test]
fn a_hugepage_that_was_broken_since_is_looked_at_again_after_ten_seconds() {
    let mut heap = Heap::full(12);
    assert_eq!(heap.maintain(1).whole, 12);
    heap.heap.advice.pretend(strata_os::ThpMode::Always);
    heap.break_all();
    for _ in 0..9 {
        assert_eq!(heap.maintain(1).asked, 12);
    }
    let figures = heap.maintain(1);
    assert_eq!((figures.asked, figures.collapsed), (24, 12));
    assert_eq!(heap.heap.figures(&heap.ground).advice.forbidden_hugepages, 0);
}

#[test]
fn at_a_limit_nothing_is_put_together() {
    let mut heap = Heap::full(12);
    heap.break_all();
    let backed = heap.heap.stats().backed_bytes();
    let limit = strata_page_heap::limited_bytes(&heap.ground, backed) + HUGEPAGE_BYTES as u64 / 2;
    heap.heap.set_limits(MemoryLimits { soft_bytes: limit, hard_bytes: 0 });
    assert_eq!(heap.maintain(10).asked, 0);
    heap.heap.set_limits(MemoryLimits { soft_bytes: limit * 2, hard_bytes: 0 });
    assert_eq!(heap.maintain(10).collapsed, 12);
}

#[test]
fn a_step_puts_together_as_many_as_there_is_room_for_below_the_limit() {
    let mut heap = Heap::full(16);
    for index in (0..heap.live.len() / 8).rev() {
        heap.free(index * 8);
    }
    let all = PageCount::new(heap.live.len());
    heap.heap.release(&heap.ground, all, ReleaseReason::HardLimit);
    // Each that is put together has an eighth of it filled: there is room for four, and for the one in which pages
    // are moved.
    let backed = heap.heap.stats().backed_bytes();
    let room = (HUGEPAGE_BYTES + HUGEPAGE_BYTES / 2 + HUGEPAGE_BYTES / 16) as u64;
    let limit = strata_page_heap::limited_bytes(&heap.ground, backed) + room;
    heap.heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes: limit });
    let figures = heap.maintain(1);
    assert!((4..=5).contains(&figures.collapsed), "{figures:?}");
    let backed = heap.heap.stats().backed_bytes();
    assert!(strata_page_heap::limited_bytes(&heap.ground, backed) <= limit);
    heap.heap.set_limits(MemoryLimits::NONE);
    assert!(heap.maintain(1).collapsed >= 15, "the others, once there is none");
}

#[test]
fn a_heap_that_was_small_is_looked_at_a_second_later() {
    let mut heap = Heap::full(7);
    let now_ns = strata_os::Clock::now_ns(&heap.ground.clock);
    assert_eq!(heap.heap.maintain(&heap.ground, now_ns), now_ns + SECOND_NS);
    heap.fill(12 * PER_HUGEPAGE);
    heap.break_all();
    assert_eq!(heap.maintain(1).collapsed, 12);
}

#[test]
fn steps_are_no_closer_than_the_pause_and_due_times_of_a_future_that_was_taken_back_do_not_count() {
    let heap = Heap::full(12);
    let now_ns = strata_os::Clock::now_ns(&heap.ground.clock);
    let due_ns = heap.heap.maintain(&heap.ground, now_ns);
    assert_eq!(due_ns, now_ns + PAUSE_NS);
    assert_eq!(heap.heap.maintain(&heap.ground, now_ns + PAUSE_NS / 2), due_ns);
    let back_ns = now_ns / 2;
    assert_eq!(heap.heap.maintain(&heap.ground, back_ns), back_ns + PAUSE_NS);
}

#[test]
fn small_heaps_and_hugepages_that_are_not_nearly_full_are_left_alone() {
    let heap = Heap::full(7);
    assert_eq!(heap.maintain(1).asked, 0, "14 MiB are small");
    let mut heap = Heap::full(16);
    for index in (0..heap.live.len() / 4).rev() {
        heap.free(index * 4);
    }
    assert_eq!(heap.maintain(10).asked, 0, "three quarters are in use");
}

#[test]
fn what_is_not_in_memory_is_not_brought_there() {
    let mut heap = Heap::full(12);
    heap.break_all();
    for index in (0..12).map(|hugepage| hugepage * PER_HUGEPAGE) {
        // Kernel pages inside of spans go, without the page heap's knowledge.
        let inside = AddressRange::new(heap.live[index].start::<Pages8K>().value(), 4096);
        let hugepage = inside.start & !(HUGEPAGE_BYTES - 1);
        let inside = AddressRange::new(hugepage, MOST_MISSING_BYTES);
        // SAFETY: nothing stands in simulated pages.
        unsafe { heap.ground.source.release(inside, strata_os::Release::Forced) }
            .expect("released");
    }
    let figures = heap.maintain(1);
    assert!(figures.sparse > 0);
    assert_eq!(figures.collapsed + figures.sparse, figures.asked);
}

#[test]
fn a_kernel_that_refuses_is_asked_less_and_less_often_and_nothing_changes() {
    let mut heap = Heap::full(12);
    heap.break_all();
    let stats = heap.heap.stats();
    heap.ground.source.arm(Fault::always().of(CallKinds::ADVISE));
    let mut pauses = Vec::new();
    let longest = (PAUSE_NS << MOST_DOUBLINGS) / SECOND_NS;
    for _ in 0..10 {
        pauses.push(heap.maintain(longest + 1).pause_ns / SECOND_NS);
    }
    assert_eq!(pauses[..8], [2, 4, 8, 16, 32, 64, longest, longest]);
    let figures = heap.heap.figures(&heap.ground).collapse;
    assert_eq!((figures.collapsed, figures.failures), (0, 10));
    // The simulated kernel refuses for want of memory. Of pauses of 2, 4, 8 … seconds all but the first one were left out.
    assert_eq!(figures.failures_by_error, [10, 0, 0, 0, 0, 0]);
    assert_eq!(figures.skipped_steps, 1 + 3 + 7 + 15 + 31 + 63 + 127 * 4);
    assert_eq!(heap.heap.stats().in_use_bytes, stats.in_use_bytes);
    assert_eq!(heap.heap.stats().free_bytes, stats.free_bytes);
    heap.ground.source.disarm();
    for _ in 0..10 {
        heap.maintain(longest + 1);
    }
    let figures = heap.heap.figures(&heap.ground).collapse;
    assert_eq!((figures.collapsed, figures.pause_ns), (12, PAUSE_NS));
}

impl Heap {
    /// A span of so many pages, all of which was written to, page by page since parts of it had gone before.
    fn broken_span(&mut self, pages: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::new(pages));
        let span = self.heap.allocate(&self.ground, request).expect("memory is not short");
        let range = span.range::<Pages8K>();
        self.ground.source.source().touch(range);
        for start in (range.start..range.end()).step_by(HUGEPAGE_BYTES) {
            let part = AddressRange::new(start, 4096);
            // SAFETY: nothing stands in simulated pages.
            unsafe { self.ground.source.release(part, strata_os::Release::Forced) }.expect("gone");
        }
        self.ground.source.source().touch(range);
        span
    }
}

#[test]
fn hugepages_of_a_large_span_and_its_tail_are_made_whole_too() {
    let mut heap = Heap::full(12);
    let span = heap.broken_span(5 * PER_HUGEPAGE + PER_HUGEPAGE / 16 * 15);
    let before = heap.hugepage_bytes();
    let figures = heap.maintain(1);
    assert_eq!(figures.collapsed, 6, "{figures:?}");
    assert_eq!(heap.hugepage_bytes(), before + 6 * HUGEPAGE_BYTES);
    // SAFETY: the test got it from this heap, and uses it no more.
    unsafe { heap.heap.deallocate(&heap.ground, span) };
    for _ in 0..40 {
        heap.maintain(10);
    }
    let figures = heap.heap.figures(&heap.ground).collapse;
    assert_eq!(figures.collapsed, 6, "what is free is left alone");
}

#[test]
fn a_hugepage_that_the_spans_of_a_region_fill_is_made_whole() {
    let mut heap = Heap::full(12);
    // Slack enough for a region, and then spans of one and a half hugepages that meet.
    let mut wasted: Vec<_> = (0..90).map(|_| heap.broken_span(PER_HUGEPAGE + 1)).collect();
    for _ in 0..8 {
        wasted.push(heap.broken_span(PER_HUGEPAGE / 2 * 3));
    }
    assert!(heap.heap.figures(&heap.ground).regions.regions > 0, "there is a region");
    for _ in 0..100 {
        heap.maintain(161);
    }
    for span in wasted.iter().rev().take(4) {
        let range = span.range::<Pages8K>();
        let first = range.start.next_multiple_of(HUGEPAGE_BYTES);
        if first + HUGEPAGE_BYTES <= range.end() {
            let whole = AddressRange::new(first, HUGEPAGE_BYTES);
            let residency = heap.ground.source.residency(whole).expect("reserved");
            assert_eq!(residency.hugepage_bytes, HUGEPAGE_BYTES);
        }
    }
}

#[test]
fn a_hugepage_that_empties_while_it_is_made_whole_is_kept_for_the_next() {
    let heap = Heap::full(12);
    let now_ns = strata_os::Clock::now_ns(&heap.ground.clock);
    let (patient, _) = heap.heap.next_patient(&heap.ground, now_ns);
    let patient = patient.expect("a full hugepage");
    let range = patient.hugepage.range(strata_span::HugepageCount::ONE);
    let (inside, others): (Vec<_>, Vec<_>) =
        heap.live.iter().partition(|span| range.contains(span.start::<Pages8K>().value()));
    for span in &inside {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { heap.heap.deallocate(&heap.ground, *span) };
    }
    let another = heap.heap.allocate(&heap.ground, SpanRequest::of(PageCount::ONE)).expect("page");
    assert!(!range.contains(another.start::<Pages8K>().value()), "it gives nothing out meanwhile");
    heap.ground.source.advise(range, Advice::Collapse).expect("simulated");
    heap.heap.discharge(&heap.ground, &patient, super::Outcome::Collapsed { took_ns: 1 }, false);
    let figures = heap.heap.figures(&heap.ground);
    assert_eq!(figures.cache.cached_hugepages, 1);
    assert_eq!(heap.heap.stats().in_use_bytes, (others.len() as u64 + 1) * 8192);
}

/// A heap whose kernel knows what is touched, in the mode in which hugepages are asked for.
fn advised_heap() -> (Heap, usize) {
    let source =
        strata_os::SimulatedPages::new().with_faults().with_thp_mode(strata_os::ThpMode::Madvise);
    let ground = TestGround::new(
        strata_os::FailingPages::new(source),
        strata_os::SystemPages::new(),
        strata_os::ManualClock::new(1_000_000 * SECOND_NS),
    );
    let mut heap = Heap { ground, heap: Box::new(HugePageAware::new()), live: Vec::new() };
    heap.fill(24 * PER_HUGEPAGE);
    let mappings = heap.ground.source.source().mappings();
    (heap, mappings)
}

#[test]
fn what_is_put_together_is_not_advised_hugepage_by_hugepage() {
    let (mut heap, mappings) = advised_heap();
    // The first 16 MiB were not advised, and lie on small pages. Of every second hugepage of these half goes.
    let start = heap.live[0].start::<Pages8K>().value();
    for index in (0..heap.live.len()).rev() {
        let offset = heap.live[index].start::<Pages8K>().value().wrapping_sub(start);
        let odd = (offset / HUGEPAGE_BYTES) % 2 == 1;
        if offset < 16 << 20 && odd && (offset / Pages8K::BYTES).is_multiple_of(2) {
            heap.free(index);
        }
    }
    let figures = heap.maintain(1);
    assert!(figures.collapsed >= 4, "{figures:?}");
    assert!(heap.ground.source.source().mappings() <= mappings);
}

#[test]
fn what_was_backed_page_by_page_and_is_put_together_is_broken_for_no_less_than_others() {
    let (mut heap, _) = advised_heap();
    assert!(heap.maintain(1).collapsed >= 7);
    let whole = heap.hugepage_bytes();
    let hugepage = heap.live[0].first::<Pages8K>().hugepage();
    // Of the first hugepage a sixteenth goes, so that not all of it is used, and a little inside of its spans might.
    for index in (0..PER_HUGEPAGE / 16).rev() {
        heap.free(index * 8);
    }
    heap.ground.clock.advance(2 * SECOND_NS);
    let broken = heap.heap.break_hugepage(&heap.ground, hugepage, 64 << 10);
    assert_eq!(broken, strata_page_heap::HugepageBreak::Refused);
    heap.heap.release(&heap.ground, PageCount::new(PER_HUGEPAGE), ReleaseReason::Idle);
    assert_eq!(heap.hugepage_bytes(), whole);
}

#[test]
fn what_is_put_together_counts_as_asked_for() {
    let (heap, _) = advised_heap();
    let before = heap.heap.figures(&heap.ground).advice.advised_bytes;
    let collapsed = heap.maintain(1).collapsed;
    let after = heap.heap.figures(&heap.ground).advice.advised_bytes;
    assert_eq!(after - before, collapsed * HUGEPAGE_BYTES as u64);
}

#[test]
fn a_large_span_that_cannot_be_put_together_is_no_reason_to_leave_others() {
    let mut heap = Heap::full(2);
    heap.broken_span(200 * PER_HUGEPAGE);
    heap.fill(14 * PER_HUGEPAGE);
    heap.broken_span(200 * PER_HUGEPAGE);
    heap.fill(20 * PER_HUGEPAGE);
    heap.ground.source.arm(Fault::always().of(CallKinds::ADVISE).with_errno(22));
    let figures = heap.maintain(1);
    assert_eq!(figures.whole, 20, "all of the filler's were looked at: {figures:?}");
    assert_eq!((figures.failures, figures.pause_ns), (2, PAUSE_NS), "{figures:?}");
}

#[test]
fn a_step_waits_a_while_for_a_heap_that_makes_long_spans_in_quick_succession() {
    // The figures of a step that is looked for after so many spans and so many milliseconds.
    let step = |heap: &mut Heap, spans: usize, milliseconds: u64| {
        for _ in 0..spans {
            let request = SpanRequest::of(PageCount::new(3 * PER_HUGEPAGE));
            let span = heap.heap.allocate(&heap.ground, request).expect("memory is not short");
            heap.live.push(span);
        }
        heap.ground.clock.advance(milliseconds * MILLISECOND_NS);
        let now_ns = strata_os::Clock::now_ns(&heap.ground.clock);
        heap.heap.maintain(&heap.ground, now_ns);
        heap.heap.figures(&heap.ground).collapse.asked
    };
    let look_again_ms = LOOK_AGAIN_NS / MILLISECOND_NS;
    let mut heap = Heap::full(12);
    for _ in 0..MOST_WAIT_NS / LOOK_AGAIN_NS {
        assert_eq!(step(&mut heap, 4, look_again_ms), 0, "they come all the while");
    }
    assert!(step(&mut heap, 4, look_again_ms) > 0, "it does not wait for ever");
    let mut heap = Heap::full(12);
    assert_eq!(step(&mut heap, 4, look_again_ms), 0);
    assert!(step(&mut heap, 0, 2 * look_again_ms) > 0, "no more of them come");
    let mut heap = Heap::full(12);
    assert!(step(&mut heap, 3, look_again_ms) > 0, "few are no reason to wait");
}
