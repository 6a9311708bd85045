use super::HugePageAware;
use crate::{
    demand::{KeptForDemand, SkipIntervals},
    figures::TemeraireFigures,
    supply::KeeperHandle,
    test_ground::{SECOND_NS, TestGround, ground},
};
use std::vec::Vec;
use strata_os::{CallKind, CallKinds, Fault, Seed};
use strata_page_heap::{
    Density, Ended, MemoryLimits, PageHeap, ReleaseReason, SpanRequest, limited_bytes,
};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::{HUGEPAGE_BYTES, PageCount, SpanHandle};

const MIB: usize = 1 << 20;

struct Heap<P: PageSize> {
    ground: TestGround<P>,
    heap: std::boxed::Box<HugePageAware<P>>,
}

impl<P: PageSize> Heap<P> {
    /// No hugepage stays with the filler because the next span may want it.
    fn give_up_spare(&self) {
        let now_ns = strata_os::Clock::now_ns(&self.ground.clock);
        self.heap.state.lock().give_up_spare(&self.ground, now_ns);
    }

    fn new() -> Self {
        Self { ground: ground(), heap: std::boxed::Box::new(HugePageAware::new()) }
    }

    fn allocate(&self, bytes: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::holding(bytes).unwrap());
        self.heap.allocate(&self.ground, request).unwrap()
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    fn release(&self, bytes: usize, reason: ReleaseReason) -> usize {
        let wanted = PageCount::holding(bytes).unwrap();
        self.heap.release(&self.ground, wanted, reason).bytes()
    }

    fn figures(&self) -> TemeraireFigures {
        self.heap.figures(&self.ground)
    }

    fn pass_seconds(&self, seconds: u64) {
        self.ground.clock.advance(seconds * SECOND_NS);
    }

