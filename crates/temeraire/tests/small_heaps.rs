//! Heaps that stand on small pages: what nobody touched is not in memory, and the books know it.

use strata_os::{
    AddressRange, CallKind, ManualClock, PageSource, SimulatedPages, SystemPages, ThpMode,
};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

const SECOND_NS: u64 = 1_000_000_000;

struct Heap {
    ground: Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>,
    heap: Box<HugePageAware<Pages8K>>,
}

impl Heap {
    fn under(mode: ThpMode) -> Self {
        let pages = SimulatedPages::new().with_faults().with_thp_mode(mode);
        let ground = Ground::new(pages, SystemPages::new(), ManualClock::new(SECOND_NS));
        Self { ground, heap: Box::new(HugePageAware::new()) }
    }

    /// A span that its program writes to.
    fn allocate(&self, pages: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::new(pages));
        let span = self.heap.allocate(&self.ground, request).expect("simulated memory");
        self.ground.source.touch(span.range::<Pages8K>());
        span
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the span came from this heap, and the test uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    fn release(&self, pages: usize, reason: ReleaseReason) -> usize {
        self.heap.release(&self.ground, PageCount::new(pages), reason).get()
    }

    /// Bytes in memory as the kernel has them, and as the heap does.
    fn backed(&self) -> (u64, u64) {
        let stats = self.heap.stats();
        let resident = self.ground.source.figures().resident_bytes as u64;
        (resident, stats.in_use_bytes + stats.free_bytes)
    }

    fn calls(&self, kind: CallKind) -> u64 {
        self.ground.source.figures().calls(kind)
    }
}

const MODES: [ThpMode; 3] = [ThpMode::Always, ThpMode::Madvise, ThpMode::Never];

#[test]
fn what_a_small_heap_never_touched_is_not_counted_as_backed() {
    for mode in MODES {
        let heap = Heap::under(mode);
        let spans: Vec<_> = (0..100).map(|_| heap.allocate(3)).collect();
        assert_eq!(heap.heap.stats().free_bytes, 0, "{mode:?}");
        spans.into_iter().for_each(|span| heap.deallocate(span));
        let touched = (300 * Pages8K::BYTES) as u64;
        assert_eq!(heap.backed(), (touched, touched), "{mode:?}");
        heap.release(1 << 20, ReleaseReason::HardLimit);
        assert_eq!(heap.backed(), (0, 0), "{mode:?}");
    }
}

#[test]
fn pages_that_were_touched_serve_before_pages_that_were_not() {
    let heap = Heap::under(ThpMode::Madvise);
    let spans: Vec<_> = (0..20).map(|_| heap.allocate(10)).collect();
    let before = heap.backed();
    // Ten pages in a row, beside a run of 56 that nobody touched.
    heap.deallocate(spans[7]);
    let again: Vec<_> = (0..3).map(|_| heap.allocate(3)).collect();
    assert_eq!(heap.backed(), before, "nine pages of the ten");
    assert!(again.iter().all(|span| span.first::<Pages8K>() >= spans[7].first()));
    heap.allocate(2);
    let more = (2 * Pages8K::BYTES) as u64;
    assert_eq!(heap.backed(), (before.0 + more, before.1 + more), "no two are left");
}

#[test]
fn a_small_heap_that_empties_and_fills_again_makes_no_calls() {
    for mode in MODES {
        let heap = Heap::under(mode);
        let round = || {
            let spans: Vec<_> = (0..600).map(|_| heap.allocate(1)).collect();
            spans.into_iter().for_each(|span| heap.deallocate(span));
        };
        round();
        let (calls, backed) =
            ((heap.calls(CallKind::Release), heap.calls(CallKind::Advise)), heap.backed());
        (0..20).for_each(|_| round());
        let after = (heap.calls(CallKind::Release), heap.calls(CallKind::Advise));
        assert_eq!((after, heap.backed()), (calls, backed), "{mode:?}");
    }
}

