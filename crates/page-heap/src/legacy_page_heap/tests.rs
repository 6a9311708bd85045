use super::*;
use crate::{Ended, FreeSpans, limited_bytes};
use std::vec::Vec;
use strata_os::{
    CallKinds, FailingPages, Fault, ManualClock, PageSource, PageSourceLayer, SimulatedPages,
    SystemPages,
};
use strata_size_classes::{Pages4K, Pages8K};
use strata_span::{Ground, PageId, SpanPlace};

const SECOND_NS: u64 = 1_000_000_000;
/// Pages of 8 KiB in a hugepage.
pub(super) const HUGEPAGE: usize = 256;

pub(super) type Site<S = SimulatedPages, P = Pages8K> = Ground<P, S, SystemPages, ManualClock>;
pub(super) type Heap = LegacyPageHeap<Pages8K>;

pub(super) fn site() -> Site {
    site_on(SimulatedPages::new())
}

pub(super) fn site_on<S: PageSource, P: PageSize>(source: S) -> Site<S, P> {
    Ground::new(source, SystemPages::new(), ManualClock::new(1000 * SECOND_NS))
}

pub(super) fn get<S: PageSource>(heap: &Heap, site: &Site<S>, pages: usize) -> SpanHandle {
    heap.allocate(site, SpanRequest::of(PageCount::new(pages))).expect("memory is not short")
}

pub(super) fn put<S: PageSource>(heap: &Heap, site: &Site<S>, span: SpanHandle) {
    // SAFETY: the tests take their spans from the heap that they give them back to, and use none.
    unsafe { heap.deallocate(site, span) };
}

pub(super) fn first(span: SpanHandle) -> PageId<Pages8K> {
    span.first()
}

pub(super) fn release_all<S: PageSource>(heap: &Heap, site: &Site<S>) -> usize {
    heap.release(site, PageCount::new(1 << 30), ReleaseReason::Call).get()
}

/// Takes `lengths` one behind the other from a fresh hugepage, and the rest of that hugepage.
pub(super) fn row(heap: &Heap, site: &Site, lengths: &[usize]) -> Vec<SpanHandle> {
    let mut spans: Vec<_> = lengths.iter().map(|&pages| get(heap, site, pages)).collect();
    let rest = HUGEPAGE - lengths.iter().sum::<usize>();
    spans.extend((rest > 0).then(|| get(heap, site, rest)));
    assert!(spans.windows(2).all(|two| two[0].end::<Pages8K>() == two[1].first()));
    spans
}

#[test]
fn growth_enters_as_unmapped() {
    let (site, heap) = (site(), Heap::EMPTY);
    get(&heap, &site, 1);
    let stats = heap.stats();
    assert_eq!(stats.system_bytes, 2 << 20);
    assert_eq!((stats.in_use_bytes, stats.free_bytes), (8192, 0));
    assert_eq!(stats.unmapped_bytes, (2 << 20) - 8192);
}

#[test]
fn what_is_freed_is_handed_out_again_and_is_not_zeroed() {
    let (site, heap) = (site(), Heap::EMPTY);
    let span = get(&heap, &site, 3);
    let start = first(span);
    assert!(span.is_zeroed());
    put(&heap, &site, span);
    let again = get(&heap, &site, 3);
    assert_eq!(first(again), start);
    assert!(!again.is_zeroed());
}

#[test]
fn a_returned_exact_fit_beats_a_longer_normal_span() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[5, 1, 9, 1]);
    let (returned, normal) = (first(spans[0]), first(spans[2]));
    put(&heap, &site, spans[0]);
    release_all(&heap, &site);
    put(&heap, &site, spans[2]);
    assert_eq!(first(get(&heap, &site, 5)), returned);
    assert_eq!(first(get(&heap, &site, 5)), normal);
}

#[test]
fn of_equal_length_the_backed_span_goes_first() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[5, 1, 5, 1]);
    let backed = first(spans[2]);
    put(&heap, &site, spans[0]);
    release_all(&heap, &site);
    put(&heap, &site, spans[2]);
    assert_eq!(first(get(&heap, &site, 5)), backed);
}

