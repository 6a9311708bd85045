use super::Temeraire;
use crate::{
    departures::{Cause, Departures},
    test_ground::{SECOND_NS, TestGround, ground},
};
use core::sync::atomic::{AtomicBool, Ordering};
use std::{boxed::Box, sync::Barrier, vec::Vec};
use strata_os::{AddressRange, CallKinds, Fault, ThpMode};
use strata_page_heap::{
    HugepageBreak, MemoryLimits, PageHeap, ReleaseReason, SpanRequest, Temperature, limited_bytes,
};
use strata_size_classes::Pages8K;
use strata_span::{HugepageCount, PageCount, SpanHandle};

const MIB: usize = 1 << 20;
const ALL: [Temperature; 3] = [Temperature::Normal, Temperature::Sampled, Temperature::Cold];

struct Heap {
    ground: TestGround<Pages8K>,
    heap: Box<Temeraire<Pages8K>>,
}

impl Heap {
    fn new() -> Self {
        Self { ground: ground(), heap: Box::new(Temeraire::new()) }
    }

    fn try_allocate(&self, bytes: usize, temperature: Temperature) -> Option<SpanHandle> {
        let pages = PageCount::holding(bytes).expect("pages");
        let request = SpanRequest { temperature, ..SpanRequest::of(pages) };
        self.heap.allocate(&self.ground, request)
    }

    fn allocate(&self, bytes: usize, temperature: Temperature) -> SpanHandle {
        self.try_allocate(bytes, temperature).expect("memory is not short")
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    fn release(&self, bytes: usize, reason: ReleaseReason) -> usize {
        let wanted = PageCount::holding(bytes).expect("pages");
        self.heap.release(&self.ground, wanted, reason).bytes()
    }

    fn reservations(&self, temperature: Temperature) -> Vec<AddressRange> {
        let mut ranges = Vec::new();
        let heap = self.heap.heap(temperature).expect("made");
        heap.for_each_reservation(|range| ranges.push(range));
        ranges
    }
}

/// Every test ends with sums that hold, of each heap and of all.
impl Drop for Heap {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let all = self.heap.stats();
        for stats in ALL.into_iter().filter_map(|kind| self.heap.stats_of(kind)).chain([all]) {
            let pages = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
            assert_eq!(pages, stats.system_bytes, "{stats:#?}");
            assert!(stats.system_bytes <= stats.reserved_bytes, "{stats:#?}");
        }
    }
}

#[test]
fn a_program_without_sampled_and_cold_spans_has_no_heaps_for_them() {
    let heap = Heap::new();
    let span = heap.allocate(MIB, Temperature::Normal);
    assert_eq!(heap.heap.pool.stats().created, 0);
    assert_eq!(heap.heap.stats_of(Temperature::Sampled), None);
    assert_eq!(heap.heap.stats_of(Temperature::Cold), None);
    assert!(heap.heap.figures_of(&heap.ground, Temperature::Cold).is_none());
    assert_eq!(heap.heap.stats_of(Temperature::Normal), Some(heap.heap.stats()));
    let more = size_of::<Temeraire<Pages8K>>() - size_of::<crate::HugePageAware<Pages8K>>();
    assert!(more <= 256, "{more} bytes");
    heap.deallocate(span);
}

#[test]
fn spans_of_each_temperature_lie_in_address_space_of_their_own() {
    let heap = Heap::new();
    // From the filler, from a donated hugepage, whole hugepages.
    let sizes = [8192, MIB / 2, 3 * MIB / 2, 4 * MIB, 5 * MIB + 8192];
    let spans: Vec<_> =
        sizes.iter().flat_map(|bytes| ALL.map(|it| (it, heap.allocate(*bytes, it)))).collect();
    for (temperature, span) in &spans {
        let range = span.range::<Pages8K>();
        for other in ALL {
            let inside = heap.reservations(other).iter().any(|reserved| {
                reserved.contains(range.start) && reserved.contains(range.end() - 1)
            });
            assert_eq!(inside, other == *temperature, "{temperature:?} in {other:?}");
        }
    }
    let sum: u64 = sizes.iter().map(|bytes| *bytes as u64).sum();
    let of = |temperature| heap.heap.stats_of(temperature).expect("made").in_use_bytes;
    assert_eq!(ALL.map(of), [sum; 3]);
    assert_eq!(heap.heap.stats().in_use_bytes, 3 * sum);
    let figures = heap.heap.figures_of(&heap.ground, Temperature::Cold).expect("made");
    assert_eq!(figures.components.cache.used + figures.components.filler.used, sum);
    spans.into_iter().for_each(|(_, span)| heap.deallocate(span));
    assert_eq!(ALL.map(of), [0; 3]);
    heap.release(usize::MAX >> 1, ReleaseReason::HardLimit);
    assert_eq!(heap.heap.stats().free_bytes, 0);
}