    /// Checks the sums that the figures promise.
    fn check(&self) {
        let (stats, figures) = (self.heap.stats(), self.figures());
        let parts = figures.components;
        let all = [parts.filler, parts.region, parts.cache, parts.allocator];
        assert_eq!(all.iter().map(|part| part.used).sum::<u64>(), stats.in_use_bytes);
        assert_eq!(all.iter().map(|part| part.free).sum::<u64>(), stats.free_bytes);
        assert_eq!(all.iter().map(|part| part.unmapped).sum::<u64>(), stats.unmapped_bytes);
        let (backed, unmapped) = figures.spans.total_bytes();
        assert_eq!((backed, unmapped), (stats.free_bytes, stats.unmapped_bytes));
        let page = figures.page_bytes;
        assert_eq!(figures.ages.live.total.total() * page, stats.free_bytes);
        assert_eq!(figures.ages.unmapped.total.total() * page, stats.unmapped_bytes);
        let filler = &figures.filler;
        let kinds = filler.full_hugepages + filler.partial_hugepages + filler.released_hugepages;
        assert_eq!(kinds, filler.hugepages);
        let whole = filler.used_pages + filler.free_pages + filler.unmapped_pages;
        assert_eq!(whole * page, filler.hugepages * HUGEPAGE_BYTES as u64);
        for fullness in &filler.fullness {
            let total = fullness.free_pages.total();
            assert_eq!(fullness.longest_free_range.total(), total);
            assert_eq!(fullness.allocations_less_one.total(), total);
        }
        let counted = filler.fullness.map(|fullness| fullness.free_pages.total());
        assert_eq!(counted.iter().sum::<u64>(), filler.hugepages);
        let (sparse, dense) = (filler.sparse(), filler.dense());
        assert_eq!(sparse.hugepages + dense.hugepages, filler.hugepages);
        assert_eq!(sparse.full + dense.full, filler.full_hugepages);
        assert_eq!(sparse.partial + dense.partial, filler.partial_hugepages);
        assert_eq!(sparse.released + dense.released, filler.released_hugepages);
        let regions = &figures.regions;
        assert!(regions.least_backed_free_hugepages <= regions.backed_free_hugepages);
        let (allocator, cache) = (figures.allocator, figures.cache);
        let handed_out = allocator.in_use_hugepages;
        let regions = figures.regions.hugepages;
        assert_eq!(handed_out, cache.usage.current + cache.cached_hugepages + regions);
        assert_eq!(allocator.requested_hugepages - handed_out, allocator.free_hugepages);
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

#[test]
fn figures_tell_how_long_hugepages_have_been_there_and_how_long_those_were_that_left() {
    let heap = Heap::<Pages8K>::new();
    let span = heap.allocate(3 << 13);
    heap.pass_seconds(5);
    let others: Vec<_> = (0..85).map(|_| heap.allocate(3 << 13)).collect();
    let of_first =
        |heap: &Heap<Pages8K>| heap.figures().filler.lifetimes_of(crate::Population::SparseRegular);
    // The first hugepage is full after 85 spans of 3 pages; the second has been there for no time.
    assert_eq!(of_first(&heap).all, [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(of_first(&heap).nearly_free, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(of_first(&heap).old_by_allocations.total(), 0);
    heap.pass_seconds(95);
    assert_eq!(of_first(&heap).all, [0, 0, 0, 0, 0, 1, 1, 0]);
    assert_eq!(of_first(&heap).old_by_allocations.total(), 1);
    heap.deallocate(span);
    others.into_iter().for_each(|span| heap.deallocate(span));
    heap.give_up_spare();
    assert_eq!(of_first(&heap).all, [0; 8]);
    let completed = heap.figures().filler.counters.completed_lifetimes;
    assert_eq!(completed, [[0, 0, 0, 0, 0, 1, 1, 0], [0; 8]]);
}

#[test]
fn figures_tell_what_was_subreleased_within_an_hour_and_the_epochs_of_five_minutes() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = (0..16).map(|_| heap.allocate(MIB / 8)).collect();
    spans.into_iter().skip(1).for_each(|span| heap.deallocate(span));
    heap.pass_seconds(20);
    for _ in 0..8 {
        let last = heap.allocate(MIB / 8);
        heap.deallocate(last);
    }
    let epochs = heap.figures().filler.history.epochs;
    let told: Vec<_> = epochs.iter().take_while(|epoch| epoch.number != 0).collect();
    assert_eq!(told.len(), 2, "the one between them had nothing to tell");
    assert_eq!(told[0].number, told[1].number + 2);
    let peak = crate::FillerMoment::from(&told[1].at_peak_hugepages);
    let least = crate::FillerMoment::from(&told[1].at_least_demand);
    assert_eq!((peak.regular_hugepages, peak.hugepages()), (1, 1));
    assert!(least.used_pages <= 32, "{least:?}");
    let given = heap.release(MIB, ReleaseReason::HardLimit) / Pages8K::BYTES;
    assert!(given >= 128, "{given}");
    assert_eq!(heap.figures().filler.subreleased_pages_last_hour, given as u64);
    heap.pass_seconds(3_700);
    assert_eq!(heap.figures().filler.subreleased_pages_last_hour, 0);
}

#[test]
fn a_page_kept_of_every_large_allocation_does_not_make_the_heap_grow() {
    let heap = Heap::<Pages8K>::new();
    for round in 0..500 {
        let large = heap.allocate(100 * MIB + Pages8K::BYTES);
        heap.allocate(Pages8K::BYTES);
        heap.deallocate(large);
        heap.pass_seconds(round % 3);
    }
    // Each time a small page comes to stand in the way the large ones move on, once.
    let system = heap.heap.stats().system_bytes as usize / MIB;
    assert!(system <= 320, "{system} MiB");
    assert_eq!(heap.figures().filler.hugepages, 2, "500 pages fit on two hugepages");
    heap.check();
}

#[test]
fn idle_memory_goes_whatever_recent_demand_was_but_full_hugepages_are_not_broken_for_it() {
    let heap = Heap::<Pages8K>::new();
    let live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    assert_eq!(heap.heap.take_peak_bytes(), 20 * MIB as u64);
    // An eighth of each of ten hugepages.
    for span in live.iter().step_by(8) {
        heap.deallocate(*span);
    }
    assert_eq!(heap.release(20 * MIB, ReleaseReason::Idle), 0, "what is nearly full stays whole");
    for span in live.iter().skip(1).step_by(8) {
        heap.deallocate(*span);
    }
    assert_eq!(heap.heap.take_peak_bytes(), 20 * MIB as u64, "the most since the last call");
    assert_eq!(heap.heap.take_peak_bytes(), 15 * MIB as u64);
    assert_eq!(heap.release(20 * MIB, ReleaseReason::Idle), 5 * MIB);
    assert_eq!(heap.heap.stats().released.idle, 5 * MIB as u64);
    heap.check();
}

#[test]
fn figures_leave_the_lock_every_few_hugepages() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = (0..200 * 256).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    let large: Vec<_> = (0..40).map(|_| heap.allocate(101 * MIB)).collect();
    spans.iter().step_by(3).for_each(|span| heap.deallocate(*span));
    large.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    let before = heap.heap.stats().lock.operations;
    let figures = heap.figures();
    let steps = heap.heap.stats().lock.operations - before;
    assert!(figures.filler.hugepages >= 200);
    assert!(steps >= figures.filler.hugepages / 16, "{steps} steps");
    heap.check();
}

#[test]
fn a_donated_tail_that_nobody_used_comes_back_with_its_allocation() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    assert_eq!(heap.figures().filler.donated_hugepages, 1);
    heap.deallocate(large);
    let figures = heap.figures();
    assert_eq!((figures.filler.hugepages, figures.cache.cached_hugepages), (0, 3));
    assert_eq!(figures.spans.large.backed_spans, 1, "as one range");
    heap.check();
}

#[test]
fn a_tail_on_which_others_live_stays_and_its_head_is_abandoned() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    let small = heap.allocate(10 * Pages8K::BYTES);
    heap.deallocate(large);
    let figures = heap.figures();
    assert_eq!((figures.filler.hugepages, figures.cache.cached_hugepages), (1, 2));
    assert_eq!(figures.filler.abandoned_pages, (MIB / Pages8K::BYTES) as u64);
    heap.check();
    heap.deallocate(small);
    let figures = heap.figures();
    let hugepages = (figures.filler.hugepages, figures.cache.cached_hugepages);
    assert_eq!((figures.filler.abandoned_pages, hugepages), (0, (1, 2)), "it is kept for others");
    // Who needs all three gets them.
    let again = heap.allocate(6 * MIB);
    assert_eq!(heap.figures().allocator.requested_hugepages, 3);
    heap.deallocate(again);
}

#[test]
fn a_tail_that_was_subreleased_meanwhile_goes_back_alone_and_unbacked() {
    let heap = Heap::<Pages8K>::new();
    let large = heap.allocate(5 * MIB);
    assert_eq!(heap.release(MIB, ReleaseReason::HardLimit), MIB);
    assert_eq!(heap.figures().filler.released_hugepages, 1);
    heap.check();
    heap.deallocate(large);
    let figures = heap.figures();
    assert_eq!((figures.filler.hugepages, figures.cache.cached_hugepages), (0, 2));
    assert_eq!(figures.allocator.free_hugepages, 1);
    heap.check();
}

#[test]
fn what_a_release_answers_counts_what_the_cache_lost_beside_it() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = (0..256).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    let large = heap.allocate(20 * HUGEPAGE_BYTES);
    spans.into_iter().step_by(2).for_each(|span| heap.deallocate(span));
    // The kernel refuses, so that the cache holds more than its limit.
    heap.ground.source.arm(Fault::always().of(CallKinds::RELEASE));
    heap.deallocate(large);
    assert_eq!(heap.figures().cache.cached_hugepages, 20);
    // It refuses once more when the cache is asked; then the filler is, and the cache goes with it.
    heap.ground.source.arm(Fault::nth(1).of(CallKinds::RELEASE));
    let before = heap.heap.stats();
    let answer = heap.release(MIB, ReleaseReason::HardLimit) as u64;
    let after = heap.heap.stats();
    assert!(heap.figures().cache.cached_hugepages <= 10, "the cache was trimmed");
    assert_eq!(before.free_bytes - after.free_bytes, answer);
    assert_eq!(after.released.hard_limit, answer);
    heap.check();
}

#[test]
fn demand_keeps_nothing_from_a_heap_that_fell_or_grew_although_most_is_free() {
    let heap = Heap::<Pages8K>::new();
    let live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    live.into_iter().step_by(2).for_each(|span| heap.deallocate(span));
    heap.pass_seconds(1);
    assert_eq!(heap.release(2 * MIB, ReleaseReason::Policy), 0, "demand may come back");
    for reason in [ReleaseReason::Fallen, ReleaseReason::Growth] {
        assert!(heap.release(2 * MIB, reason) >= 2 * MIB, "{reason:?}");
    }
    heap.check();
}