#[test]
fn what_goes_back_of_a_small_heap_breaks_nothing() {
    let heap = Heap::under(ThpMode::Madvise);
    let spans: Vec<_> = (0..200).map(|_| heap.allocate(1)).collect();
    // An eighth of the hugepage: too little to break one for.
    spans.iter().step_by(8).for_each(|span| heap.deallocate(*span));
    heap.ground.clock.advance(10 * SECOND_NS);
    assert_eq!(heap.release(100, ReleaseReason::Idle), 25);
    let figures = heap.heap.figures(&heap.ground);
    assert_eq!(figures.filler.counters.broken_hugepages, 0);
    assert_eq!((heap.calls(CallKind::Advise), figures.advice.forbidden_hugepages), (0, 0));
    let (resident, booked) = heap.backed();
    assert_eq!(resident, booked);
}

#[test]
fn of_eight_large_spans_that_a_program_fills_one_has_one_hugepage_on_small_pages() {
    let heap = Heap::under(ThpMode::Madvise);
    let on_hugepages = || {
        let mut bytes = 0;
        heap.heap.for_each_reservation(|range: AddressRange| {
            bytes += heap.ground.source.residency(range).expect("its own").hugepage_bytes;
        });
        bytes >> 20
    };
    let per_mib = (1 << 20) / Pages8K::BYTES;
    // The first 16 MiB are not asked for.
    let small: Vec<_> = (0..2).map(|_| heap.allocate(8 * per_mib)).collect();
    assert_eq!(on_hugepages(), 0);
    let large: Vec<_> = (0..16).map(|_| heap.allocate(8 * per_mib)).collect();
    assert_eq!(on_hugepages(), 16 * 8 - 2 * 2, "two trials, of a hugepage each");
    // What the spans were taught by is the hugepage that can tell.
    large.into_iter().chain(small).for_each(|span| heap.deallocate(span));
    heap.release(1 << 30, ReleaseReason::HardLimit);
    let again: Vec<_> = (0..16).map(|_| heap.allocate(8 * per_mib)).collect();
    assert!(on_hugepages() >= 16 * 8 - 16 - 2 * 2, "{}", on_hugepages());
    again.into_iter().for_each(|span| heap.deallocate(span));
}

#[test]
fn a_last_hugepage_of_which_a_large_span_leaves_more_than_a_quarter_and_an_eighth_of_itself_is_not_asked_for()
 {
    let per_mib = (1 << 20) / Pages8K::BYTES;
    let spans = [
        (2 * per_mib + per_mib / 4, 1),
        (3 * per_mib + per_mib / 2 - 1, 1),
        (3 * per_mib + per_mib / 2, 2),
        (16 * per_mib / 9 * 8 - 8, 7),
        (16 * per_mib / 9 * 8 + 8, 8),
    ];
    for (pages, asked) in spans {
        let heap = Heap::under(ThpMode::Madvise);
        // The first 16 MiB are not asked for, nor is the span's neighbour there.
        let small: Vec<_> = (0..9).map(|_| heap.allocate(2 * per_mib)).collect();
        let before = heap.heap.figures(&heap.ground).advice.advised_bytes;
        let span = heap.allocate(pages);
        let after = heap.heap.figures(&heap.ground).advice.advised_bytes;
        assert_eq!((after - before) >> 21, asked, "of {pages} pages");
        small.into_iter().chain([span]).for_each(|span| heap.deallocate(span));
    }
}