#[test]
fn a_large_request_takes_the_shortest_and_then_the_lowest_span() {
    let (site, heap) = (site(), Heap::EMPTY);
    let lengths = [700, 1, 300, 1, 300, 1, 500, 245];
    let run = get(&heap, &site, lengths.iter().sum());
    put(&heap, &site, run);
    let spans: Vec<_> = lengths.iter().map(|&pages| get(&heap, &site, pages)).collect();
    let starts: Vec<_> = spans.iter().map(|&span| first(span)).collect();
    for index in [4, 0, 2, 6] {
        put(&heap, &site, spans[index]);
    }
    for index in [2, 4, 6] {
        assert_eq!(first(get(&heap, &site, 290)), starts[index]);
    }
    // Nothing lies below the span of 700 pages, so that it is carved from its end.
    assert_eq!(first(get(&heap, &site, 290)), starts[0] + PageCount::new(700 - 290));
}

#[test]
fn neighbours_merge_only_with_their_like() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[4, 4, 4, 4]);
    put(&heap, &site, spans[0]);
    release_all(&heap, &site);
    put(&heap, &site, spans[1]);
    let lengths = |heap: &Heap| {
        let lengths = heap.figures(&site).lengths().collect::<Vec<_>>();
        lengths.iter().map(|s| (s.pages, s.backed_spans, s.unmapped_spans)).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&heap), [(4, 1, 1)]);
    put(&heap, &site, spans[3]);
    put(&heap, &site, spans[2]);
    assert_eq!(lengths(&heap), [(4, 0, 1), (12, 1, 0)]);
    release_all(&heap, &site);
    assert_eq!(lengths(&heap), [(16, 0, 1)]);
}

#[test]
fn a_span_is_carved_in_front_unless_only_its_upper_side_has_a_neighbour() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[10, 10]);
    let (lowest, next) = (first(spans[0]), first(spans[1]));
    put(&heap, &site, spans[0]);
    // Nothing lies below the first reservation.
    assert_eq!(first(get(&heap, &site, 3)), lowest + PageCount::new(7));
    put(&heap, &site, spans[1]);
    assert_eq!(first(get(&heap, &site, 8)), next);
}

#[test]
fn the_page_map_forgets_what_lies_within_a_merged_span() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[4, 4, 4]);
    let starts: Vec<_> = spans.iter().map(|&span| first(span)).collect();
    for &index in &[0, 2, 1] {
        put(&heap, &site, spans[index]);
    }
    for page in 0..12 {
        let found = site.map.span_of(starts[0] + PageCount::new(page));
        assert_eq!(found.is_some(), page == 0 || page == 11, "page {page}");
        // So a block that is freed twice is recognised, merged or not.
        assert!(found.is_none_or(|span| span.place() == SpanPlace::Free));
    }
}

#[test]
fn structures_come_back_when_spans_merge_and_when_cutting_fails() {
    let metadata = FailingPages::new(SystemPages::new());
    let clock = ManualClock::new(0);
    let site = Ground::<Pages8K, _, _, _>::new(SimulatedPages::new(), metadata, clock);
    let heap = Heap::EMPTY;
    let mut spans: Vec<_> = Vec::new();
    while spans.len() < 100 {
        let span = heap.allocate(&site, SpanRequest::of(PageCount::ONE)).expect("memory");
        spans.push(span);
    }
    for span in spans {
        // SAFETY: the span came from this heap, and nobody uses it.
        unsafe { heap.deallocate(&site, span) };
    }
    release_all_of(&heap, &site);
    assert_eq!(site.spans.stats().in_use, 1, "one free span is left");

    // Use up the structures and the arena: an aligned piece from within needs two more.
    let held = site.spans.stats().created - 3;
    for _ in 0..held {
        site.spans.allocate_span(&site.arena, &site.metadata).expect("one was given back");
    }
    site.metadata.arm(Fault::always());
    let rest = usize::try_from(site.arena.stats().unallocated_bytes).expect("a block");
    for bytes in [4096, 64, 8] {
        let pieces = rest / bytes;
        for _ in 0..pieces {
            site.arena.allocate(&site.metadata, bytes, 8, strata_span::MetadataKind::Other);
        }
    }
    let before = site.spans.stats().in_use;
    let within = SpanRequest { align: PageCount::new(4), ..SpanRequest::of(PageCount::new(4)) };
    let front = heap.allocate(&site, SpanRequest::of(PageCount::ONE)).expect("one structure");
    assert_eq!(site.spans.stats().in_use, before + 1);
    assert!(heap.allocate(&site, within).is_none(), "two structures are not to be had");
    assert_eq!(site.spans.stats().in_use, before + 1, "a structure was lost");
    site.metadata.disarm();
    assert!(heap.allocate(&site, within).is_some());
    assert_eq!(front.place(), SpanPlace::InUse);
}