#[test]
fn growth_does_not_break_the_hugepage_that_is_being_filled() {
    for density in [Density::Sparse, Density::Dense] {
        let heap = Heap::<Pages8K>::new();
        let one = SpanRequest { density, ..SpanRequest::of(PageCount::ONE) };
        let allocate = || heap.heap.allocate(&heap.ground, one).unwrap();
        let live: Vec<_> = (0..4096).map(|_| allocate()).collect();
        heap.pass_seconds(2);
        // It has a few pages of a fresh hugepage in use, and half of each before that is free.
        let few = [(); 16].map(|()| allocate());
        let filling = few[0].first::<Pages8K>().hugepage();
        live.into_iter().step_by(2).for_each(|span| heap.deallocate(span));
        let pages_gone = || {
            let state = heap.heap.state.lock();
            match state.keeper_of(&heap.ground, filling) {
                Some(KeeperHandle::Tracker(tracker)) => tracker.released_pages(),
                _ => unreachable!("it is the filler's"),
            }
        };
        let half = 4096 / 2 * Pages8K::BYTES;
        assert_eq!(heap.release(64 * MIB, ReleaseReason::Growth), half, "{density:?}");
        assert_eq!(pages_gone(), 0, "{density:?}");
        heap.pass_seconds(1);
        assert!(heap.release(64 * MIB, ReleaseReason::Growth) > 0, "nobody fills it");
        assert_eq!(pages_gone(), 256 - 16, "{density:?}");
        heap.check();
    }
}

#[test]
fn memory_that_recent_demand_may_want_again_is_kept_unless_a_limit_is_hit() {
    let heap = Heap::<Pages8K>::new();
    let mut live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    // Every second page goes: no hugepage empties.
    let mut keep = false;
    live.retain(|span| {
        keep = !keep;
        if !keep {
            heap.deallocate(*span);
        }
        keep
    });
    heap.pass_seconds(1);
    assert_eq!(heap.release(5 * MIB, ReleaseReason::Policy), 0, "demand may come back");
    let skipped = heap.figures().filler.skipped;
    assert_eq!(skipped.skipped_pages, (5 * MIB / Pages8K::BYTES) as u64);
    let kept = KeptForDemand { pages: 1280, pages_at_rate: 1280, returned_64ths: 64 };
    assert_eq!(heap.figures().filler.kept, kept, "nothing is known of falls");
    heap.pass_seconds(301);
    assert_eq!(heap.figures().filler.kept.pages, 0, "nothing like it within five minutes");
    assert_eq!(heap.figures().filler.skipped.incorrect_pages, skipped.skipped_pages);
    assert!(heap.release(5 * MIB, ReleaseReason::Policy) >= 5 * MIB, "it did not");
    heap.check();
    heap.heap.set_skip_intervals(SkipIntervals::NONE);
    assert!(heap.release(2 * MIB, ReleaseReason::Call) >= 2 * MIB);
    let counters = heap.figures().filler.counters;
    assert!(counters.broken_hugepages >= 7);
    assert_eq!(counters.broken_hugepages_for_limit, 0);
}

#[test]
fn a_span_that_leaves_its_hugepage_empty_abandons_nothing() {
    let heap = Heap::<Pages8K>::new();
    // Its tail is donated, and nobody uses it: the hugepage stays for whoever comes next.
    let long = heap.allocate(HUGEPAGE_BYTES / 4 * 3);
    heap.deallocate(long);
    heap.check();
    let figures = heap.figures().filler;
    assert_eq!((figures.hugepages, figures.donated_hugepages), (1, 0));
    assert_eq!((figures.abandoned_pages, figures.counters.abandonments), (0, 0));
    let small = heap.allocate(Pages8K::BYTES);
    assert_eq!(heap.figures().filler.hugepages, 1, "it came to stand there");
    heap.deallocate(small);
    heap.check();
}

#[test]
fn what_goes_as_idle_each_time_goes_at_the_rate_at_once() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Always);
    let broken = |heap: &Heap<Pages8K>| heap.figures().filler.counters.broken_hugepages;
    let rounds: [(u64, u64); 6] = core::array::from_fn(|_| {
        // Ten fresh hugepages, of which every second page goes.
        let live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
        heap.pass_seconds(2);
        live.iter().step_by(2).for_each(|span| heap.deallocate(*span));
        let before = broken(&heap);
        // What went with broken hugepages that emptied counts for the first wish.
        heap.release(5 * MIB, ReleaseReason::Policy);
        heap.release(5 * MIB, ReleaseReason::Policy);
        let at_the_rate = broken(&heap) - before;
        heap.pass_seconds(1);
        heap.release(10 * MIB, ReleaseReason::Idle);
        let in_all = broken(&heap) - before;
        live.iter().skip(1).step_by(2).for_each(|span| heap.deallocate(*span));
        heap.release(usize::MAX / 2, ReleaseReason::HardLimit);
        heap.pass_seconds(10);
        heap.check();
        (at_the_rate, in_all)
    });
    assert_eq!(rounds[0].0, 0, "demand might have come back: {rounds:?}");
    assert!(rounds.iter().all(|round| round.1 >= 9), "it did not: {rounds:?}");
    assert!(rounds[5].0 >= 4, "and that is known: {rounds:?}");
}

#[test]
fn what_went_with_a_broken_hugepage_that_emptied_is_taken_off_the_next_wish() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.set_skip_intervals(SkipIntervals::NONE);
    let mut live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    for span in live.iter().step_by(2) {
        heap.deallocate(*span);
    }
    live = live.into_iter().skip(1).step_by(2).collect();
    assert_eq!(heap.release(MIB, ReleaseReason::HardLimit), MIB, "half of one hugepage");
    let is_broken = |span: &SpanHandle| {
        let hugepage = span.first::<Pages8K>().hugepage();
        heap.heap.hugepage_figures(&heap.ground, hugepage).unbacked_pages > 0
    };
    let (broken, whole): (Vec<_>, Vec<_>) = live.into_iter().partition(is_broken);
    assert_eq!(broken.len(), 128);
    // The other half goes with the last of them.
    let before = heap.heap.stats().backed_bytes();
    broken.into_iter().for_each(|span| heap.deallocate(span));
    assert_eq!(before - heap.heap.stats().backed_bytes(), MIB as u64);
    assert_eq!(heap.release(MIB, ReleaseReason::Call), 0, "as much has gone already");
    assert!(heap.release(MIB, ReleaseReason::Call) >= MIB, "that counts once");
    heap.check();
    whole.into_iter().for_each(|span| heap.deallocate(span));
    heap.check();
}