#[test]
fn cold_memory_goes_back_first_and_sampled_memory_last() {
    let heap = Heap::new();
    let spans = ALL.map(|temperature| heap.allocate(8 * MIB, temperature));
    spans.into_iter().for_each(|span| heap.deallocate(span));
    let free = |temperature| heap.heap.stats_of(temperature).expect("made").free_bytes;
    let eight = 8 * MIB as u64;
    assert_eq!(ALL.map(free), [eight; 3]);
    assert_eq!(heap.release(8 * MIB, ReleaseReason::HardLimit), 8 * MIB);
    assert_eq!(ALL.map(free), [eight, eight, 0]);
    assert_eq!(heap.release(12 * MIB, ReleaseReason::HardLimit), 12 * MIB);
    assert_eq!(ALL.map(free), [0, eight / 2, 0]);
    assert_eq!(heap.heap.stats().released.hard_limit, 20 * MIB as u64);
}

#[test]
fn a_hard_limit_holds_for_all_heaps_together_and_what_others_have_free_goes_first() {
    let heap = Heap::new();
    let spans = ALL.map(|temperature| heap.allocate(8 * MIB, temperature));
    let backed = heap.heap.stats().backed_bytes();
    let hard_bytes = limited_bytes(&heap.ground, backed) + MIB as u64;
    heap.heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes });
    for temperature in ALL {
        assert!(heap.try_allocate(8 * MIB, temperature).is_none(), "{temperature:?}");
    }
    assert!(heap.heap.stats().limits.hard_failures >= 3);
    let [normal, sampled, cold] = spans;
    heap.deallocate(sampled);
    // It fits where it was, and where it was not.
    let again = heap.allocate(8 * MIB, Temperature::Cold);
    assert!(heap.heap.stats_of(Temperature::Sampled).expect("made").free_bytes < MIB as u64);
    assert!(heap.try_allocate(8 * MIB, Temperature::Sampled).is_none());
    let now = limited_bytes(&heap.ground, heap.heap.stats().backed_bytes());
    assert!(now <= hard_bytes, "{now} of {hard_bytes}");
    let limits = heap.heap.stats().limits;
    assert_eq!(limits.limits.hard_bytes, hard_bytes, "what is said is what was set");
    assert!(limits.hard_hits > limits.hard_failures, "one of them ended well: {limits:?}");
    [normal, cold, again].into_iter().for_each(|span| heap.deallocate(span));
}

#[test]
fn a_hard_limit_refuses_no_span_for_what_its_books_need_while_others_have_memory_to_give() {
    let heap = Heap::new();
    let mut spans = Vec::new();
    // Pages whose entries are in one leaf of the page map.
    const LEAF_BYTES: usize = 256 * MIB;
    for number in 0..4 {
        heap.heap.set_limits(MemoryLimits::NONE);
        // What is wanted begins a leaf, of which nothing was written to.
        loop {
            let span = heap.allocate(2 * MIB, Temperature::Normal);
            spans.push(span);
            if span.range::<Pages8K>().end().is_multiple_of(LEAF_BYTES) {
                break;
            }
        }
        let cold = heap.allocate(8 * MIB, Temperature::Cold);
        heap.deallocate(cold);
        let stats = heap.heap.stats();
        assert!(stats.free_bytes >= 8 * MIB as u64, "{stats:?}");
        let hard_bytes = limited_bytes(&heap.ground, stats.backed_bytes());
        heap.heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes });
        // With a page more it is what others give back: whole hugepages.
        let span = heap.try_allocate(2 * MIB - 8192, Temperature::Normal);
        spans.push(span.unwrap_or_else(|| panic!("{number}: {:?}", heap.heap.stats())));
        let now = limited_bytes(&heap.ground, heap.heap.stats().backed_bytes());
        assert!(now <= hard_bytes, "{now} of {hard_bytes}");
    }
    spans.into_iter().for_each(|span| heap.deallocate(span));
}

#[test]
fn at_a_soft_limit_all_heaps_give_back_and_nothing_fails() {
    let heap = Heap::new();
    let soft_bytes = limited_bytes(&heap.ground, 16 * MIB as u64);
    heap.heap.set_limits(MemoryLimits { soft_bytes, hard_bytes: 0 });
    for _ in 0..8 {
        for temperature in ALL {
            let span = heap.allocate(12 * MIB, temperature);
            heap.deallocate(span);
        }
    }
    let stats = heap.heap.stats();
    // The metadata of two heaps came on top since the limit was set.
    assert!(stats.free_bytes <= 17 * MIB as u64, "{stats:?}");
    assert!(stats.limits.soft_successes > 0 && stats.released.soft_limit > 0, "{stats:?}");
}