#[test]
fn what_was_had_for_a_span_that_the_page_map_has_no_room_for_goes_back() {
    const LEAF_PAGES: usize = 1 << 15;
    let (source, metadata) = (SimulatedPages::new(), FailingPages::new(SystemPages::new()));
    let site = Ground::<Pages8K, _, _, _>::new(source, metadata, ManualClock::new(0));
    let heap = Heap::EMPTY;
    let first = heap.allocate(&site, SpanRequest::of(PageCount::ONE)).expect("memory");
    let before = site.source.figures().committed_bytes;
    // Two leaves at the least, of which none was had yet.
    let long = SpanRequest::of(PageCount::new(2 * LEAF_PAGES));
    site.metadata.arm(Fault::always());
    for _ in 0..4 {
        assert!(heap.allocate(&site, long).is_none(), "no leaf is to be had");
        let committed_bytes = site.source.figures().committed_bytes;
        assert!(committed_bytes <= before, "{committed_bytes} bytes, {before} before");
    }
    site.metadata.disarm();
    assert!(heap.allocate(&site, long).is_some());
    assert_eq!(first.place(), SpanPlace::InUse);
}

fn release_all_of<E: Platform<Pages = Pages8K>>(heap: &Heap, platform: &E) {
    heap.release(platform, PageCount::new(1 << 30), ReleaseReason::Call);
}

#[test]
fn release_takes_the_oldest_of_each_length_in_turn() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[2, 1, 2, 1, 5, 1, 5, 1]);
    for index in [2, 4, 0, 6] {
        put(&heap, &site, spans[index]);
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        heap.release(&site, PageCount::ONE, ReleaseReason::Policy);
        let released = |&index: &usize| spans[index].place() == SpanPlace::Released;
        let new = [0, 2, 4, 6].into_iter().filter(released).find(|index| !order.contains(index));
        order.extend(new);
    }
    assert_eq!(order, [2, 4, 0, 6]);
    assert_eq!(heap.stats().released.policy, 14 * 8192);
}

#[test]
fn released_memory_is_zeroed_again() {
    let (site, heap) = (site(), Heap::EMPTY);
    let span = get(&heap, &site, HUGEPAGE);
    put(&heap, &site, span);
    release_all(&heap, &site);
    assert!(get(&heap, &site, 7).is_zeroed());
}

#[test]
fn a_refused_release_changes_nothing_but_a_count() {
    let (site, heap) = (site_on(FailingPages::new(SimulatedPages::new())), Heap::EMPTY);
    let span = get(&heap, &site, 8);
    put(&heap, &site, span);
    let before = heap.stats();
    site.clock.advance(40 * SECOND_NS);
    site.source.arm(Fault::always().of(CallKinds::RELEASE));
    assert_eq!(release_all(&heap, &site), 0);
    let after = heap.stats();
    assert!(after.release_failures > 0);
    assert_eq!(
        (after.free_bytes, after.unmapped_bytes),
        (before.free_bytes, before.unmapped_bytes)
    );
    assert_eq!(heap.figures(&site).ages.live.total.pages[2], 8, "its age is still 40 s");
    site.source.disarm();
    assert_eq!(release_all(&heap, &site), 8);
}

