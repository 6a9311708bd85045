//! Programs over a heap whose source does not fail.

use super::{
    Seed,
    model::{Model, random_growth, random_request},
    test_ground::TestGround,
};
use crate::{PageHeap, ReleaseReason, SpanRequest};
use strata_os::Clock;
use strata_span::{HUGEPAGE_BYTES, HugepageCount, PageCount, PageSize};

/// Spans that a random program has out at most.
const MOST_OUT: usize = 150;

const SECOND_NS: u64 = 1_000_000_000;

/// Allocates, extends, frees, releases and lets time pass at random, and compares with a model after
/// each step.
pub fn a_random_program_agrees_with_a_model<P: PageSize, H: PageHeap<P>>(seed: Seed, steps: usize) {
    std::println!("{seed:?}");
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed;
    let mut model = Model::new(&ground, &heap);
    for step in 0..steps {
        random_step(&mut model, &mut seed);
        model.check();
        if step % 64 == 0 {
            model.check_reservations();
        }
    }
    model.check_reservations();
    model.deallocate_all(&mut seed);
}

/// A program as servers are: demand of small and of awkward large spans rises, falls at random places and rises again,
/// while the program asks for memory to go back, a limit comes and goes, time passes, and the heap is maintained.
pub fn demand_may_ebb_and_flow<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(15);
    let mut model = Model::new(&ground, &heap);
    let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
    let small = 16 * per_hugepage;
    let tide = |model: &mut Model<'_, P, H>, seed: &mut Seed| {
        while model.out() < small {
            assert!(model.allocate(SpanRequest::of(PageCount::ONE)), "memory is not short");
        }
        for _ in 0..20 {
            model.maintain(6);
        }
        // Whole neighbourhoods go, and of others every second page.
        while model.out() > small / 4 {
            model.deallocate(seed.below(model.out()));
        }
    };
    for round in 0..3 {
        tide(&mut model, &mut seed);
        let reason = [ReleaseReason::Call, ReleaseReason::Policy, ReleaseReason::SoftLimit][round];
        model.release(PageCount::new(2 * per_hugepage), reason);
        ground.clock.advance(400 * SECOND_NS);
        model.release(PageCount::new(4 * per_hugepage), reason);
        model.check();
    }
    // Spans that end in the middle of a hugepage leave tails, on which others come to live.
    for round in 0..80 {
        let awkward = PageCount::new(per_hugepage + per_hugepage / 2 + 1 + round % 3);
        assert!(model.allocate(SpanRequest::of(awkward)), "memory is not short");
        if round % 4 == 0 {
            assert!(model.allocate(SpanRequest::of(PageCount::new(1 + per_hugepage / 8))));
        }
        if round % 8 == 7 {
            for _ in 0..6 {
                model.deallocate(model.out() - 1 - seed.below(8));
            }
        }
    }
    model.check();
    while model.out() > small / 8 {
        model.deallocate(seed.below(model.out()));
    }
    ground.clock.advance(SECOND_NS);
    model.release(PageCount::new(64 * per_hugepage), ReleaseReason::Call);
    tide(&mut model, &mut seed);
    model.check_reservations();
    model.deallocate_all(&mut seed);
}

/// A heap grows by spans of a third of a hugepage or a little more, of which two leave a hole that is too short for a third:
/// they come, grow where they are, and go in any order, while memory goes back.
pub fn spans_of_a_third_of_a_hugepage_come_and_go<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(17);
    let mut model = Model::new(&ground, &heap);
    let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
    let third = PageCount::new((7 * per_hugepage).div_ceil(20));
    for round in 0..6 {
        while model.out() < 30 {
            assert!(model.allocate(SpanRequest::of(third)), "memory is not short");
            model.check();
        }
        for _ in 0..10 {
            let index = seed.below(model.out());
            let pages = model.pages(index) + PageCount::new(1 + seed.below(per_hugepage / 4));
            model.extend(index, pages);
            model.check();
        }
        while model.out() > 5 * round {
            model.deallocate(seed.below(model.out()));
            model.check();
        }
        ground.clock.advance(SECOND_NS);
        model.release(PageCount::new(seed.below(2 * per_hugepage)), ReleaseReason::Call);
        model.check();
    }
    model.check_reservations();
    model.deallocate_all(&mut seed);
}