#[test]
fn a_heap_that_finds_no_address_space_takes_that_of_the_others() {
    let heap = Heap::new();
    let cold = heap.allocate(64 * MIB, Temperature::Cold);
    heap.deallocate(cold);
    let reserved = heap.heap.stats().reserved_bytes;
    heap.ground.source.source().set_limit(usize::try_from(reserved).expect("64 bits") + 16 * MIB);
    let normal = heap.try_allocate(60 * MIB, Temperature::Normal);
    assert!(normal.is_some(), "{:?}", heap.heap.stats());
    assert!(heap.heap.stats_of(Temperature::Cold).expect("made").reserved_bytes < 64 * MIB as u64);
}

#[test]
fn a_heap_that_finds_no_address_space_waits_for_what_others_have_in_hand() {
    let heap = Heap::new();
    let span = heap.allocate(64 * MIB, Temperature::Cold);
    heap.deallocate(span);
    let reserved = heap.heap.stats().reserved_bytes;
    heap.ground.source.source().set_limit(usize::try_from(reserved).expect("64 bits"));
    // Told by the source, too, so that it is known when the other has found nothing.
    heap.ground.source.arm(Fault::always().of(CallKinds::RESERVE));
    let (began, is_over) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // All that the cold heap has goes to the kernel, in this thread's hands.
            let cold = heap.heap.heap(Temperature::Cold).expect("made");
            let mut departures = Departures::new();
            {
                let mut state = cold.state.lock();
                let state = &mut *state;
                let keep = HugepageCount::ZERO;
                while let Some(range) =
                    state.cache.take_excess(&heap.ground, keep, &mut state.nodes, SECOND_NS)
                {
                    state.depart_backed(range, Cause::Periodic, &mut departures);
                }
                cold.underway.begin();
            }
            began.wait();
            while heap.ground.source.failures() == 0 && !is_over.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            heap.ground.source.disarm();
            cold.carry_out(&heap.ground, &departures);
        });
        began.wait();
        let normal = heap.try_allocate(60 * MIB, Temperature::Normal);
        is_over.store(true, Ordering::Relaxed);
        assert!(normal.is_some(), "{:?}", heap.heap.stats());
    });
}

#[test]
fn where_no_metadata_is_left_for_a_heap_spans_stand_with_the_ordinary_ones() {
    use strata_os::{FailingPages, ManualClock, SimulatedPages, SystemPages};
    type Ground =
        strata_span::Ground<Pages8K, SimulatedPages, FailingPages<SystemPages>, ManualClock>;
    let metadata = FailingPages::new(SystemPages::new());
    let ground = Ground::new(SimulatedPages::new(), metadata, ManualClock::new(SECOND_NS));
    let heap = Box::new(Temeraire::<Pages8K>::new());
    let normal = SpanRequest::of(PageCount::new(3));
    let one = heap.allocate(&ground, normal).expect("memory is not short");
    ground.metadata.arm(Fault::always().of(CallKinds::all()));
    let cold = SpanRequest { temperature: Temperature::Cold, ..normal };
    let mut spans: Vec<_> = (0..64).map_while(|_| heap.allocate(&ground, cold)).collect();
    let apart = heap.stats_of(Temperature::Cold).map_or(0, |stats| stats.spans_in_use);
    let stats = heap.stats();
    assert_eq!(stats.spans_in_use, 1 + spans.len() as u64);
    assert!(!spans.is_empty(), "what the arena had was enough for some, or for a heap: {apart}");
    spans.push(one);
    for span in spans {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { heap.deallocate(&ground, span) };
    }
    assert_eq!(heap.stats().in_use_bytes, 0);
}

#[test]
fn hugepages_are_asked_about_where_they_are() {
    let heap = Heap::new();
    for temperature in ALL {
        let spans: Vec<_> = (0..6).map(|_| heap.allocate(MIB / 4, temperature)).collect();
        let hugepage = spans[0].first::<Pages8K>().hugepage();
        let used = heap.heap.hugepage_figures(&heap.ground, hugepage);
        assert!(used.used_pages > 0, "{temperature:?}: {used:?}");
        // Whatever the answer, it is the owner's: no other knows the hugepage.
        let answer = heap.heap.break_hugepage(&heap.ground, hugepage, MIB);
        assert!(matches!(answer, HugepageBreak::NotHuge | HugepageBreak::Refused), "{answer:?}");
        spans.into_iter().for_each(|span| heap.deallocate(span));
    }
}

