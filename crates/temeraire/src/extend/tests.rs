use crate::{
    HugePageAware,
    figures::TemeraireFigures,
    test_ground::{SECOND_NS, TestGround, ground},
};
use std::{boxed::Box, vec::Vec};
use strata_os::Seed;
use strata_page_heap::{Density, PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::{HUGEPAGE_BYTES, PageCount, PageId, PageSize, Platform, SpanHandle};

const MIB: usize = 1 << 20;
const PAGE: usize = 8192;

struct Heap<P: PageSize> {
    ground: TestGround<P>,
    heap: Box<HugePageAware<P>>,
}

impl<P: PageSize> Heap<P> {
    /// No hugepage stays with the filler because the next span may want it.
    fn give_up_spare(&self) {
        let now_ns = strata_os::Clock::now_ns(&self.ground.clock);
        self.heap.state.lock().give_up_spare(&self.ground, now_ns);
    }

    fn new() -> Self {
        Self { ground: ground(), heap: Box::new(HugePageAware::new()) }
    }

    fn allocate(&self, bytes: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::holding(bytes).unwrap());
        self.heap.allocate(&self.ground, request).unwrap()
    }

    /// Hugepages in a row, a span each.
    fn row(&self, hugepages: usize) -> Vec<SpanHandle> {
        let spans: Vec<_> = (0..hugepages).map(|_| self.allocate(HUGEPAGE_BYTES)).collect();
        assert!(spans.windows(2).all(|two| two[0].end::<P>() == two[1].first()));
        spans
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    /// Extends a span, and looks whether what it says is so.
    fn extend(&self, span: SpanHandle, bytes: usize) -> bool {
        let (first, before) = (span.first::<P>(), span.page_count::<P>());
        let used = self.heap.stats().in_use_bytes;
        let wanted = PageCount::holding(bytes).unwrap();
        // SAFETY: the test has the span, and enters no pages.
        let extended = unsafe { self.heap.extend(&self.ground, span, wanted) };
        let now = if extended { wanted } else { before };
        assert_eq!((span.first(), span.page_count()), (first, now));
        let added = (now - before).bytes() as u64;
        assert_eq!(self.heap.stats().in_use_bytes, used + added);
        let at = |page: PageId<P>| self.ground.map().span_of(page);
        assert_eq!((at(first), at(span.last())), (Some(span), Some(span)));
        self.check();
        extended
    }

    fn release(&self, bytes: usize, reason: ReleaseReason) -> usize {
        let wanted = PageCount::holding(bytes).unwrap();
        self.heap.release(&self.ground, wanted, reason).bytes()
    }

    fn figures(&self) -> TemeraireFigures {
        self.heap.figures(&self.ground)
    }

    /// Checks the sums that tell of pages that are lost or in two places.
    fn check(&self) {
        let (stats, figures) = (self.heap.stats(), self.figures());
        let all = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
        assert_eq!(all, stats.system_bytes);
        assert_eq!(figures.components.used(), stats.in_use_bytes);
        assert_eq!(figures.spans.total_bytes(), (stats.free_bytes, stats.unmapped_bytes));
        let handed_out = figures.allocator.in_use_hugepages;
        let (cache, regions) = (figures.cache, figures.regions.hugepages);
        assert_eq!(handed_out, cache.usage.current + cache.cached_hugepages + regions);
    }

    fn promised(&self) -> usize {
        self.heap.state.lock().nodes.promised()
    }
}

/// Every test ends with sums that hold.
impl<P: PageSize> Drop for Heap<P> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

fn a_span_doubles_in_an_empty_heap<P: PageSize>() {
    let heap = Heap::<P>::new();
    let span = heap.allocate(MIB / 2);
    for bytes in [MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB] {
        assert!(heap.extend(span, bytes), "to {bytes}");
    }
    assert_eq!(heap.heap.stats().system_bytes, 16 * MIB as u64, "of nothing more than it needs");
    assert_eq!(heap.promised(), 1, "it is one range");
    heap.deallocate(span);
    assert_eq!((heap.promised(), heap.heap.stats().in_use_bytes), (0, 0));
    heap.check();
}

#[test]
fn in_an_empty_heap_a_span_doubles_from_half_a_mebibyte_on_and_never_moves() {
    a_span_doubles_in_an_empty_heap::<Pages4K>();
    a_span_doubles_in_an_empty_heap::<Pages8K>();
    a_span_doubles_in_an_empty_heap::<Pages32K>();
    a_span_doubles_in_an_empty_heap::<Pages256K>();
}

#[test]
fn a_span_grows_into_free_pages_of_its_hugepage_up_to_the_next_span() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = [3, 10, 5].map(|pages| heap.allocate(pages * PAGE)).into();
    assert!(!heap.extend(spans[0], 4 * PAGE), "somebody has that page");
    heap.deallocate(spans[1]);
    assert!(heap.extend(spans[0], 4 * PAGE) && heap.extend(spans[0], 13 * PAGE));
    assert!(!heap.extend(spans[0], 14 * PAGE));
    assert!(heap.extend(spans[2], (256 - 13) * PAGE), "up to the end of the hugepage");
    assert!(!heap.extend(spans[2], (256 - 12) * PAGE), "it does not begin with a hugepage");
    let figures = heap.figures();
    assert_eq!((figures.filler.hugepages, figures.filler.full_hugepages), (1, 1));
}