/// The clock jumps, forwards by years and backwards, between and within releases.
pub fn a_clock_may_jump<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(1);
    let mut model = Model::new(&ground, &heap);
    for _ in 0..400 {
        match seed.below(4) {
            0 => ground.clock.set(ground.clock.now_ns() / 2),
            1 => ground.clock.set(0),
            2 => ground.clock.advance(seed.next() >> 8),
            _ => ground.clock.advance(SECOND_NS),
        }
        random_step(&mut model, &mut seed);
        model.check();
        let _ = heap.figures(&ground);
    }
    model.deallocate_all(&mut seed);
}

/// Every alignment up to 1 GiB is had, and what comes back serves the same wish again without
/// growth for ever.
pub fn aligned_spans_are_aligned_and_fit_in_again<P: PageSize, H: PageHeap<P>>() {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = Seed::new(1);
    let mut model = Model::new(&ground, &heap);
    let mut align = 1;
    // Up to a gibibyte: from 64 MiB on two steps at a time.
    while align << P::SHIFT <= 512 * HUGEPAGE_BYTES {
        for pages in [1, 3, align, align + 1] {
            let request = SpanRequest {
                align: PageCount::new(align),
                ..SpanRequest::of(PageCount::new(pages))
            };
            for _ in 0..4 {
                assert!(model.allocate(request), "memory is not short");
                model.deallocate(0);
                model.check();
            }
            let settled = heap.stats().system_bytes;
            for _ in 0..8 {
                assert!(model.allocate(request), "memory is not short");
                model.deallocate(0);
            }
            assert_eq!(
                heap.stats().system_bytes,
                settled,
                "the same wish is served from the same memory"
            );
        }
        align *= if align << P::SHIFT < 32 * HUGEPAGE_BYTES { 2 } else { 4 };
    }
    model.deallocate_all(&mut seed);
}

/// Spans grow again and again, by little and by much, among others that come and go: each keeps its place and its
/// pages, and no neighbour loses any. (How often a heap lets them grow is its own affair.)
pub fn spans_that_grow_take_nothing_from_others<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(10);
    let mut model = Model::new(&ground, &heap);
    for _ in 0..150 {
        assert!(model.allocate(random_request(&mut seed)), "memory is not short");
        for _ in 0..seed.below(8) {
            let index = if seed.below(2) == 0 { model.out() - 1 } else { seed.below(model.out()) };
            model.extend(index, random_growth(model.pages(index), &mut seed));
            model.check();
        }
        if seed.below(3) == 0 {
            model.deallocate(seed.below(model.out()));
        }
        if seed.below(8) == 0 {
            model.release(PageCount::new(seed.below(1000)), ReleaseReason::Call);
        }
        model.check();
        let _ = heap.figures(&ground);
    }
    model.check_reservations();
    model.deallocate_all(&mut seed);
    let free = heap.stats().free_bytes;
    let all =
        PageCount::holding(usize::try_from(free).unwrap_or(usize::MAX)).unwrap_or(PageCount::ZERO);
    model.release(all, ReleaseReason::HardLimit);
    assert_eq!(heap.stats().free_bytes, 0, "what grew can be given back, too");
}

/// After all was freed, the hard limit gets all of it: nothing stays backed.
pub fn everything_freed_can_be_released<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(2);
    let mut model = Model::new(&ground, &heap);
    for _ in 0..200 {
        assert!(model.allocate(random_request(&mut seed)), "memory is not short");
    }
    model.deallocate_all(&mut seed);
    let free = heap.stats().free_bytes;
    let all =
        PageCount::holding(usize::try_from(free).unwrap_or(usize::MAX)).unwrap_or(PageCount::ZERO);
    model.release(all, ReleaseReason::HardLimit);
    model.check();
    assert_eq!(heap.stats().free_bytes, 0, "all that is free can be given back");
    // What was released is handed out again, and reads as zero where it is called so.
    for _ in 0..200 {
        assert!(model.allocate(random_request(&mut seed)), "memory is not short");
        model.check();
    }
    model.deallocate_all(&mut seed);
}

