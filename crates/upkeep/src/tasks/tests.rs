use super::inside_spans::next_hugepage_in_use;
use crate::{Counters, Layers, ReleasePolicy, Schedule};
use core::cell::Cell;
use std::{boxed::Box, vec::Vec};
use strata_central::MiddleTier;
use strata_cpu_cache::CpuCache;
use strata_os::{Clock, ManualClock, SimulatedPages, SystemPages};
use strata_page_heap::{PageHeap, SpanRequest};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_span::{Ground, HUGEPAGE_BYTES, Hugepage, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

const SECOND_NS: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;

/// A page heap and a middle tier over pages and time that are simulated.
struct Parts {
    ground: Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>,
    page_heap: Box<HugePageAware<Pages8K>>,
    middle: Box<MiddleTier<Pages8K>>,
    counters: Counters,
    policy: ReleasePolicy,
    activity: Cell<u64>,
}

impl Layers for Parts {
    type Platform = Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>;
    type PageHeap = HugePageAware<Pages8K>;

    fn platform(&self) -> &Self::Platform {
        &self.ground
    }
    fn page_heap(&self) -> &Self::PageHeap {
        &self.page_heap
    }
    fn middle(&self) -> &MiddleTier<Pages8K> {
        &self.middle
    }
    fn cpu_caches(&self) -> Option<&CpuCache> {
        None
    }
    fn with_cpu_cache_stops<R>(&self, _: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        None
    }
    fn policy(&self) -> ReleasePolicy {
        self.policy
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
    fn activity(&self) -> u64 {
        self.activity.get()
    }
}

impl Parts {
    fn new(policy: ReleasePolicy) -> Self {
        let clock = ManualClock::new(SECOND_NS);
        Self {
            ground: Ground::new(SimulatedPages::new(), SystemPages::new(), clock),
            page_heap: Box::new(HugePageAware::EMPTY),
            middle: Box::new(MiddleTier::new()),
            counters: Counters::new(),
            policy,
            activity: Cell::new(0),
        }
    }

    fn allocate(&self, bytes: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::new(bytes / Pages8K::BYTES));
        self.page_heap.allocate(&self.ground, request).expect("there is address space")
    }

    fn free(&self, span: SpanHandle) {
        // SAFETY: the tests free what they allocated here, each span once.
        unsafe { self.page_heap.deallocate(&self.ground, span) };
    }

    /// Lets the time pass to `end_ns`, with each step when it is due.
    fn pass_to(&self, schedule: &mut Schedule, end_ns: u64) {
        let mut now_ns = self.ground.clock.now_ns();
        while now_ns < end_ns {
            now_ns = schedule.step(self, now_ns).clamp(now_ns, end_ns);
            self.ground.clock.set(now_ns);
        }
    }

    /// Their numbers, each looked at.
    fn hugepages_in_use(&self) -> Vec<usize> {
        let mut numbers = Vec::new();
        self.page_heap.for_each_reservation(|range| {
            let number = |address| Hugepage::from_address(address).number();
            numbers.extend(number(range.start)..number(range.end()));
        });
        numbers.retain(|&number| self.ground.map.tracker(Hugepage::new(number)).is_some());
        numbers.sort_unstable();
        numbers
    }

    fn free_bytes(&self) -> u64 {
        self.page_heap.stats().free_bytes
    }
}

#[test]
fn a_rate_of_less_than_a_step_or_even_a_page_a_second_is_met_and_no_more_than_that() {
    // Bytes a second, and the seconds in which eight steps' worth goes.
    for (rate, seconds) in [(512 << 10, 16), (100_000, 84), (4096, 2048), (1001, 8380)] {
        let policy = ReleasePolicy { rate, ..ReleasePolicy::NOTHING };
        let (parts, mut schedule) = (Parts::new(policy), Schedule::new());
        let spans: Vec<_> = (0..32).map(|_| parts.allocate(HUGEPAGE_BYTES)).collect();
        spans.into_iter().for_each(|span| parts.free(span));
        let before = parts.free_bytes();
        assert!(before >= 16 * MIB);
        parts.pass_to(&mut schedule, SECOND_NS * (seconds + 1));
        let gone = before - parts.free_bytes();
        let allowed = rate * seconds;
        assert!(gone <= allowed + 2 * MIB, "{gone} bytes at {rate} a second");
        assert!(gone + 2 * MIB >= allowed, "{gone} bytes at {rate} a second");
        assert!(parts.counters.steps() < 50 * seconds, "it sleeps between steps");
    }
}

#[test]
fn a_step_gives_back_what_the_rate_allows_in_an_eighth_of_a_second_and_no_more() {
    // MiB a second, and those of a step.
    for (rate, step) in [(1, 1), (8, 1), (16, 2), (32, 4), (1000, 4)] {
        let policy = ReleasePolicy { rate: rate * MIB, ..ReleasePolicy::NOTHING };
        let (parts, mut schedule) = (Parts::new(policy), Schedule::new());
        let spans: Vec<_> = (0..64).map(|_| parts.allocate(HUGEPAGE_BYTES)).collect();
        spans.into_iter().for_each(|span| parts.free(span));
        let (mut most, mut now_ns) = (0, SECOND_NS);
        while now_ns < 4 * SECOND_NS {
            let before = parts.free_bytes();
            parts.ground.clock.set(now_ns);
            now_ns = schedule.step(&parts, now_ns).max(now_ns);
            most = most.max(before - parts.free_bytes());
        }
        // Whole hugepages go.
        assert_eq!(most, (step * MIB).next_multiple_of(HUGEPAGE_BYTES as u64), "at {rate} MiB/s");
    }
}

#[test]
fn what_nobody_wants_goes_after_the_delay_and_not_before() {
    let policy = ReleasePolicy { delay_ms: 3000, ..ReleasePolicy::NOTHING };
    let (parts, mut schedule) = (Parts::new(policy), Schedule::new());
    let kept = parts.allocate(HUGEPAGE_BYTES * 5 / 8);
    let many: Vec<_> = (0..32).map(|_| parts.allocate(HUGEPAGE_BYTES)).collect();
    parts.pass_to(&mut schedule, 10 * SECOND_NS);
    many.into_iter().for_each(|span| parts.free(span));
    // Who frees so much comes by, as a thread that misses does.
    parts.activity.set(1);
    schedule.rouse(10 * SECOND_NS);
    let before = parts.free_bytes();
    parts.pass_to(&mut schedule, 12 * SECOND_NS);
    assert_eq!(parts.free_bytes(), before, "it may be wanted again");
    parts.pass_to(&mut schedule, 20 * SECOND_NS);
    assert!(parts.free_bytes() <= MIB, "{} bytes", parts.free_bytes());
    parts.free(kept);
}

#[test]
fn a_clock_that_jumps_back_delays_nothing() {
    let policy = ReleasePolicy { delay_ms: 3000, ..ReleasePolicy::NOTHING };
    let (parts, mut schedule) = (Parts::new(policy), Schedule::new());
    parts.pass_to(&mut schedule, 1000 * SECOND_NS);
    parts.ground.clock.set(SECOND_NS);
    parts.activity.set(1);
    schedule.rouse(SECOND_NS);
    let many: Vec<_> = (0..32).map(|_| parts.allocate(HUGEPAGE_BYTES)).collect();
    parts.pass_to(&mut schedule, 2 * SECOND_NS);
    many.into_iter().for_each(|span| parts.free(span));
    parts.pass_to(&mut schedule, 20 * SECOND_NS);
    assert!(parts.free_bytes() <= MIB, "{} bytes", parts.free_bytes());
}

#[test]
fn transfer_caches_of_a_heap_in_use_stay_filled_though_everything_is_idle_at_once() {
    let policy = ReleasePolicy { delay_ms: 0, ..ReleasePolicy::DEFAULT };
    let (parts, mut schedule) = (Parts::new(policy), Schedule::new());
    let class = Pages8K::TABLE.entry(512).expect("a class").class();
    let mut now_ns = SECOND_NS;
    for round in 0..40 {
        take_and_give(&parts, class);
        parts.activity.set(round);
        now_ns += SECOND_NS / 10;
        parts.ground.clock.set(now_ns);
        while schedule.step(&parts, now_ns) <= now_ns {}
        assert!(parts.middle.transfer(class).used() > 0, "round {round}");
    }
    // And nobody wants them any more.
    parts.pass_to(&mut schedule, now_ns + 2 * SECOND_NS);
    assert_eq!(parts.middle.transfer(class).used(), 0);
}

/// Takes a few batches of objects, and gives them back.
fn take_and_give(parts: &Parts, class: SizeClass) {
    let source = parts.middle.with(&parts.ground, &*parts.page_heap);
    let mut objects = [core::ptr::null_mut(); 128];
    let taken = source.take(class, &mut objects);
    assert!(taken > 0);
    // SAFETY: they were taken just now, and nobody uses them.
    unsafe { source.give(class, &mut objects[..taken]) };
}

#[test]
fn a_walk_over_hugepages_finds_each_that_is_in_use_however_many_are_not() {
    const HUGEPAGES: usize = 1200;
    // A step passes over 512 that have no span.
    for survivor in [0, 1, 510, 511, 512, 513, 514, 1023, 1024, 1025, 1026, HUGEPAGES - 1] {
        let parts = Parts::new(ReleasePolicy::NOTHING);
        // Two on each.
        let half = || parts.allocate(HUGEPAGE_BYTES / 2);
        let mut spans: Vec<_> = (0..2 * HUGEPAGES).map(|_| half()).collect();
        spans.sort_unstable_by_key(|span| number(*span));
        let kept = spans.swap_remove(2 * survivor);
        spans.into_iter().for_each(|span| parts.free(span));
        let (mut found, mut next) = (Vec::new(), 0);
        while let Some((hugepage, is_in_use)) = next_hugepage_in_use(&parts, next) {
            assert!(hugepage >= next, "it goes on");
            next = hugepage + 1;
            if is_in_use {
                found.push(hugepage);
            }
        }
        assert_eq!(found, parts.hugepages_in_use(), "the one at {survivor}");
        assert!(found.contains(&number(kept)) && found.len() < 4);
        parts.free(kept);
    }
}

/// The number of the hugepage on which a span begins.
fn number(span: SpanHandle) -> usize {
    Hugepage::from_address(span.range::<Pages8K>().start).number()
}