#[test]
fn where_no_hugepage_can_be_broken_neither_the_rate_nor_who_asks_waits_for_demand_to_stay_away() {
    for reason in [ReleaseReason::Policy, ReleaseReason::Call] {
        let heap = without_hugepages();
        let live: Vec<_> = (0..512).map(|_| heap.allocate(Pages8K::BYTES)).collect();
        live.iter().step_by(2).for_each(|span| heap.deallocate(*span));
        heap.pass_seconds(1);
        assert!(heap.figures().releasable_bytes >= Some(MIB as u64), "{reason:?}");
        assert!(heap.release(MIB, reason) >= MIB, "{reason:?}");
        assert_eq!(heap.figures().filler.counters.broken_hugepages, 0);
        heap.check();
    }
}

#[test]
fn the_rate_gives_back_what_is_free_of_broken_hugepages_although_demand_may_come_back() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Always);
    let mut live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    let free_every_second = |live: &mut Vec<SpanHandle>| {
        let mut keep = false;
        live.retain(|span| {
            keep = !keep;
            if !keep {
                heap.deallocate(*span);
            }
            keep
        });
    };
    free_every_second(&mut live);
    heap.pass_seconds(1);
    // Half of what is free goes for a limit, and breaks half of the hugepages; all of it is wanted again, and free again.
    let broken = heap.release(5 * MIB, ReleaseReason::HardLimit);
    let forbidden = heap.figures().advice.forbidden_hugepages;
    assert!(broken >= 5 * MIB && forbidden >= 5);
    let more: Vec<_> = (0..1280 - 16).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    more.iter().for_each(|span| heap.deallocate(*span));
    heap.pass_seconds(1);
    let figures = heap.figures().filler;
    let (free, skipped) = (figures.free_pages, figures.skipped.skipped_pages);
    let given = heap.release(64 * MIB, ReleaseReason::Policy);
    assert!(given >= 4 * MIB, "{given} bytes");
    assert_eq!(heap.figures().advice.forbidden_hugepages, forbidden, "no other is broken");
    let figures = heap.figures().filler;
    assert_eq!(figures.free_pages, free - (given / Pages8K::BYTES) as u64);
    assert!(figures.free_pages >= (4 * MIB / Pages8K::BYTES) as u64, "those are kept");
    assert!(figures.skipped.skipped_pages > skipped, "and it is said");
    heap.check();
}

#[test]
fn what_is_kept_for_demand_is_what_a_release_leaves() {
    let heap = Heap::<Pages8K>::new();
    let mut live: Vec<_> = (0..2560).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    for _fall in 0..3 {
        let mut keep = false;
        live.retain(|span| {
            keep = !keep;
            if !keep {
                heap.deallocate(*span);
            }
            keep
        });
        // What nobody wanted for two seconds goes as idle, and then it comes again: too late.
        heap.pass_seconds(1);
        heap.release(4 * MIB, ReleaseReason::Policy);
        heap.pass_seconds(1);
        heap.release(MIB, ReleaseReason::Idle);
        live.extend((live.len()..2560).map(|_| heap.allocate(Pages8K::BYTES)));
    }
    live.drain(..1280).for_each(|span| heap.deallocate(span));
    heap.pass_seconds(1);
    let kept = heap.figures().filler.kept;
    assert_eq!(kept.returned_64ths, 8, "of three falls nothing came back in time");
    let lost = kept.pages * u64::from(64 - kept.returned_64ths) / 64;
    assert_eq!(kept.pages_at_rate, kept.pages - lost);
    let releasable = heap.figures().releasable_bytes.expect("known");
    let free = heap.heap.stats().free_bytes;
    assert!(kept.pages > 0 && kept.pages_at_rate < kept.pages / 4, "{kept:?}");
    assert_eq!(free - releasable, kept.pages * Pages8K::BYTES as u64);
    heap.release(64 * MIB, ReleaseReason::Policy);
    let left = heap.figures().filler.free_pages;
    // Of a hugepage that is broken all that is free goes.
    let went_too = PageCount::<Pages8K>::PER_HUGEPAGE.get() as u64 / 2;
    assert!((kept.pages_at_rate.saturating_sub(went_too)..=kept.pages_at_rate).contains(&left));
    heap.check();
}

#[test]
fn the_rate_does_not_break_the_hugepage_that_is_being_filled() {
    let heap = Heap::<Pages8K>::new();
    let _full: Vec<_> = (0..1024).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    let old: Vec<_> = (0..1024).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    old.iter().for_each(|span| heap.deallocate(*span));
    heap.pass_seconds(600);
    let _filling = heap.allocate(Pages8K::BYTES);
    heap.release(64 * MIB, ReleaseReason::Policy);
    assert_eq!(heap.heap.stats().free_bytes as usize, HUGEPAGE_BYTES - Pages8K::BYTES);
    assert_eq!(heap.figures().filler.counters.broken_hugepages, 0);
    heap.pass_seconds(600);
    heap.release(64 * MIB, ReleaseReason::Policy);
    assert_eq!(heap.figures().filler.counters.broken_hugepages, 1, "it is not filled any more");
    heap.check();
}

#[test]
fn while_a_heap_grows_the_rate_takes_from_hugepages_that_nobody_fills() {
    let heap = Heap::<Pages8K>::new();
    let old: Vec<_> = (0..1024).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    old.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    heap.pass_seconds(600);
    // It fits into none of their holes, and the hugepage that it gets has the fewest pages in use.
    let filling = heap.allocate(2 * Pages8K::BYTES);
    assert!(heap.release(MIB, ReleaseReason::Policy) >= MIB, "of others that are half free");
    assert_eq!(heap.figures().filler.counters.broken_hugepages, 1);
    let backed = || {
        let stats = heap.heap.stats();
        stats.in_use_bytes + stats.free_bytes
    };
    let before = backed();
    let more: Vec<_> = (0..127).map(|_| heap.allocate(2 * Pages8K::BYTES)).collect();
    let hugepage = filling.first::<Pages8K>().hugepage();
    assert!(more.iter().all(|span| span.first::<Pages8K>().hugepage() == hugepage));
    assert_eq!(backed(), before, "nothing of it went");
    heap.check();
}

#[test]
fn at_a_limit_everything_free_goes_at_once() {
    let heap = Heap::<Pages8K>::new();
    let live: Vec<_> = (0..512).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    for span in live.iter().step_by(3) {
        heap.deallocate(*span);
    }
    let free = heap.heap.stats().free_bytes as usize;
    assert_eq!(heap.release(free, ReleaseReason::SoftLimit), free);
    assert_eq!(heap.heap.stats().free_bytes, 0);
    heap.check();
    // Every third page is a mapping of its own, and comes back zeroed.
    let again = heap.allocate(Pages8K::BYTES);
    assert!(again.is_zeroed());
    heap.check();
}