/// Lengths and alignments that no address space has are refused, and nothing is lost by asking.
pub fn impossible_requests_are_refused<P: PageSize, H: PageHeap<P>>() {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut model = Model::new(&ground, &heap);
    assert!(model.allocate(SpanRequest::of(PageCount::new(7))));
    let whole = usize::MAX >> P::SHIFT;
    for pages in
        [usize::MAX, usize::MAX - 1, usize::MAX / 2 + 1, whole, whole + 1, whole / 2, 1 << 40]
    {
        let pages = PageCount::new(pages);
        assert!(!model.allocate(SpanRequest::of(pages)), "{pages:?} cannot be");
        let aligned = SpanRequest { align: PageCount::new(1 << 9), ..SpanRequest::of(pages) };
        assert!(!model.allocate(aligned), "{pages:?} cannot be, aligned or not");
        assert!(!model.extend(0, pages), "nothing grows to {pages:?}");
    }
    for shift in [40, 50, usize::BITS - P::SHIFT, usize::BITS - 1] {
        let align = PageCount::new(1 << shift);
        let request = SpanRequest { align, ..SpanRequest::of(PageCount::ONE) };
        assert!(!model.allocate(request), "an alignment of {align:?} cannot be");
    }
    assert!(
        model.extend(0, PageCount::new(7)) && model.extend(0, PageCount::ZERO),
        "it is that long"
    );
    model.check();
    model.deallocate_all(&mut Seed::new(1));
}

/// A terabyte in spans of a gigabyte and of a page.
pub fn a_terabyte_costs_nothing<P: PageSize, H: PageHeap<P>>() {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = Seed::new(3);
    let mut model = Model::new(&ground, &heap);
    let gigabyte = HugepageCount::new(512).pages::<P>();
    for _ in 0..1024 {
        assert!(model.allocate(SpanRequest::of(gigabyte)), "a simulated terabyte");
        assert!(model.allocate(SpanRequest::of(PageCount::ONE)), "and a page beside it");
    }
    model.check();
    assert!(heap.stats().in_use_bytes > 1 << 40);
    while model.out() > 1024 {
        model.deallocate(seed.below(model.out()));
    }
    model.release(gigabyte, ReleaseReason::Call);
    model.deallocate_all(&mut seed);
}

/// Two heaps on one ground, whose reservations lie side by side, never mix.
pub fn neighbours_of_another_heap_are_left_alone<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let ground = TestGround::<P>::new();
    let (low, high) = (H::EMPTY, H::EMPTY);
    let mut seed = seed.derived(4);
    let (mut low, mut high) = (Model::new(&ground, &low), Model::new(&ground, &high));
    for _ in 0..600 {
        for model in [&mut low, &mut high] {
            random_step(model, &mut seed);
            model.check();
        }
    }
    low.check_reservations();
    high.check_reservations();
    low.deallocate_all(&mut seed);
    high.check();
    high.deallocate_all(&mut seed);
}

/// One step of a random program.
pub(super) fn random_step<P: PageSize, H: PageHeap<P>>(
    model: &mut Model<'_, P, H>,
    seed: &mut Seed,
) {
    match seed.below(18) {
        17 => model.maintain(0),
        0 => {
            let reason = [
                ReleaseReason::Call,
                ReleaseReason::Policy,
                ReleaseReason::Idle,
                ReleaseReason::SoftLimit,
                ReleaseReason::HardLimit,
            ][seed.below(5)];
            let most = 1 << seed.below(18);
            model.release(PageCount::new(seed.below(most)), reason);
        }
        1 => model.ground.clock.advance(seed.next() % (1 << seed.below(45))),
        2..4 if model.out() > 0 => {
            let index = seed.below(model.out());
            model.extend(index, random_growth(model.pages(index), seed));
        }
        4..10 if model.out() < MOST_OUT => {
            model.allocate(random_request(seed));
        }
        16 if model.out() > 0 => model.deallocate_to_kernel(seed.below(model.out())),
        _ if model.out() > 0 => model.deallocate(seed.below(model.out())),
        _ => {}
    }
}
