//! Takes the figures of a heap.
//!
//! What the heap counts anyway is read in one go. What only its hugepages know (how full each is, how long its free runs
//! are and since when) is gathered on a walk over its address space, in steps with the lock left in between: a heap of
//! 50 000 hugepages takes tens of milliseconds, and nobody waits for more than one step. So the parts that are gathered
//! (histograms, free runs, ages, and the filler's hugepages and pages) agree with each other and with the rest of the
//! figures as far as nobody used the heap meanwhile.

use crate::{
    demand::SkipIntervals,
    figures::{
        ComponentBytes, Components, DensityFigures, FillerFigures, HugeAllocatorFigures,
        Population, RegionSetFigures, TemeraireFigures,
    },
    filler::Filler,
    huge_range::HugeRange,
    hugepage_aware::HugePageAware,
    region_set::RegionSet,
    state::State,
    supply::KeeperHandle,
    time_series::Sum,
    tracker::{FillerSet, HugepageTracker},
};
use strata_page_heap::{HugepageFigures, HugepageUse, PageHeap, copy_into_place, count_lifetime};
use strata_span::{Hugepage, HugepageCount, PageCount, PageSize, Platform};

/// Most hugepages that one step looks at. Each costs two searches in trees where a large span lies.
const LOOKS: usize = 128;

/// Most hugepages of the filler that one step records: each has up to 256 free runs. The lock is held for some 10
/// microseconds then; at twice, for twice as long.
const RECORDS: usize = 16;

/// Hugepages that are told apart by their allocations have been there for so long.
const OLD_MS: u64 = 100_000;

impl<P: PageSize> HugePageAware<P> {
    /// The figures. Takes time by the number of hugepages, with the lock left every few.
    pub(crate) fn survey<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        figures: &mut TemeraireFigures,
    ) {
        copy_into_place(figures, &TemeraireFigures::NONE);
        let now_ns = {
            let mut state = self.state.lock();
            figures.advice = self.advice.figures(state.forbidden_hugepages);
            let now_ns = state.time(platform);
            state.begin_survey(figures, now_ns);
            now_ns
        };
        let mut passed = 0;
        while let Some(range) = self.next_reservation(passed) {
            let (mut at, end) =
                (Hugepage::from_address(range.start), Hugepage::from_address(range.end()));
            while at < end {
                at = self.state.lock().survey_step(platform, at, end, figures, now_ns);
            }
            passed = at.address().value();
        }
    }
}

/// Counts a run of free pages.
fn record_run(figures: &mut TemeraireFigures, now_ns: u64, pages: usize, backed: bool, since: u64) {
    figures.spans.record(pages, backed);
    let table = if backed { &mut figures.ages.live } else { &mut figures.ages.unmapped };
    table.record(pages as u64, now_ns.saturating_sub(since));
}

impl<P: PageSize> State<P> {
    /// Fills in all that is counted anyway.
    fn begin_survey(&mut self, figures: &mut TemeraireFigures, now_ns: u64) {
        figures.page_bytes = P::BYTES as u64;
        figures.spans.begin::<P>();
        figures.components = self.components();
        figures.releasable_bytes = Some(self.releasable_on_request(now_ns).bytes() as u64);
        figures.released = Some(self.released);
        self.filler.begin_survey(&mut figures.filler, now_ns);
        figures.filler.kept = self.kept_for_demand(now_ns);
        let intervals = self.skip_intervals.unwrap_or(SkipIntervals::STANDARD);
        figures.filler.skip_short_ns = intervals.short_ns;
        figures.filler.skip_long_ns = intervals.long_ns.max(intervals.short_ns);
        self.regions.survey::<P>(&mut figures.regions);
        self.cache.fill_in(&mut figures.cache, now_ns);
        figures.collapse = self.collapse_figures();
        figures.allocator = self.survey_allocator();
        let elapsed_ns = now_ns.saturating_sub(self.first_used_ns.unwrap_or(now_ns));
        self.records.fill_in(&mut figures.allocations, elapsed_ns);
    }

