use crate::{
    HugePageAware,
    figures::TemeraireFigures,
    test_ground::{SECOND_NS, TestGround, ground},
};
use std::{boxed::Box, vec::Vec};
use strata_os::{Fault, Seed};
use strata_page_heap::{Density, PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::{HUGEPAGE_BYTES, PageCount, PageSize, SpanHandle};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

struct Heap<P: PageSize> {
    ground: TestGround<P>,
    heap: Box<HugePageAware<P>>,
}

impl<P: PageSize> Heap<P> {
    fn new() -> Self {
        Self { ground: ground(), heap: Box::new(HugePageAware::new()) }
    }

    fn request(&self, request: SpanRequest<P>) -> SpanHandle {
        self.heap.allocate(&self.ground, request).unwrap()
    }

    fn allocate(&self, bytes: usize) -> SpanHandle {
        self.request(SpanRequest::of(PageCount::holding(bytes).unwrap()))
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
        self.check();
    }

    fn extend(&self, span: SpanHandle, bytes: usize) -> bool {
        // SAFETY: the test has the span, and enters no pages.
        unsafe { self.heap.extend(&self.ground, span, PageCount::holding(bytes).unwrap()) }
    }

    fn give_up_spare(&self) {
        let now_ns = strata_os::Clock::now_ns(&self.ground.clock);
        self.heap.state.lock().give_up_spare(&self.ground, now_ns);
    }

    fn figures(&self) -> TemeraireFigures {
        self.heap.figures(&self.ground)
    }

    fn across(&self) -> u64 {
        self.figures().filler.counters.across
    }

    /// Hugepages of the filler and of the cache.
    fn hugepages(&self) -> (u64, u64) {
        let figures = self.figures();
        (figures.filler.hugepages, figures.cache.cached_hugepages)
    }

    /// What the parts say is what the heap says.
    fn check(&self) {
        let (stats, figures) = (self.heap.stats(), self.figures());
        let parts = figures.components;
        let all = [parts.filler, parts.region, parts.cache, parts.allocator];
        assert_eq!(all.iter().map(|part| part.used).sum::<u64>(), stats.in_use_bytes);
        assert_eq!(all.iter().map(|part| part.free).sum::<u64>(), stats.free_bytes);
        assert_eq!(all.iter().map(|part| part.unmapped).sum::<u64>(), stats.unmapped_bytes);
        let (backed, unmapped) = figures.spans.total_bytes();
        assert_eq!((backed, unmapped), (stats.free_bytes, stats.unmapped_bytes));
        let filler = &figures.filler;
        let whole = filler.used_pages + filler.free_pages + filler.unmapped_pages;
        assert_eq!(whole * figures.page_bytes, filler.hugepages * HUGEPAGE_BYTES as u64);
        let (allocator, cache) = (figures.allocator, figures.cache);
        let in_parts = cache.usage.current + cache.cached_hugepages + figures.regions.hugepages;
        assert_eq!(allocator.in_use_hugepages, in_parts);
    }
}

fn lies_across<P: PageSize>(span: SpanHandle) -> bool {
    span.first::<P>().hugepage() < span.last::<P>().hugepage()
}

/// Two hugepages with three spans each of two fifths of one, of which the third lies across; and the second one's.
fn three_spans() -> (Heap<Pages8K>, [SpanHandle; 3]) {
    let heap = Heap::<Pages8K>::new();
    let spans = [(); 3].map(|()| heap.allocate(720 * KIB));
    assert!(lies_across::<Pages8K>(spans[2]));
    assert_eq!((heap.across(), heap.hugepages()), (1, (2, 0)));
    heap.check();
    (heap, spans)
}

#[test]
fn spans_that_leave_a_hole_at_the_end_of_a_hugepage_go_on_behind_it() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = (0..64).map(|_| heap.allocate(720 * KIB)).collect();
    // Without holes but for the last hugepage's end.
    assert_eq!(heap.figures().filler.hugepages, (64 * 720_u64).div_ceil(2048));
    assert_eq!(
        heap.across(),
        spans.iter().filter(|span| lies_across::<Pages8K>(**span)).count() as u64
    );
    heap.check();
    spans.into_iter().for_each(|span| heap.deallocate(span));
    heap.give_up_spare();
    assert_eq!(heap.figures().filler.hugepages, 0);
}