#[test]
fn programs_with_much_slack_get_regions_and_give_their_hugepages_back() {
    let heap = Heap::<Pages8K>::new();
    let awkward = 2 * MIB + 64 * Pages8K::BYTES;
    let live: Vec<_> = (0..400).map(|_| heap.allocate(awkward)).collect();
    let figures = heap.figures();
    assert_eq!(figures.regions.regions, 1);
    assert!(figures.components.region.used > 600 * MIB as u64);
    heap.check();
    for span in live {
        heap.deallocate(span);
    }
    heap.check();
    let before = heap.heap.stats();
    assert_eq!(heap.release(0, ReleaseReason::Policy), 0, "what moves is left alone");
    heap.pass_seconds(1);
    let tenth = heap.release(0, ReleaseReason::Policy);
    assert!(tenth > 30 * HUGEPAGE_BYTES, "a tenth of a region without being asked: {tenth}");
    heap.release(usize::MAX / 2, ReleaseReason::Call);
    let after = heap.heap.stats();
    assert_eq!((after.free_bytes, after.in_use_bytes), (0, 0));
    assert_eq!(after.released.total(), before.free_bytes);
    assert_eq!(heap.figures().regions.details[0].unbacked_bytes, 1 << 30);
    heap.check();
}

#[test]
fn what_the_kernel_refuses_stays_and_is_counted() {
    let heap = Heap::<Pages8K>::new();
    let live: Vec<_> = (0..600).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    let large: Vec<_> = (0..30).map(|_| heap.allocate(2 * MIB)).collect();
    live.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    heap.ground.source.arm(Fault::always().of(CallKinds::RELEASE));
    large.into_iter().for_each(|span| heap.deallocate(span));
    let before = heap.heap.stats();
    assert_eq!(heap.release(usize::MAX / 2, ReleaseReason::HardLimit), 0);
    let after = heap.heap.stats();
    assert_eq!(after.free_bytes, before.free_bytes);
    assert!(after.release_failures > before.release_failures);
    heap.check();
    heap.ground.source.disarm();
    assert_eq!(heap.release(usize::MAX / 2, ReleaseReason::HardLimit) as u64, before.free_bytes);
    heap.check();
}

/// Ten seconds of a program whose large and small spans come and go, in a heap that is looked at four times a second.
fn work_for_ten_seconds(heap: &Heap<Pages8K>) {
    for _ in 0..40 {
        for _ in 0..10 {
            let large: Vec<_> = (0..20).map(|_| heap.allocate(5 * MIB / 2)).collect();
            let small: Vec<_> = (0..700).map(|_| heap.allocate(Pages8K::BYTES)).collect();
            large.into_iter().chain(small).for_each(|span| heap.deallocate(span));
            heap.ground.clock.advance(SECOND_NS / 40);
        }
        heap.release(4 * MIB, ReleaseReason::Idle);
        heap.release(4 * MIB, ReleaseReason::Policy);
        heap.heap.maintain(&heap.ground, strata_os::Clock::now_ns(&heap.ground.clock));
    }
}

#[test]
fn a_kernel_that_refuses_all_advice_is_asked_now_and_then_and_again_when_it_heeds_it() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Madvise);
    let asked = |heap: &Heap<Pages8K>| {
        let calls = |kind| heap.ground.source.calls(kind);
        (calls(CallKind::Release), calls(CallKind::Advise))
    };
    heap.ground
        .source
        .arm(Fault::always().of(CallKinds::RELEASE | CallKinds::ADVISE).with_errno(1));
    work_for_ten_seconds(&heap);
    let (releases, advice) = asked(&heap);
    // Of each kind the first few, those of shorter pauses, and one a second.
    assert!((10..=40).contains(&releases), "{releases}");
    assert!((8..=80).contains(&advice), "{advice}");
    let (stats, advised) = (heap.heap.stats(), heap.figures().advice);
    assert_eq!(stats.release_failures, releases);
    assert!(stats.releases_withheld > 100, "{stats:?}");
    assert!(advised.withheld > 0, "{advised:?}");
    assert_eq!(heap.release(usize::MAX / 2, ReleaseReason::Call), 0);
    let before = heap.heap.stats();
    assert!(before.release_failures > stats.release_failures, "who asks for it is heard");
    heap.ground.source.disarm();
    heap.pass_seconds(1);
    work_for_ten_seconds(&heap);
    let after = heap.heap.stats();
    assert!(after.released.idle + after.released.policy > 0, "{after:?}");
    assert_eq!(after.release_failures, before.release_failures);
    assert_eq!(after.releases_withheld, before.releases_withheld);
    assert_eq!(heap.figures().advice.withheld, advised.withheld);
}

#[test]
fn an_aligned_span_takes_no_more_than_it_needs() {
    let heap = Heap::<Pages8K>::new();
    let request = SpanRequest { align: PageCount::new(16), ..SpanRequest::of(PageCount::new(3)) };
    let first = heap.heap.allocate(&heap.ground, request).unwrap();
    let second = heap.heap.allocate(&heap.ground, request).unwrap();
    assert_eq!(second.start::<Pages8K>().value() % (16 * Pages8K::BYTES), 0);
    assert_eq!(heap.heap.stats().system_bytes, HUGEPAGE_BYTES as u64);
    let small = heap.allocate(13 * Pages8K::BYTES);
    assert_eq!(small.first::<Pages8K>(), first.end::<Pages8K>(), "the gap between is used");
}

#[test]
fn an_allocation_takes_what_the_cache_holds_apart_when_the_system_has_no_more() {
    let heap = Heap::<Pages8K>::new();
    let large: Vec<_> = (0..5).map(|_| heap.allocate(2 * MIB)).collect();
    let reserved = heap.heap.stats().reserved_bytes as usize;
    let rest: Vec<_> = (0..reserved / HUGEPAGE_BYTES - 5).map(|_| heap.allocate(2 * MIB)).collect();
    heap.ground.source.arm(Fault::always().of(CallKinds::RESERVE));
    // Four hugepages in a row, of which those of the cache do not know of the others.
    rest.into_iter().for_each(|span| heap.deallocate(span));
    large.into_iter().for_each(|span| heap.deallocate(span));
    let whole = heap.allocate(reserved);
    heap.check();
    heap.deallocate(whole);
}