    /// Gathers what stands from `at` on, up to `end` at most. Says where the next step begins.
    fn survey_step<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        mut at: Hugepage,
        end: Hugepage,
        figures: &mut TemeraireFigures,
        now_ns: u64,
    ) -> Hugepage {
        let mut recorded = 0;
        for _ in 0..LOOKS {
            if at >= end || recorded == RECORDS {
                break;
            }
            let next = at + HugepageCount::ONE;
            at = match self.keeper_of(platform, at) {
                Some(KeeperHandle::Tracker(tracker)) => {
                    recorded += 1;
                    figures.filler.record::<P>(&tracker, now_ns);
                    for gap in tracker.gaps() {
                        let since = tracker.free_since_ns();
                        record_run(figures, now_ns, gap.length, !gap.released, since);
                    }
                    next
                }
                Some(KeeperHandle::Region(region)) => {
                    if region.first() != at {
                        at = next;
                        continue;
                    }
                    region.for_each_gap::<P>(|pages, backed, since| {
                        record_run(figures, now_ns, pages, backed, since);
                    });
                    // A region can have a thousand runs.
                    return region.end();
                }
                None => match self.free_range_at(at) {
                    Some((range, backed)) => {
                        // One that goes on from a lower reservation was met there.
                        if range.first == at {
                            let pages = range.count.pages::<P>().get();
                            record_run(figures, now_ns, pages, backed, range.free_since_ns);
                        }
                        range.end()
                    }
                    None => next,
                },
            };
        }
        at
    }

    /// The run of whole free hugepages that `at` is in, and whether it is backed.
    pub(crate) fn free_range_at(&self, at: Hugepage) -> Option<(HugeRange, bool)> {
        let cached = self.cache.ranges().holding(at).map(|range| (range, true));
        cached.or_else(|| Some((self.allocator.free().holding(at)?, false)))
    }

    /// What is known of one hugepage.
    pub(crate) fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        let pages = PageCount::<P>::PER_HUGEPAGE.get() as u64;
        match self.keeper_of(platform, hugepage) {
            Some(KeeperHandle::Tracker(tracker)) => HugepageFigures {
                shared_by: match tracker.set.get() {
                    FillerSet::Donated => HugepageUse::Donated,
                    _ if tracker.dense.get() => HugepageUse::Dense,
                    _ => HugepageUse::Sparse,
                },
                used_pages: tracker.used_pages() as u64,
                unbacked_pages: tracker.released_pages() as u64,
                backed_free_pages: Some(
                    pages.saturating_sub((tracker.used_pages() + tracker.released_pages()) as u64),
                ),
            },
            Some(KeeperHandle::Region(region)) => region.hugepage_figures::<P>(hugepage),
            None => HugepageFigures {
                backed_free_pages: Some(match self.free_range_at(hugepage) {
                    Some((_, true)) => pages,
                    Some((_, false)) | None => 0,
                }),
                ..HugepageFigures::default()
            },
        }
    }

    fn components(&self) -> Components {
        let bytes = |pages: usize| PageCount::<P>::new(pages).bytes() as u64;
        let filler = self.filler.totals().all();
        let regions = self.regions.totals();
        let backed = HugepageCount::new(regions.backed_hugepages).bytes() as u64;
        let unbacked = HugepageCount::new(regions.hugepages()).bytes() as u64 - backed;
        let region_used = bytes(regions.used_pages);
        let large = self.cache.usage().saturating_sub(HugepageCount::new(filler.hugepages));
        let components = Components {
            filler: ComponentBytes {
                used: bytes(filler.used),
                free: bytes(filler.free),
                unmapped: bytes(filler.released),
            },
            region: ComponentBytes {
                used: region_used,
                free: backed - region_used,
                unmapped: unbacked,
            },
            cache: ComponentBytes {
                used: large.bytes() as u64,
                free: self.cache.size().bytes() as u64,
                unmapped: 0,
            },
            allocator: ComponentBytes {
                used: 0,
                free: bytes(self.leaving.backed_pages),
                unmapped: self.allocator.free().total().bytes() as u64
                    + bytes(self.leaving.unbacked_pages),
            },
        };
        debug_assert_eq!(components.used(), bytes(self.in_use_pages), "used is counted twice");
        components
    }

    fn survey_allocator(&self) -> HugeAllocatorFigures {
        let requested = self.allocator.requested();
        let free = self.allocator.free().total();
        HugeAllocatorFigures {
            nodes_used: self.nodes.used() as u64,
            nodes_created: self.nodes.created() as u64,
            longest_hugepages: self.allocator.free().longest().get() as u64,
            requested_hugepages: requested.get() as u64,
            in_use_hugepages: requested.saturating_sub(free).get() as u64,
            free_hugepages: free.get() as u64,
        }
    }
}