#[test]
fn released_pages_that_a_span_grows_into_count_as_backed_again() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = [3, 10, 5].map(|pages| heap.allocate(pages * PAGE)).into();
    heap.deallocate(spans[1]);
    assert_eq!(heap.release(253 * PAGE, ReleaseReason::HardLimit), (256 - 8) * PAGE);
    assert!(heap.extend(spans[0], 9 * PAGE));
    let figures = heap.figures();
    assert_eq!((figures.filler.unmapped_pages, figures.filler.used_pages), (242, 14));
    assert!(heap.extend(spans[0], 13 * PAGE) && heap.extend(spans[2], 243 * PAGE));
    assert_eq!(heap.heap.stats().unmapped_bytes, 0);
    let filler = heap.figures().filler;
    assert_eq!((filler.released_hugepages, filler.counters.refilled_hugepages), (0, 1));
}

#[test]
fn a_page_of_many_objects_does_not_grow() {
    let heap = Heap::<Pages8K>::new();
    let request = SpanRequest { density: Density::Dense, ..SpanRequest::of(PageCount::ONE) };
    let dense = heap.heap.allocate(&heap.ground, request).unwrap();
    assert!(!heap.extend(dense, 2 * PAGE));
}

#[test]
fn a_donated_tail_that_nobody_uses_is_grown_into_and_through() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    assert!(heap.extend(large, 5 * MIB + PAGE));
    assert_eq!(heap.figures().filler.donated_hugepages, 1, "the rest of it is still donated");
    assert!(heap.extend(large, 6 * MIB));
    assert_eq!(heap.figures().filler.hugepages, 0, "nothing is left of it");
    assert_eq!(heap.promised(), 1);
    assert!(heap.extend(large, 7 * MIB));
    assert!(heap.extend(large, 13 * MIB));
    let filler = heap.figures().filler;
    assert_eq!((filler.hugepages, filler.donated_hugepages), (1, 1), "the last one is donated");
    assert_eq!((heap.promised(), heap.heap.stats().system_bytes), (2, 14 * MIB as u64));
    heap.deallocate(large);
    assert_eq!((heap.promised(), heap.figures().cache.cached_hugepages), (0, 7));
    heap.check();
}

#[test]
fn a_donated_tail_on_which_others_live_ends_growth() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    let small = heap.allocate(PAGE);
    assert!(!heap.extend(large, 5 * MIB + PAGE), "the small span is just behind it");
    heap.deallocate(small);
    let (near, far) = (heap.allocate(10 * PAGE), heap.allocate(PAGE));
    heap.deallocate(near);
    assert!(heap.extend(large, 5 * MIB + 10 * PAGE));
    assert!(!heap.extend(large, 6 * MIB) && !heap.extend(large, 7 * MIB));
    heap.deallocate(large);
    assert_eq!(heap.figures().filler.abandoned_pages, 138);
    heap.deallocate(far);
    heap.give_up_spare();
    assert_eq!((heap.promised(), heap.figures().cache.cached_hugepages), (0, 3));
}

#[test]
fn a_tail_that_was_subreleased_becomes_part_of_its_span_again() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    assert_eq!(heap.release(MIB, ReleaseReason::HardLimit), MIB);
    assert!(heap.extend(large, 9 * MIB));
    let stats = heap.heap.stats();
    assert_eq!((stats.unmapped_bytes, stats.free_bytes), (0, MIB as u64));
    heap.deallocate(large);
    heap.check();
}