/// Runs a random program with all kinds of wishes, and checks all sums now and then.
fn every_part_is_reached<P: PageSize>(seed: u64) {
    let mut random = Seed::from_environment_or(seed);
    let heap = Heap::<P>::new();
    let mut live: Vec<SpanHandle> = Vec::new();
    let mut expected = 0;
    for step in 0..6000 {
        let shrink = step / 2000 % 2;
        match random.below(100) {
            0..70 if shrink == 0 || random.below(10) < 4 => {
                let bytes = match random.below(20) {
                    0..6 => P::BYTES,
                    6..10 => 1 + random.below(HUGEPAGE_BYTES / 2),
                    10..19 => HUGEPAGE_BYTES / 2 + random.below(3 * HUGEPAGE_BYTES),
                    _ => 1 + random.below(50 * HUGEPAGE_BYTES),
                };
                let align = match random.below(30) {
                    0 => PageCount::new(1 << random.below(12)),
                    _ => PageCount::ONE,
                };
                let pages = PageCount::holding(bytes).unwrap();
                let density = [Density::Sparse, Density::Dense][random.below(2)];
                let request = SpanRequest { align, density, ..SpanRequest::of(pages) };
                let span = heap.heap.allocate(&heap.ground, request).unwrap();
                expected += span.bytes::<P>();
                live.push(span);
            }
            95..98 => {
                let reasons =
                    [ReleaseReason::Call, ReleaseReason::Policy, ReleaseReason::SoftLimit];
                heap.release(random.below(20 * MIB), reasons[random.below(3)]);
            }
            98 => heap.pass_seconds(random.below(400) as u64),
            99 => heap.ground.clock.advance(1000),
            _ if !live.is_empty() => {
                let span = live.swap_remove(random.below(live.len()));
                expected -= span.bytes::<P>();
                heap.deallocate(span);
            }
            _ => {}
        }
        assert_eq!(heap.heap.stats().in_use_bytes, expected as u64);
        if step % 50 == 0 {
            heap.check();
        }
    }
    let figures = heap.figures();
    let (counters, cache) = (figures.filler.counters, figures.cache);
    let reached = [
        counters.donations,
        counters.subreleased_pages,
        counters.subreleased_pages_for_limit,
        counters.broken_hugepages,
        counters.broken_hugepages_for_limit,
        figures.filler.skipped.skipped_pages,
        figures.regions.regions,
        cache.hits,
        cache.misses,
        cache.overflows,
        cache.fast_unbacked_hugepages,
        cache.periodic_unbacked_hugepages,
    ];
    assert!(reached.iter().all(|count| *count > 0), "a part was not reached: {reached:?}");
    for span in live {
        heap.deallocate(span);
    }
    heap.give_up_spare();
    heap.check();
    let figures = heap.figures();
    assert_eq!((figures.filler.hugepages, figures.filler.abandoned_pages), (0, 0));
    assert_eq!(figures.components.used(), 0);
    let state = heap.heap.state.lock();
    assert_eq!(state.nodes.promised() as u64, figures.regions.regions, "regions alone are out");
}

#[test]
fn every_part_is_reached_and_all_sums_hold_with_pages_of_4_kib() {
    every_part_is_reached::<Pages4K>(11);
}

#[test]
fn every_part_is_reached_and_all_sums_hold_with_pages_of_8_kib() {
    every_part_is_reached::<Pages8K>(12);
}

#[test]
fn every_part_is_reached_and_all_sums_hold_with_pages_of_32_kib() {
    every_part_is_reached::<Pages32K>(13);
}

#[test]
fn every_part_is_reached_and_all_sums_hold_with_pages_of_256_kib() {
    every_part_is_reached::<Pages256K>(14);
}

#[test]
fn a_terabyte_of_hugepages_is_kept_and_given_back() {
    let heap = Heap::<Pages8K>::new();
    let spans: Vec<_> = (0..1024).map(|_| heap.allocate(1 << 30)).collect();
    assert_eq!(heap.heap.stats().in_use_bytes, 1 << 40);
    let small: Vec<_> = (0..100_000).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    heap.check();
    spans.into_iter().for_each(|span| heap.deallocate(span));
    small.into_iter().for_each(|span| heap.deallocate(span));
    heap.release(usize::MAX / 2, ReleaseReason::Call);
    assert_eq!(heap.heap.stats().free_bytes, 0);
    heap.check();
}

#[test]
fn at_the_hard_limit_nobody_waits_for_others_who_gave_back_enough_itself() {
    let heap = Heap::<Pages8K>::new();
    let live: Vec<_> = (0..512).map(|_| heap.allocate(Pages8K::BYTES)).collect();
    live.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    let stats = heap.heap.stats();
    let hard_bytes = limited_bytes(&heap.ground, stats.in_use_bytes + stats.free_bytes);
    heap.heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes });
    // A step of another thread that lasts as long as the test.
    std::thread::scope(|scope| {
        scope.spawn(|| heap.heap.underway.begin());
    });
    let _more = heap.allocate(2 * Pages8K::BYTES);
    assert!(heap.heap.underway.has_others(), "it was not waited for in vain");
    let limits = heap.heap.stats().limits;
    assert!(limits.hard_hits > 0 && limits.hard_failures == 0, "{limits:?}");
}

#[test]
fn a_fork_waits_for_releases_underway() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.underway.begin();
    std::thread::scope(|scope| {
        let forking = scope.spawn(|| {
            heap.heap.acquire();
            assert_eq!(heap.heap.underway.steps(), 0);
            // SAFETY: taken by this thread in the line before.
            unsafe { heap.heap.release_lock() };
        });
        heap.allocate(Pages8K::BYTES);
        heap.heap.underway.end();
        forking.join().unwrap();
    });
}

#[test]
fn address_space_goes_back_where_it_is_short_and_is_had_again() {
    const LIMIT: usize = 96 * MIB;
    let heap = Heap::<Pages8K>::new();
    heap.ground.source.source().set_limit(LIMIT);
    let request = SpanRequest::of(PageCount::new(3));
    let spans: Vec<_> = (0..).map_while(|_| heap.heap.allocate(&heap.ground, request)).collect();
    assert!(spans.len() > 3000, "nearly all of it was handed out");
    spans[1..].iter().for_each(|span| heap.deallocate(*span));
    heap.release(LIMIT, ReleaseReason::Call);
    let reserved = || heap.ground.source.source().figures().reserved_bytes;
    assert_eq!(
        (heap.heap.stats().system_bytes, reserved()),
        (2 * MIB as u64, 2 * MIB),
        "one hugepage"
    );
    heap.check();
    // Its own wishes are served again, also in one piece.
    let long = heap.allocate(LIMIT - 4 * MIB);
    heap.check();
    heap.deallocate(long);
    heap.deallocate(spans[0]);
    heap.release(LIMIT, ReleaseReason::Call);
    assert_eq!(heap.heap.stats().reserved_bytes, reserved() as u64);
    heap.check();
}