#[test]
fn a_heap_that_has_grown_asks_for_hugepages_and_has_the_old_ones_put_together() {
    let heap = Heap::under(ThpMode::Madvise);
    let spans: Vec<_> = (0..8192).map(|_| heap.allocate(1)).collect();
    let on_hugepages = || {
        let mut bytes = 0;
        heap.heap.for_each_reservation(|range: AddressRange| {
            bytes += heap.ground.source.residency(range).expect("its own").hugepage_bytes;
        });
        bytes >> 20
    };
    assert_eq!(on_hugepages(), 46, "but for the first 16 MiB, and one on trial");
    let mut now_ns = 2 * SECOND_NS;
    for _ in 0..10 {
        now_ns = heap.heap.maintain(&heap.ground, now_ns).max(now_ns + 1);
        heap.ground.clock.set(now_ns);
    }
    assert_eq!(on_hugepages(), 64);
    // What is free on them is in memory.
    spans.iter().take(100).for_each(|span| heap.deallocate(*span));
    let (resident, booked) = heap.backed();
    assert_eq!((resident, booked), (64 << 20, 64 << 20));
}

#[test]
fn a_large_span_that_comes_and_goes_keeps_its_hugepages() {
    let heap = Heap::under(ThpMode::Madvise);
    let base: Vec<_> = (0..20).map(|_| heap.allocate(512)).collect();
    let mut ring: Vec<_> = (0..8).map(|_| heap.allocate(400)).collect();
    let requested = heap.heap.figures(&heap.ground).allocator.requested_hugepages;
    for frame in 0..500 {
        heap.ground.clock.advance(SECOND_NS / 25);
        heap.deallocate(core::mem::replace(&mut ring[frame % 8], base[0]));
        ring[frame % 8] = heap.allocate(400);
        heap.release(128, ReleaseReason::Idle);
    }
    let figures = heap.heap.figures(&heap.ground);
    assert_eq!(figures.allocator.requested_hugepages, requested);
    let refaulted = heap.ground.source.figures().refaulted_bytes >> 20;
    assert!(refaulted <= 16, "{refaulted} MiB were needed again");
    // A tail that nobody wants for half a minute goes.
    heap.ground.clock.advance(60 * SECOND_NS);
    assert!(heap.release(8 * 112, ReleaseReason::Idle) >= 8 * 112);
}

/// The books never say that less is in memory than is.
#[test]
fn the_books_know_of_all_that_is_in_memory() {
    for mode in MODES {
        let heap = Heap::under(mode);
        let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % bound as u64).expect("below the bound")
        };
        let mut live = Vec::new();
        for step in 0..6000 {
            let most = if step % 3000 < 1500 { 60 } else { 4000 };
            match below(10) {
                0..=4 => {
                    let pages = if below(30) == 0 { 100 + below(1000) } else { 1 + below(20) };
                    live.push(heap.allocate(pages));
                }
                5..=8 if !live.is_empty() => {
                    let gone = below(live.len());
                    heap.deallocate(live.swap_remove(gone));
                }
                _ => {
                    heap.ground.clock.advance(below(2_000_000_000) as u64);
                    let reason = [ReleaseReason::Idle, ReleaseReason::Policy, ReleaseReason::Call];
                    heap.release(below(400), reason[below(3)]);
                }
            }
            while live.len() > most {
                heap.deallocate(live.swap_remove(0));
            }
            let (resident, booked) = heap.backed();
            assert!(resident <= booked, "{mode:?}, step {step}: {resident} {booked}");
        }
    }
}

#[test]
fn in_a_great_heap_every_last_hugepage_is_asked_for_so_that_mappings_stay_few() {
    let per_mib = (1 << 20) / Pages8K::BYTES;
    let heap = Heap::under(ThpMode::Madvise);
    let of = |mib: usize| SpanRequest::<Pages8K>::of(PageCount::new(mib * per_mib));
    let allocate = |request| heap.heap.allocate(&heap.ground, request).expect("simulated memory");
    let great: Vec<_> = (0..17).map(|_| allocate(of(1 << 10))).collect();
    let before = heap.heap.figures(&heap.ground).advice.advised_bytes;
    let span = allocate(SpanRequest::of(PageCount::new(4 * per_mib + 1)));
    let after = heap.heap.figures(&heap.ground).advice.advised_bytes;
    assert_eq!((after - before) >> 21, 3);
    great.into_iter().chain([span]).for_each(|span| heap.deallocate(span));
}