#[test]
fn hugepages_behind_a_span_are_taken_wherever_they_are_kept() {
    let heap = Heap::<Pages8K>::new();
    let spans = heap.row(4);
    heap.deallocate(spans[1]);
    assert_eq!(heap.release(2 * MIB, ReleaseReason::Call), 2 * MIB);
    heap.deallocate(spans[2]);
    let figures = heap.figures();
    assert_eq!((figures.cache.cached_hugepages, figures.allocator.free_hugepages), (1, 1));
    assert!(!heap.extend(spans[0], 7 * MIB), "the fourth is in use");
    let figures = heap.figures();
    assert_eq!((figures.cache.cached_hugepages, figures.allocator.free_hugepages), (1, 1));
    heap.deallocate(spans[3]);
    // One from the allocator, two from the cache, two that the heap has not had yet.
    assert!(heap.extend(spans[0], 11 * MIB + MIB / 2));
    let stats = heap.heap.stats();
    assert_eq!((stats.system_bytes, stats.unmapped_bytes), (12 * MIB as u64, 0));
    assert_eq!(heap.promised(), 2);
    heap.deallocate(spans[0]);
    assert_eq!((heap.promised(), heap.figures().cache.cached_hugepages), (0, 6));
}

#[test]
fn what_a_span_grew_by_counts_as_a_hit_if_the_cache_had_it_and_else_as_a_miss() {
    let heap = Heap::<Pages8K>::new();
    let spans = heap.row(3);
    heap.deallocate(spans[1]);
    heap.deallocate(spans[2]);
    let hits = |heap: &Heap<Pages8K>| {
        let cache = heap.figures().cache;
        (cache.hits, cache.misses, cache.usage.current)
    };
    assert_eq!(hits(&heap), (0, 3, 1));
    assert!(heap.extend(spans[0], 4 * MIB));
    assert_eq!(hits(&heap), (1, 3, 2));
    assert!(heap.extend(spans[0], 8 * MIB));
    assert_eq!(hits(&heap), (1, 4, 4), "one of the two was not there");
}

#[test]
fn at_the_end_of_the_reservation_a_span_stops() {
    let heap = Heap::<Pages8K>::new();
    let span = heap.allocate(2 * MIB);
    assert!(heap.extend(span, 32 * MIB));
    assert!(!heap.extend(span, 32 * MIB + PAGE));
    assert_eq!(heap.heap.stats().reserved_bytes, 32 * MIB as u64);
}

#[test]
fn a_span_grows_within_its_region() {
    let heap = Heap::<Pages8K>::new();
    let awkward = 2 * MIB + 64 * PAGE;
    let spans: Vec<_> = (0..400).map(|_| heap.allocate(awkward)).collect();
    assert_eq!(heap.figures().regions.regions, 1);
    let (low, behind) = (spans[spans.len() - 2], spans[spans.len() - 1]);
    assert_eq!(low.end::<Pages8K>(), behind.first(), "both in the region");
    assert!(!heap.extend(low, awkward + PAGE));
    let before = heap.figures().regions;
    assert!(heap.extend(behind, 8 * MIB));
    let after = heap.figures().regions;
    assert!(after.backed_hugepages > before.backed_hugepages, "what it grew into is backed");
    assert!(after.details[0].longest_free_bytes < before.details[0].longest_free_bytes);
    heap.deallocate(behind);
    assert!(heap.extend(low, 2 * awkward));
    assert!(!heap.extend(low, 1024 * MIB), "no span is longer than its region");
    for span in spans.iter().take(399) {
        heap.deallocate(*span);
    }
    heap.check();
    assert_eq!(heap.heap.stats().in_use_bytes, 0);
}

#[test]
fn nothing_is_lost_as_spans_of_all_kinds_grow_and_go() {
    let heap = Heap::<Pages8K>::new();
    let mut random = Seed::from_environment_or(11);
    let mut live: Vec<SpanHandle> = Vec::new();
    let mut grown = 0;
    for _ in 0..4000 {
        match random.below(10) {
            0..3 => live.push(heap.allocate(1 + random.below(6 * MIB))),
            3..7 if !live.is_empty() => {
                let span = live[random.below(live.len())];
                let bytes = span.bytes::<Pages8K>();
                grown += usize::from(heap.extend(span, bytes + 1 + random.below(bytes)));
            }
            7 => {
                heap.release(random.below(4 * MIB), ReleaseReason::SoftLimit);
            }
            _ if !live.is_empty() => heap.deallocate(live.swap_remove(random.below(live.len()))),
            _ => heap.ground.clock.advance(SECOND_NS),
        }
    }
    assert!(grown > 100, "{grown} times");
    live.into_iter().for_each(|span| heap.deallocate(span));
    let stats = heap.heap.stats();
    assert_eq!((stats.in_use_bytes, stats.spans_in_use), (0, 0));
    let free = usize::try_from(stats.free_bytes).unwrap();
    heap.release(free, ReleaseReason::HardLimit);
    assert_eq!(heap.heap.stats().free_bytes, 0);
    let regions = usize::try_from(heap.figures().regions.regions).unwrap();
    assert_eq!(heap.promised(), regions, "each range outside of the maps has one promise");
    heap.check();
}