#[test]
fn pieces_none_of_which_is_long_enough_make_room_for_one_that_is() {
    const LIMIT: usize = 64 * MIB;
    let heap = Heap::<Pages8K>::new();
    heap.ground.source.source().set_limit(LIMIT);
    let spans: Vec<_> = (0..16).map(|_| heap.allocate(4 * MIB)).collect();
    spans.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    spans.iter().skip(1).step_by(4).for_each(|span| heap.deallocate(*span));
    // 48 MiB are free, in pieces of 12; the source has no more, but room elsewhere in its address space.
    let long = heap.allocate(40 * MIB);
    heap.check();
    heap.deallocate(long);
}

/// A heap where the kernel makes no hugepages.
fn without_hugepages() -> Heap<Pages8K> {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Never);
    heap
}

#[test]
fn hugepages_that_are_backed_page_by_page_and_empty_stay_in_the_cache() {
    let heap = without_hugepages();
    // Of each hugepage three quarters are used.
    let spans: Vec<_> = (0..20 * 3).map(|_| heap.allocate(MIB / 2)).collect();
    let others: Vec<_> = (0..40).map(|_| heap.allocate(MIB * 3 / 4)).collect();
    spans.into_iter().chain(others).for_each(|span| heap.deallocate(span));
    let cache = heap.figures().cache;
    assert_eq!((cache.cached_hugepages, cache.limit_hugepages), (10, 10));
    heap.check();
    // What comes next finds the filler's eight and the cache's ten.
    let again: Vec<_> = (0..18 * 4).map(|_| heap.allocate(MIB / 2)).collect();
    assert_eq!(heap.figures().cache.hits, 10);
    again.into_iter().for_each(|span| heap.deallocate(span));
}

#[test]
fn hugepages_of_which_little_was_touched_are_not_taken_for_backed_ones() {
    let heap = without_hugepages();
    // Each at the beginning of a hugepage of its own, of which it is a sixteenth.
    let request = SpanRequest {
        align: PageCount::PER_HUGEPAGE,
        ..SpanRequest::of(PageCount::holding(HUGEPAGE_BYTES / 16).unwrap())
    };
    let spans: Vec<_> =
        (0..12).map(|_| heap.heap.allocate(&heap.ground, request).unwrap()).collect();
    assert_eq!(heap.figures().filler.hugepages, 12);
    let backed_bytes = heap.heap.stats().backed_bytes();
    spans.into_iter().for_each(|span| heap.deallocate(span));
    // The filler keeps eight, and the others go.
    assert_eq!(heap.figures().cache.cached_hugepages, 0);
    assert_eq!(heap.heap.stats().backed_bytes(), backed_bytes * 8 / 12);
    heap.check();
}

#[test]
fn the_peak_of_what_is_backed_is_never_below_what_is() {
    let heap = without_hugepages();
    let check = || {
        let stats = heap.heap.stats();
        assert!(stats.peak_backed_bytes >= stats.in_use_bytes + stats.free_bytes, "{stats:?}");
    };
    // The tail of which a page is used comes back whole with its span.
    let long = heap.allocate(4 * MIB + Pages8K::BYTES);
    check();
    heap.deallocate(long);
    check();
    // And empty hugepages of the filler are given up for a span that grows, and then cannot.
    let small: Vec<_> = (0..12).map(|_| heap.allocate(MIB)).collect();
    let long = heap.allocate(4 * MIB);
    let wall = heap.allocate(2 * MIB);
    small.into_iter().for_each(|span| heap.deallocate(span));
    check();
    let more = PageCount::holding(64 * MIB).unwrap();
    // SAFETY: the test has the span, and it has no class.
    let grew = unsafe { heap.heap.extend(&heap.ground, long, more) };
    check();
    assert!(!grew || heap.heap.stats().in_use_bytes >= 64 << 20);
    heap.deallocate(long);
    heap.deallocate(wall);
    check();
    heap.check();
}

#[test]
fn a_hugepage_that_emptied_and_is_kept_is_not_broken() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Always);
    // Beyond the size from which on hugepages are backed as a whole.
    let rest: Vec<_> = (0..20).map(|_| heap.allocate(MIB)).collect();
    let others: Vec<_> = (0..4).map(|_| heap.allocate(MIB / 2)).collect();
    let hugepage = others[0].first::<Pages8K>().hugepage();
    assert!(rest.iter().all(|span| span.first::<Pages8K>().hugepage() != hugepage));
    others.into_iter().for_each(|span| heap.deallocate(span));
    assert!(heap.heap.state.lock().filler.empty_pages() > 0, "it is kept");
    let answer = heap.heap.break_hugepage(&heap.ground, hugepage, MIB);
    assert_eq!(answer, strata_page_heap::HugepageBreak::Refused);
    assert_eq!(heap.figures().advice.forbidden_hugepages, 0);
    // It is a hugepage when it is in the cache, then.
    heap.give_up_spare();
    assert_eq!(heap.figures().cache.cached_hugepages, 1);
    assert_eq!(heap.figures().advice.forbidden_hugepages, 0);
    drop(rest);
}

#[test]
fn a_hugepage_that_is_being_filled_is_not_broken_for_what_is_free_inside_of_its_spans() {
    let heap = Heap::<Pages8K>::new();
    heap.heap.advice.pretend(strata_os::ThpMode::Always);
    // Beyond the size from which on hugepages are backed as a whole.
    let rest: Vec<_> = (0..20).map(|_| heap.allocate(MIB)).collect();
    let first = heap.allocate(64 << 10);
    let hugepage = first.first::<Pages8K>().hugepage();
    assert!(rest.iter().all(|span| span.first::<Pages8K>().hugepage() != hugepage));
    let broken = || heap.heap.break_hugepage(&heap.ground, hugepage, 8 << 10);
    assert_eq!(broken(), strata_page_heap::HugepageBreak::Refused);
    assert_eq!(heap.figures().advice.forbidden_hugepages, 0);
    // Nothing came to it for a second.
    heap.pass_seconds(1);
    assert_eq!(broken(), strata_page_heap::HugepageBreak::Broken);
    assert_eq!(heap.figures().advice.forbidden_hugepages, 1);
    rest.into_iter().chain([first]).for_each(|span| heap.deallocate(span));
    heap.check();
}