#[test]
fn each_hugepage_gets_its_part_back_whichever_span_goes_first() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (heap, spans) = three_spans();
        order.into_iter().for_each(|index| heap.deallocate(spans[index]));
        heap.give_up_spare();
        assert_eq!(heap.hugepages(), (0, 2), "both go to the cache");
        heap.check();
    }
}

#[test]
fn a_span_across_keeps_both_of_its_hugepages() {
    let (heap, [one, two, across]) = three_spans();
    heap.deallocate(one);
    heap.deallocate(two);
    assert_eq!(heap.hugepages(), (2, 0));
    let used = heap.figures().filler.used_pages;
    assert_eq!(used, across.page_count::<Pages8K>().get() as u64);
    heap.deallocate(across);
    assert_eq!(heap.figures().filler.used_pages, 0);
}

#[test]
fn what_a_span_across_leaves_is_found_by_others() {
    let (heap, [_, _, across]) = three_spans();
    heap.deallocate(across);
    let short = heap.allocate(600 * KIB);
    assert!(!lies_across::<Pages8K>(short), "there is room at the end of the first");
    assert_eq!((heap.across(), heap.figures().filler.hugepages), (1, 1 + 1));
}

#[test]
fn short_dense_and_aligned_spans_lie_on_one_hugepage() {
    let heap = Heap::<Pages8K>::new();
    let per_hugepage = PageCount::<Pages8K>::PER_HUGEPAGE.get();
    // Nine tenths of a hugepage, with a tenth of it free.
    let _ = [(); 9].map(|()| heap.allocate(200 * KIB));
    let short = heap.allocate(31 * 8 * KIB);
    assert!(!lies_across::<Pages8K>(short));
    let pages = PageCount::new(per_hugepage / 4);
    let aligned = heap.request(SpanRequest { align: PageCount::new(2), ..SpanRequest::of(pages) });
    assert!(!lies_across::<Pages8K>(aligned));
    // A hugepage for dense spans takes no part of others.
    let dense = SpanRequest { density: Density::Dense, ..SpanRequest::of(PageCount::ONE) };
    let dense = heap.request(dense);
    let behind = dense.first::<Pages8K>().hugepage();
    for _ in 0..12 {
        let span = heap.allocate(300 * KIB);
        assert_ne!(span.last::<Pages8K>().hugepage(), behind);
    }
    heap.check();
}

#[test]
fn a_span_across_grows_on_its_second_hugepage_and_not_beyond() {
    let (heap, [_, _, across]) = three_spans();
    assert!(heap.extend(across, MIB));
    heap.check();
    let on_first = 2 * MIB - 2 * 720 * KIB;
    assert!(heap.extend(across, on_first + 2 * MIB), "the second hugepage has no other");
    heap.check();
    assert!(!heap.extend(across, on_first + 2 * MIB + 8 * KIB), "it is no large span");
    assert_eq!(heap.figures().filler.used_pages * 8, (2 * 720 + 608 + 2048) as u64);
    heap.deallocate(across);
    assert_eq!(heap.figures().filler.used_pages * 8, 2 * 720);
}

#[test]
fn a_span_across_reads_as_zero_only_if_both_of_its_parts_do() {
    let (heap, [_, _, across]) = three_spans();
    assert!(across.is_zeroed(), "fresh from the source");
    let heap = {
        drop(heap);
        Heap::<Pages8K>::new()
    };
    let first = [(); 3].map(|()| heap.allocate(600 * KIB));
    heap.deallocate(first[2]);
    let across = [heap.allocate(900 * KIB)];
    assert!(lies_across::<Pages8K>(across[0]) && !across[0].is_zeroed(), "a part was used before");
}