#[test]
fn a_kernel_that_takes_nothing_back_is_asked_once_a_second_and_again_when_it_does() {
    let (site, heap) = (site_on(FailingPages::new(SimulatedPages::new())), Heap::EMPTY);
    let spans: Vec<_> = (1..20).map(|pages| get(&heap, &site, pages)).collect();
    spans.into_iter().for_each(|span| put(&heap, &site, span));
    site.source.arm(Fault::always().of(CallKinds::RELEASE).with_errno(1));
    for _ in 0..1_000 {
        let nothing = heap.release(&site, PageCount::new(100), ReleaseReason::SoftLimit);
        assert_eq!(nothing, PageCount::ZERO);
        site.clock.advance(SECOND_NS / 100);
    }
    let stats = heap.stats();
    assert!((10..=40).contains(&stats.release_failures), "{stats:?}");
    assert!(stats.releases_withheld > 900, "{stats:?}");
    assert_eq!(release_all(&heap, &site), 0);
    assert!(heap.stats().release_failures > stats.release_failures, "who asks for it is heard");
    site.source.disarm();
    site.clock.advance(SECOND_NS);
    assert!(heap.release(&site, PageCount::ONE, ReleaseReason::Policy) > PageCount::ZERO);
}

#[test]
fn where_a_few_spans_are_locked_the_others_are_released() {
    let (site, heap) = (site_on(FailingPages::new(SimulatedPages::new())), Heap::EMPTY);
    let spans: Vec<_> = (1..20).map(|pages| get(&heap, &site, pages)).collect();
    for span in spans.into_iter().step_by(2) {
        put(&heap, &site, span);
    }
    let free = heap.stats().free_bytes;
    site.source.arm(Fault::nth(1).of(CallKinds::RELEASE));
    assert_eq!(release_all(&heap, &site) as u64 * 8192, free);
}

#[test]
fn merged_spans_have_the_mean_age_of_their_pages() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[3, 1]);
    put(&heap, &site, spans[0]);
    site.clock.advance(100 * SECOND_NS);
    put(&heap, &site, spans[1]);
    let ages = heap.figures(&site).ages.live;
    assert_eq!(ages.total.pages[3], 4);
    assert!((ages.total.mean_seconds() - 75.0).abs() < 0.01, "{}", ages.total.mean_seconds());
}

#[test]
fn figures_agree_with_the_common_ones() {
    let (site, heap) = (site(), Heap::EMPTY);
    let mut spans: Vec<_> = (0..400).map(|index| get(&heap, &site, 1 + index * 7 % 300)).collect();
    site.clock.advance(10 * SECOND_NS);
    for index in (0..200).rev() {
        put(&heap, &site, spans.swap_remove(index * 2));
        site.clock.advance(SECOND_NS);
        if index == 100 {
            heap.release(&site, PageCount::new(2000), ReleaseReason::Call);
        }
    }
    let (stats, figures) = (heap.stats(), heap.figures(&site));
    let by_length =
        |bytes: fn(&FreeSpans) -> u64| figures.lengths().map(|s| bytes(&s)).sum::<u64>();
    let backed = by_length(|s| s.backed_bytes) + figures.large.backed_bytes;
    let unmapped = by_length(|s| s.unmapped_bytes) + figures.large.unmapped_bytes;
    assert_eq!((backed, unmapped), (stats.free_bytes, stats.unmapped_bytes));
    assert_eq!(figures.ages.live.total.total() * 8192, stats.free_bytes);
    assert_eq!(figures.ages.unmapped.total.total() * 8192, stats.unmapped_bytes);
    let live: u64 = figures.allocations.records().map(|record| record.live_bytes).sum();
    assert_eq!(live, stats.in_use_bytes);
    let first = figures.allocations.records().next().expect("spans of one page");
    assert_eq!((first.least_pages, first.allocated), (1, 2));
    assert!((first.allocations_per_second - 2.0 / 210.0).abs() < 1e-9);
}

#[test]
fn backed_and_unbacked_neighbours_serve_a_long_request_when_memory_is_short() {
    let (site, heap) = (site_on(SimulatedPages::new().with_limit(32 << 20)), Heap::EMPTY);
    let spans: Vec<_> = (0..16).map(|_| get(&heap, &site, HUGEPAGE)).collect();
    assert_eq!(heap.stats().reserved_bytes, 32 << 20, "all is in use");
    let start = first(spans[0]).min(first(spans[4]));
    for &span in &spans[..4] {
        put(&heap, &site, span);
    }
    release_all(&heap, &site);
    for &span in &spans[4..8] {
        put(&heap, &site, span);
    }
    let span = get(&heap, &site, 8 * HUGEPAGE);
    assert_eq!(first(span), start);
    assert_eq!(heap.stats().released.hard_limit, 8 << 20);
}