impl Components {
    /// What is in spans, all components together.
    pub const fn used(&self) -> u64 {
        let small = self.filler.used.wrapping_add(self.region.used);
        small.wrapping_add(self.cache.used).wrapping_add(self.allocator.used)
    }
}

impl<P: PageSize> Filler<P> {
    /// What is counted anyway; hugepages and pages are added one by one.
    fn begin_survey(&mut self, figures: &mut FillerFigures, now_ns: u64) {
        figures.abandoned_pages = self.abandoned_pages as u64;
        figures.counters = self.counters;
        self.history.fill_in(&mut figures.history, now_ns);
        figures.skipped = self.demand.judgement(now_ns);
        let minutes = self.subreleased.recent(now_ns, u64::MAX);
        figures.subreleased_pages_last_hour = minutes.map(|Sum(pages)| pages).sum();
    }
}

impl FillerFigures {
    fn record<P: PageSize>(&mut self, tracker: &HugepageTracker, now_ns: u64) {
        let used = tracker.used_pages() as u64;
        self.hugepages += 1;
        self.used_pages += used;
        self.free_pages += tracker.free_pages() as u64;
        self.unmapped_pages += tracker.released_pages() as u64;
        let density = self.densities.get_mut(usize::from(tracker.dense.get()));
        let mut unknown = DensityFigures::default();
        let density = density.unwrap_or(&mut unknown);
        density.hugepages += 1;
        let population = population(tracker);
        match population {
            Population::SparseRegular | Population::DenseRegular => {
                let full = tracker.unused_pages() == 0;
                self.full_hugepages += u64::from(full);
                self.partial_hugepages += u64::from(!full);
                density.full += u64::from(full);
                density.partial += u64::from(!full);
            }
            Population::Donated => {
                self.partial_hugepages += 1;
                self.donated_hugepages += 1;
                density.partial += 1;
            }
            Population::SparsePartial | Population::DensePartial => {
                self.released_hugepages += 1;
                self.partially_released_hugepages += 1;
                self.used_pages_in_released += used;
                self.used_pages_in_partially_released += used;
                density.released += 1;
                density.partially_released += 1;
            }
            Population::SparseReleased | Population::DenseReleased => {
                self.released_hugepages += 1;
                self.used_pages_in_released += used;
                density.released += 1;
            }
        }
        let Some(fullness) = self.fullness.get_mut(population as usize) else { return };
        fullness.free_pages.record::<P>(tracker.unused_pages());
        fullness.longest_free_range.record::<P>(tracker.longest_free());
        fullness.allocations_less_one.record::<P>(tracker.allocations().saturating_sub(1));
        let Some(lifetimes) = self.lifetimes.get_mut(population as usize) else { return };
        let age_ms = tracker.age_ms(now_ns);
        count_lifetime(&mut lifetimes.all, age_ms);
        if 8 * tracker.unused_pages() >= 7 * tracker.length() {
            count_lifetime(&mut lifetimes.nearly_free, age_ms);
        }
        if age_ms >= OLD_MS {
            lifetimes.old_by_allocations.record::<P>(tracker.allocations());
        }
    }
}

/// Which population a hugepage of the filler belongs to.
pub(crate) fn population(tracker: &HugepageTracker) -> Population {
    match tracker.set.get() {
        FillerSet::Nowhere | FillerSet::Regular => Population::SparseRegular,
        FillerSet::RegularDense => Population::DenseRegular,
        FillerSet::Donated => Population::Donated,
        FillerSet::Partial => Population::SparsePartial,
        FillerSet::PartialDense => Population::DensePartial,
        FillerSet::Releasing if tracker.dense.get() => Population::DensePartial,
        FillerSet::Releasing => Population::SparsePartial,
        FillerSet::Released => Population::SparseReleased,
        FillerSet::ReleasedDense => Population::DenseReleased,
    }
}

impl RegionSet {
    fn survey<P: PageSize>(&self, figures: &mut RegionSetFigures) {
        let totals = self.totals();
        let backed = HugepageCount::new(totals.backed_hugepages);
        figures.regions = totals.regions as u64;
        figures.backed_hugepages = backed.get() as u64;
        figures.hugepages = totals.hugepages() as u64;
        figures.backed_free_hugepages = totals.releasable as u64;
        figures.least_backed_free_hugepages = self.least_releasable() as u64;
        figures.free_pages = (backed.pages::<P>().get() - totals.used_pages) as u64;
        for (region, detail) in self.iter().zip(&mut figures.details) {
            *detail = region.figures::<P>();
        }
    }
}