#[test]
fn where_the_cache_has_hugepages_none_that_is_not_backed_is_taken_behind() {
    let heap = Heap::<Pages8K>::new();
    let first = [(); 2].map(|()| heap.allocate(720 * KIB));
    let (low, cached) = (heap.allocate(2 * MIB), heap.allocate(2 * MIB));
    assert!(low.first::<Pages8K>().hugepage() > first[1].first::<Pages8K>().hugepage());
    heap.deallocate(cached);
    let other = heap.allocate(720 * KIB);
    assert!(!lies_across::<Pages8K>(other), "the cached one does not follow the first");
    assert_eq!(heap.hugepages(), (2, 0));
    heap.check();
}

#[test]
fn free_pages_of_both_hugepages_go_beside_a_span_across_and_come_again() {
    let (heap, spans) = three_spans();
    heap.deallocate(spans[0]);
    heap.ground.clock.advance(SECOND_NS);
    heap.heap.release(&heap.ground, PageCount::new(1 << 20), ReleaseReason::HardLimit);
    assert_eq!(heap.heap.stats().free_bytes, 0);
    heap.check();
    heap.deallocate(spans[2]);
    heap.heap.release(&heap.ground, PageCount::new(1 << 20), ReleaseReason::HardLimit);
    assert_eq!(heap.heap.stats().free_bytes, 0);
    heap.deallocate(spans[1]);
}

#[test]
fn without_metadata_or_address_space_a_span_across_is_not_made_and_nothing_is_lost() {
    for nth in 1..12 {
        let heap = Heap::<Pages8K>::new();
        let spans = [(); 2].map(|()| heap.allocate(720 * KIB));
        heap.ground.source.arm(Fault::nth(nth));
        let pages = PageCount::holding(720 * KIB).unwrap();
        let third = heap.heap.allocate(&heap.ground, SpanRequest::of(pages));
        heap.ground.source.disarm();
        heap.check();
        spans.into_iter().chain(third).for_each(|span| heap.deallocate(span));
    }
}

/// Spans of an eighth to a half of a hugepage come, grow and go at random, while memory goes back and time passes; with
/// small ones among them.
fn random_program<P: PageSize>(seed: u64) {
    std::println!("seed {seed}");
    let (heap, mut seed) = (Heap::<P>::new(), Seed::new(seed));
    let mut spans: Vec<SpanHandle> = Vec::new();
    for _ in 0..1_500 {
        match seed.below(16) {
            0..7 if spans.len() < 120 => {
                let bytes = match seed.below(8) {
                    0 => P::BYTES * (1 + seed.below(8)),
                    _ => HUGEPAGE_BYTES / 8 + seed.below(HUGEPAGE_BYTES / 8 * 3),
                };
                spans.push(heap.allocate(bytes));
            }
            7..12 if !spans.is_empty() => {
                let span = spans.swap_remove(seed.below(spans.len()));
                heap.deallocate(span);
            }
            12 if !spans.is_empty() => {
                let span = spans[seed.below(spans.len())];
                heap.extend(span, span.pages() * P::BYTES + seed.below(HUGEPAGE_BYTES / 2));
            }
            13 => heap.ground.clock.advance(seed.next() % (20 * SECOND_NS)),
            14 => {
                let now_ns = strata_os::Clock::now_ns(&heap.ground.clock);
                heap.heap.maintain(&heap.ground, now_ns);
            }
            _ => {
                let reasons = [ReleaseReason::Policy, ReleaseReason::Idle, ReleaseReason::Call];
                let wanted = PageCount::holding(seed.below(4 * MIB)).unwrap();
                heap.heap.release(&heap.ground, wanted, reasons[seed.below(3)]);
            }
        }
        heap.check();
        let used: usize = spans.iter().map(|span| span.pages() * P::BYTES).sum();
        assert_eq!(heap.heap.stats().in_use_bytes, used as u64);
    }
    assert!(heap.across() > 0, "none lay across a border");
    spans.into_iter().for_each(|span| heap.deallocate(span));
    heap.heap.release(&heap.ground, PageCount::new(1 << 20), ReleaseReason::HardLimit);
    assert_eq!(heap.heap.stats().free_bytes, 0, "all that is free can be given back");
}

#[test]
fn books_add_up_after_every_step_with_pages_of_any_size() {
    random_program::<Pages4K>(1);
    random_program::<Pages8K>(2);
    random_program::<Pages32K>(3);
    random_program::<Pages256K>(4);
}