#[test]
fn memory_that_the_source_does_not_call_zeroed_is_not_called_so_merged_or_not() {
    let (site, heap) = (site_on(Dirty(SimulatedPages::new())), Heap::EMPTY);
    let spans: Vec<_> = (0..2).map(|_| get(&heap, &site, HUGEPAGE)).collect();
    assert!(spans.iter().all(|span| !span.is_zeroed()));
    // Released, the first is zeroed; what the heap grows by beside it is not.
    let rest = get(&heap, &site, HUGEPAGE - 1);
    put(&heap, &site, rest);
    release_all(&heap, &site);
    let merged = get(&heap, &site, HUGEPAGE);
    assert!(!merged.is_zeroed(), "a page of it was never released");
}

/// Pages that come with something in them.
#[derive(Debug)]
struct Dirty(SimulatedPages);

// SAFETY: all answers are the simulated pages', and it calls zeroed less than they do.
unsafe impl PageSourceLayer for Dirty {
    type Beneath = SimulatedPages;

    fn beneath(&self) -> &SimulatedPages {
        &self.0
    }

    fn reserve(
        &self,
        request: strata_os::ReserveRequest,
    ) -> Result<strata_os::Reservation, strata_os::MapError> {
        let reservation = self.0.reserve(request)?;
        Ok(strata_os::Reservation { zeroed: false, ..reservation })
    }

    fn commit(&self, range: AddressRange) -> Result<bool, strata_os::MapError> {
        self.0.commit(range).map(|_| false)
    }
}

#[test]
fn only_whole_kernel_pages_are_released() {
    let site = site_on::<_, Pages4K>(SimulatedPages::new().with_page_bytes(65_536));
    let heap = LegacyPageHeap::<Pages4K>::EMPTY;
    let request = |pages| SpanRequest::of(PageCount::new(pages));
    let spans: Vec<_> =
        [5, 60, 1, 20].map(|pages| heap.allocate(&site, request(pages)).expect("memory")).into();
    // Pages 5..65 have whole kernel pages from 16 to 64; pages 66..86 have none but 66..80 of a
    // part.
    for index in [1, 3] {
        // SAFETY: the span came from this heap, and nobody uses it.
        unsafe { heap.deallocate(&site, spans[index]) };
    }
    let released = heap.release(&site, PageCount::new(1000), ReleaseReason::Call);
    assert_eq!(released, PageCount::new(48));
    let stats = heap.stats();
    assert_eq!(stats.free_bytes, 32 * 4096);
    assert_eq!(stats.system_bytes, stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes);
}

#[test]
fn the_lock_can_be_held_around_a_fork() {
    let (site, heap) = (site(), Heap::EMPTY);
    heap.acquire();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| get(&heap, &site, 1).pages());
        // SAFETY: this thread took the locks just above.
        unsafe { heap.release_lock() };
        assert_eq!(other.join().expect("no panic"), 1);
    });
}

#[test]
fn address_space_goes_back_where_it_is_short_and_is_had_again() {
    const LIMIT: usize = 96 << 20;
    let (site, heap) = (site_on(SimulatedPages::new().with_limit(LIMIT)), Heap::EMPTY);
    let spans: Vec<_> =
        (0..).map_while(|_| heap.allocate(&site, SpanRequest::of(PageCount::new(3)))).collect();
    assert!(spans.len() > 3000, "nearly all of it was handed out");
    let kept = spans[0];
    spans[1..].iter().for_each(|span| put(&heap, &site, *span));
    release_all(&heap, &site);
    let stats = heap.stats();
    assert_eq!((stats.system_bytes, stats.reserved_bytes), (2 << 20, 2 << 20), "one hugepage");
    assert_eq!(site.source.figures().reserved_bytes, 2 << 20);
    // Its own wishes are served again, also in one piece.
    let long = get(&heap, &site, (LIMIT - (4 << 20)) >> 13);
    put(&heap, &site, long);
    put(&heap, &site, kept);
    release_all(&heap, &site);
    let mut reserved = 0;
    heap.for_each_reservation(|range| reserved += range.bytes);
    assert_eq!(heap.stats().reserved_bytes, reserved as u64);
}