/// A heap above the size from which on hugepages count, with `frames` spans of `hugepages` hugepages.
fn with_frames(frames: usize, hugepages: usize) -> (Heap<Pages8K>, Vec<SpanHandle>) {
    let heap = Heap::<Pages8K>::new();
    let frames = (0..frames).map(|_| heap.allocate(hugepages * HUGEPAGE_BYTES)).collect();
    (heap, frames)
}

#[test]
fn hugepages_that_come_and_go_are_not_idle_and_those_that_lie_are() {
    let (heap, mut frames) = with_frames(10, 4);
    let lying = heap.allocate(12 * HUGEPAGE_BYTES);
    let wall = heap.allocate(HUGEPAGE_BYTES);
    heap.deallocate(lying);
    // Each tenth of a second a frame goes and another comes.
    let turn = |frames: &mut Vec<SpanHandle>| {
        heap.deallocate(frames.remove(0));
        heap.ground.clock.advance(SECOND_NS / 10);
        let given = heap.release(64 * HUGEPAGE_BYTES, ReleaseReason::Idle);
        frames.push(heap.allocate(4 * HUGEPAGE_BYTES));
        given / HUGEPAGE_BYTES
    };
    for _ in 0..8 {
        assert!(turn(&mut frames) <= 2, "what is above the cache's limit may go at once");
    }
    let given: usize = (0..30).map(|_| turn(&mut frames)).sum();
    assert!(given >= 6, "what nobody wanted for a second goes: {given}");
    let held = heap.figures().cache.cached_hugepages;
    assert!(held <= 4, "{held}");
    heap.pass_seconds(3);
    heap.release(64 * HUGEPAGE_BYTES, ReleaseReason::Idle);
    assert_eq!(heap.figures().cache.cached_hugepages, 0);
    frames.into_iter().chain([wall]).for_each(|span| heap.deallocate(span));
    heap.check();
}

#[test]
fn a_run_of_which_a_part_went_back_is_taken_again_with_what_stayed() {
    let (heap, mut frames) = with_frames(12, 7);
    let gone = frames.remove(6);
    let first = gone.first::<Pages8K>();
    heap.deallocate(gone);
    // Two hugepages go; five stay.
    assert_eq!(heap.release(2 * HUGEPAGE_BYTES, ReleaseReason::Call), 2 * HUGEPAGE_BYTES);
    assert_eq!(heap.figures().cache.cached_hugepages, 5);
    let again = heap.allocate(7 * HUGEPAGE_BYTES);
    assert_eq!(again.first::<Pages8K>(), first);
    assert!(!again.is_zeroed());
    assert_eq!(heap.figures().cache.cached_hugepages, 0);
    heap.check();
    // And one that is not whole hugepages, whose tail is donated.
    heap.deallocate(again);
    heap.release(2 * HUGEPAGE_BYTES, ReleaseReason::Call);
    let again = heap.allocate(7 * HUGEPAGE_BYTES - MIB);
    assert_eq!(again.first::<Pages8K>(), first);
    heap.check();
    frames.push(again);
    frames.into_iter().for_each(|span| heap.deallocate(span));
    heap.check();
    assert_eq!(heap.heap.state.lock().nodes.promised(), 0, "no promise is left over");
}

/// Gives a span back that is to go to the kernel as it ends. Says whether it did.
fn deallocate_to_kernel<P: PageSize>(heap: &Heap<P>, span: SpanHandle) -> bool {
    // SAFETY: the test got it from this heap, and uses it no more.
    match unsafe { heap.heap.deallocate_to_kernel(&heap.ground, span) } {
        Ended::NotInUse => unreachable!("it was in use"),
        Ended::Kept => false,
        Ended::Released => true,
    }
}

fn what_goes_to_the_kernel_as_it_ends_is_not_backed<P: PageSize>() {
    let heap = Heap::<P>::new();
    let span = heap.allocate(8 * MIB);
    let first = span.first::<P>();
    assert!(deallocate_to_kernel(&heap, span));
    heap.check();
    let (stats, figures) = (heap.heap.stats(), heap.figures());
    assert_eq!((stats.free_bytes, stats.in_use_bytes), (0, 0));
    assert_eq!(stats.unmapped_bytes, stats.system_bytes);
    assert_eq!(
        figures.cache.fast_unbacked_hugepages, 4,
        "it counts as what the cache had no room for"
    );
    assert_eq!(heap.release(64 * MIB, ReleaseReason::Call), 0, "there is nothing left to give");
    let again = heap.allocate(8 * MIB);
    assert_eq!((again.first::<P>(), again.is_zeroed()), (first, true));
    heap.deallocate(again);
    assert_eq!(heap.heap.stats().free_bytes, 8 << 20, "the next one stays with the cache");
    heap.check();
}

#[test]
fn what_goes_to_the_kernel_as_it_ends_is_not_backed_in_any_page_size() {
    what_goes_to_the_kernel_as_it_ends_is_not_backed::<Pages4K>();
    what_goes_to_the_kernel_as_it_ends_is_not_backed::<Pages8K>();
    what_goes_to_the_kernel_as_it_ends_is_not_backed::<Pages32K>();
    what_goes_to_the_kernel_as_it_ends_is_not_backed::<Pages256K>();
}

#[test]
fn a_tail_that_others_use_stays_when_its_span_goes_to_the_kernel() {
    let heap = Heap::<Pages8K>::new();
    let span = heap.allocate(8 * MIB + MIB);
    let neighbour = heap.allocate(8192);
    assert_eq!(neighbour.first::<Pages8K>().hugepage(), span.last::<Pages8K>().hugepage());
    assert!(deallocate_to_kernel(&heap, span));
    heap.check();
    let stats = heap.heap.stats();
    assert_eq!((stats.in_use_bytes, stats.free_bytes), (8192, (2 << 20) - 8192));
    heap.deallocate(neighbour);
    heap.check();
}

#[test]
fn what_the_kernel_refuses_as_it_ends_stays_with_the_cache() {
    let heap = Heap::<Pages8K>::new();
    let span = heap.allocate(8 * MIB);
    heap.ground.source.arm(Fault::always().of(CallKinds::RELEASE));
    assert!(!deallocate_to_kernel(&heap, span));
    heap.check();
    let stats = heap.heap.stats();
    assert_eq!((stats.free_bytes, stats.release_failures), (8 << 20, 1));
    assert_eq!(heap.figures().cache.cached_hugepages, 4);
}