#[test]
fn spans_of_all_temperatures_grow_where_they_are() {
    let heap = Heap::new();
    for temperature in ALL {
        let span = heap.allocate(MIB / 2, temperature);
        let more = PageCount::holding(12 * MIB).expect("pages");
        // SAFETY: the test has the span, and it has no class.
        assert!(unsafe { heap.heap.extend(&heap.ground, span, more) }, "{temperature:?}");
        let stats = heap.heap.stats_of(temperature).expect("made");
        assert_eq!(stats.in_use_bytes, 12 * MIB as u64);
        heap.deallocate(span);
        assert_eq!(heap.heap.stats_of(temperature).expect("made").in_use_bytes, 0);
    }
}

#[test]
fn spans_that_are_cold_grow_without_asking_for_hugepages() {
    let heap = Heap::new();
    let advised = |temperature| {
        let figures = heap.heap.figures_of(&heap.ground, temperature).expect("made");
        figures.advice.advised_bytes as usize
    };
    for temperature in ALL {
        heap.deallocate(heap.allocate(8192, temperature));
        heap.heap.heap(temperature).expect("made").advice.pretend(ThpMode::Madvise);
        let span = heap.allocate(32 * MIB, temperature);
        let before = advised(temperature);
        let pages = PageCount::holding(64 * MIB).expect("pages");
        // SAFETY: the span came from this heap, and nobody else has it.
        let grown = unsafe { heap.heap.extend(&heap.ground, span, pages) };
        assert!(grown, "{temperature:?}");
        let asked = if temperature == Temperature::Normal { 32 * MIB } else { 0 };
        assert_eq!(advised(temperature) - before, asked, "{temperature:?}");
        heap.deallocate(span);
    }
}

#[test]
fn a_fork_takes_the_locks_of_all_heaps() {
    let heap = Heap::new();
    let spans = ALL.map(|temperature| heap.allocate(MIB, temperature));
    for _ in 0..2 {
        heap.heap.acquire();
        // SAFETY: taken above, by this thread.
        unsafe { heap.heap.release_lock() };
    }
    spans.into_iter().for_each(|span| heap.deallocate(span));
    assert_eq!(heap.heap.stats().in_use_bytes, 0);
}

#[test]
fn the_peak_is_that_of_one_moment() {
    let heap = Heap::new();
    for temperature in ALL {
        let span = heap.allocate(32 * MIB, temperature);
        heap.deallocate(span);
        heap.release(64 * MIB, ReleaseReason::HardLimit);
    }
    let stats = heap.heap.stats();
    assert_eq!(stats.peak.in_use_bytes, 32 * MIB as u64);
    assert_eq!(stats.peak_backed_bytes, 32 * MIB as u64);
    let spans = ALL.map(|temperature| heap.allocate(32 * MIB, temperature));
    let stats = heap.heap.stats();
    assert_eq!((stats.peak.in_use_bytes, stats.peak.spans_in_use), (96 * MIB as u64, 3));
    spans.into_iter().for_each(|span| heap.deallocate(span));
    assert_eq!(heap.heap.stats().peak.in_use_bytes, 96 * MIB as u64);
}

/// What the kernel fills when it puts hugepages together stands in memory as what was allocated does, and may be
/// the most that there was.
#[test]
fn the_peak_of_all_heaps_has_what_the_kernel_filled() {
    let heap = Heap::new();
    let kept_cold = heap.allocate(MIB, Temperature::Cold);
    let small = || {
        let span = heap.allocate(8192, Temperature::Normal);
        heap.ground.source.source().touch(span.range::<Pages8K>());
        span
    };
    let spans: Vec<_> = (0..12 * 256).map(|_| small()).collect();
    let (go, stay): (Vec<_>, Vec<_>) =
        spans.into_iter().enumerate().partition(|(index, _)| index % 8 == 0);
    go.into_iter().for_each(|(_, span)| heap.deallocate(span));
    let missing = heap.release(32 * MIB, ReleaseReason::HardLimit);
    assert!(missing > MIB, "{missing}");
    // As much is had elsewhere.
    let cold = heap.allocate(missing, Temperature::Cold);
    let before = heap.heap.stats().peak_backed_bytes;
    heap.ground.clock.advance(SECOND_NS);
    heap.heap.maintain(&heap.ground, strata_os::Clock::now_ns(&heap.ground.clock));
    let filled = heap.release(32 * MIB, ReleaseReason::HardLimit);
    assert!(filled > MIB, "{filled}");
    let after = heap.heap.stats();
    assert!(after.backed_bytes() < after.peak_backed_bytes, "{after:?}");
    assert!(after.peak_backed_bytes >= before + MIB as u64, "{before} and {after:?}");
    for span in stay.into_iter().map(|(_, span)| span).chain([kept_cold, cold]) {
        heap.deallocate(span);
    }
}