#[test]
fn a_great_alignment_has_no_page_map_leaves_for_what_lies_before_it() {
    let (site, heap) = (site(), Heap::EMPTY);
    get(&heap, &site, 1);
    let leaves = site.map.stats().leaves;
    let gibibyte = PageCount::new((1 << 30) >> 13);
    let request = SpanRequest { align: gibibyte, ..SpanRequest::of(PageCount::ONE) };
    let span = heap.allocate(&site, request).expect("memory is not short");
    assert!(first(span).number().is_multiple_of(gibibyte.get()));
    assert_eq!(site.map.stats().leaves, leaves + 1);
    assert_eq!(heap.stats().system_bytes, 4 << 20, "two hugepages");
}

#[test]
fn a_span_that_came_back_does_not_leave_use_again() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[10, 20, 30]);
    put(&heap, &site, spans[1]);
    // Another thread that gives it back a moment later is told, and the heap's list still has it where it was.
    assert!(!spans[1].leave_use());
    assert_eq!(spans[1].place(), SpanPlace::Free);
    assert_eq!(get(&heap, &site, 20).first::<Pages8K>(), first(spans[1]));
    assert_eq!(heap.stats().unmapped_bytes, 0);
}

#[test]
fn at_the_hard_limit_nobody_waits_for_others_who_gave_back_enough_itself() {
    let (site, heap) = (site(), Heap::EMPTY);
    let live: Vec<_> = (0..512).map(|_| get(&heap, &site, 1)).collect();
    live.iter().step_by(2).for_each(|span| put(&heap, &site, *span));
    let stats = heap.stats();
    let hard_bytes = limited_bytes(&site, stats.in_use_bytes + stats.free_bytes);
    heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes });
    // A step of another thread that lasts as long as the test.
    std::thread::scope(|scope| {
        scope.spawn(|| heap.underway.begin());
    });
    get(&heap, &site, 2);
    assert!(heap.underway.has_others(), "it was not waited for in vain");
    let limits = heap.stats().limits;
    assert!(limits.hard_hits > 0 && limits.hard_failures == 0, "{limits:?}");
}

#[test]
fn what_goes_to_the_kernel_as_it_ends_is_not_backed_and_reads_as_zero() {
    let (site, heap) = (site(), Heap::EMPTY);
    let (own, other) = (get(&heap, &site, 4 * HUGEPAGE), get(&heap, &site, 4 * HUGEPAGE));
    let before = heap.stats();
    let place = first(own);
    // SAFETY: as in `put`.
    assert_eq!(unsafe { heap.deallocate_to_kernel(&site, own) }, Ended::Released);
    let after = heap.stats();
    assert_eq!(after.free_bytes, before.free_bytes);
    assert_eq!(after.unmapped_bytes, before.unmapped_bytes + (8 << 20));
    assert_eq!(after.released.policy, before.released.policy + (8 << 20));
    let again = get(&heap, &site, 4 * HUGEPAGE);
    assert_eq!((first(again), again.is_zeroed()), (place, true));
    put(&heap, &site, again);
    put(&heap, &site, other);
    assert_eq!(heap.stats().free_bytes, 16 << 20, "and it merges as what is backed does");
}

#[test]
fn what_the_kernel_refuses_as_it_ends_is_free_and_backed() {
    let site = site_on(FailingPages::new(SimulatedPages::new()));
    let heap = Heap::EMPTY;
    let span = get(&heap, &site, 4 * HUGEPAGE);
    site.source.arm(Fault::always().of(CallKinds::RELEASE));
    // SAFETY: as in `put`.
    assert_eq!(unsafe { heap.deallocate_to_kernel(&site, span) }, Ended::Kept);
    let stats = heap.stats();
    assert_eq!((stats.free_bytes, stats.release_failures), (8 << 20, 1));
    assert_eq!((stats.released.policy, stats.in_use_bytes), (0, 0));
}
