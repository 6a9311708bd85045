use super::Ahead;
use crate::hugepage_aware::HugePageAware;
use std::boxed::Box;
use strata_os::{
    AddressRange, CallKind, CallKinds, FailingPages, Fault, ManualClock, SimulatedPages,
    SystemPages, ThpMode,
};
use strata_page_heap::{Density, MemoryLimits, PageHeap, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, PageCount};

const KIB: usize = 1 << 10;
const IN_USE: usize = 1 << 20;
/// 16 KiB in a quarter of a millisecond are a little less than 64 MiB a second.
const SLOW_NS: u64 = 250_000;
const FAST_NS: u64 = SLOW_NS / 2;

fn pages(bytes: usize) -> PageCount<Pages8K> {
    PageCount::holding(bytes).unwrap()
}

/// What is faulted in ahead of each of ten spans of 16 KiB, so many ns apart, in KiB.
fn of_ten(apart_ns: u64, in_use_bytes: usize) -> [usize; 10] {
    let mut ahead = Ahead::NONE;
    core::array::from_fn(|number| {
        let now_ns = (number as u64 + 1_000_000) * apart_ns;
        ahead.note(pages(16 * KIB), pages(in_use_bytes), now_ns).bytes() / KIB
    })
}

#[test]
fn a_heap_that_grows_fast_has_a_part_of_what_it_has_faulted_in_ahead() {
    // The first two spans are measured from a moment when nobody measured yet.
    let ahead = of_ten(FAST_NS, IN_USE);
    assert_eq!(ahead, [0, 0, 0, 32, 0, 32, 0, 32, 0, 32]);
    assert_eq!(of_ten(FAST_NS, 2 * IN_USE)[3], 64);
    assert_eq!(of_ten(FAST_NS, 1000 * IN_USE)[3], 64);
}

#[test]
fn one_that_grows_slowly_or_is_small_has_none() {
    assert_eq!(of_ten(SLOW_NS, 1000 * IN_USE), [0; 10]);
    assert!(Ahead::is_for(pages(IN_USE)) && !Ahead::is_for(pages(IN_USE - 8 * KIB)));
    assert_eq!(grown(127, 10_000, false, 0), (0, 0));
    assert_eq!(of_ten(0, 1000 * IN_USE), [0; 10], "a clock that stands tells nothing");
}

#[test]
fn what_was_faulted_in_ahead_counts_as_taken_when_the_next_fresh_span_comes() {
    let mut ahead = Ahead::NONE;
    let note = |ahead: &mut Ahead, now_ns| ahead.note(pages(8 * KIB), pages(IN_USE), now_ns);
    ahead.note_ahead(pages(32 * KIB));
    assert_eq!(note(&mut ahead, 1_000_000_000), PageCount::ZERO, "long after nothing");
    ahead.note_ahead(pages(32 * KIB));
    assert_eq!(note(&mut ahead, 1_000_500_000), pages(32 * KIB), "40 KiB in half a millisecond");
}

type Dense = Ground<Pages8K, FailingPages<SimulatedPages>, SystemPages, ManualClock>;

/// A heap on small pages takes so many spans of many objects, so many ns apart, and its program writes to each. Answers
/// with the bytes that are in memory and in no span, and with how often the kernel was advised.
fn grown(spans: usize, apart_ns: u64, refuse: bool, limit_bytes: u64) -> (u64, u64) {
    let source = SimulatedPages::new().with_faults().with_thp_mode(ThpMode::Never);
    let clock = ManualClock::new(1_000_000_000);
    let ground: Dense = Ground::new(FailingPages::new(source), SystemPages::new(), clock);
    let heap = Box::new(HugePageAware::<Pages8K>::new());
    heap.set_limits(MemoryLimits { soft_bytes: limit_bytes, hard_bytes: 0 });
    if refuse {
        ground.source.arm(Fault::always().of(CallKinds::ADVISE).with_errno(22));
    }
    let request = SpanRequest { density: Density::Dense, ..SpanRequest::of(PageCount::ONE) };
    for _ in 0..spans {
        ground.clock.advance(apart_ns);
        let span = heap.allocate(&ground, request).unwrap();
        let page = AddressRange::new(span.start::<Pages8K>().value(), Pages8K::BYTES);
        ground.source.source().touch(page);
    }
    let stats = heap.stats();
    let resident = ground.source.source().figures().resident_bytes as u64;
    let booked = if refuse { 0 } else { stats.free_bytes };
    assert_eq!(resident, stats.in_use_bytes + booked, "the books know what is in memory");
    (resident - stats.in_use_bytes, ground.source.calls(CallKind::Advise))
}

#[test]
fn what_a_growing_heap_faults_in_is_taken_but_for_the_last_of_it() {
    let spans = 1000;
    let (ahead, calls) = grown(spans, 10_000, false, 0);
    assert!(ahead <= Ahead::MOST_BYTES as u64, "{ahead}");
    // Up to 2 MiB it is less than 64 KiB each time; the first mebibyte nobody is asked about.
    assert!((70..200).contains(&calls), "{calls}");
    for spans in 100..400 {
        let (ahead, _) = grown(spans, 10_000, false, 0);
        assert!(ahead <= (spans * Pages8K::BYTES / Ahead::PART) as u64, "{ahead} at {spans}");
    }
}

#[test]
fn a_heap_that_grows_slowly_or_within_a_limit_faults_in_nothing() {
    assert_eq!(grown(1000, 1_000_000, false, 0), (0, 0));
    assert_eq!(grown(1000, 10_000, false, 1 << 30), (0, 0));
}

#[test]
fn a_kernel_that_refuses_is_left_alone() {
    let (ahead, calls) = grown(1000, 10_000, true, 0);
    assert_eq!(ahead, 0);
    assert!(calls < 40, "{calls}");
}
