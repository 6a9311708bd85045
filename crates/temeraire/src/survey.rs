//! Takes the figures of a heap.

use crate::{
    advice::AdviceFigures,
    figures::{
        ComponentBytes, Components, DensityFigures, FillerFigures, HugeAllocatorFigures,
        Population, RegionSetFigures, TemeraireFigures,
    },
    filler::Filler,
    free_spans::FreeSpanTable,
    huge_address_map::HugeRange,
    region_set::RegionSet,
    state::State,
    tracker::{FillerSet, HugepageTracker},
};
use strata_page_heap::SpanAges;
use strata_span::{HugepageCount, PageCount, PageSize};

/// What is found on the way through all free runs.
struct FreeRuns {
    spans: FreeSpanTable,
    ages: SpanAges,
    now_ns: u64,
}

impl FreeRuns {
    fn record(&mut self, pages: usize, backed: bool, since_ns: u64) {
        self.spans.record(pages, backed);
        let table = if backed { &mut self.ages.live } else { &mut self.ages.unmapped };
        table.record(pages as u64, self.now_ns.saturating_sub(since_ns));
    }

    fn record_range<P: PageSize>(&mut self, range: HugeRange, backed: bool) {
        self.record(range.count.pages::<P>().get(), backed, range.free_since_ns);
    }
}

impl<P: PageSize> State<P> {
    /// The figures. Takes time by the number of hugepages, regions and free ranges.
    pub(crate) fn survey(&mut self, advice: AdviceFigures, now_ns: u64) -> TemeraireFigures {
        let mut runs =
            FreeRuns { spans: FreeSpanTable::new::<P>(), ages: SpanAges::default(), now_ns };
        self.cache.ranges().iter().for_each(|range| runs.record_range::<P>(range, true));
        self.allocator.free().iter().for_each(|range| runs.record_range::<P>(range, false));
        let filler = self.filler.survey(&mut runs);
        let regions = self.regions.survey::<P>(&mut runs);
        let elapsed_ns = now_ns.saturating_sub(self.first_used_ns.unwrap_or(now_ns));
        TemeraireFigures {
            page_bytes: P::BYTES as u64,
            spans: runs.spans,
            components: self.components(),
            filler,
            regions,
            cache: self.cache.figures(now_ns),
            allocator: self.survey_allocator(),
            allocations: self.records.figures(elapsed_ns),
            ages: runs.ages,
            advice,
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
        self.filler.used + self.region.used + self.cache.used + self.allocator.used
    }
}

impl<P: PageSize> Filler<P> {
    fn survey(&mut self, runs: &mut FreeRuns) -> FillerFigures {
        let now_ns = runs.now_ns;
        let all = self.totals().all();
        let mut figures = FillerFigures {
            hugepages: all.hugepages as u64,
            free_pages: all.free as u64,
            used_pages: all.used as u64,
            unmapped_pages: all.released as u64,
            abandoned_pages: self.abandoned_pages as u64,
            counters: self.counters,
            history: self.history.summary(now_ns),
            skipped: self.demand.judgement(now_ns),
            ..FillerFigures::default()
        };
        self.for_each_tracker(|tracker| {
            figures.record::<P>(tracker);
            for gap in tracker.gaps() {
                runs.record(gap.length, !gap.released, tracker.free_since_ns());
            }
        });
        figures
    }
}

impl FillerFigures {
    fn record<P: PageSize>(&mut self, tracker: &HugepageTracker) {
        let used = tracker.used_pages() as u64;
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
    }
}

/// Which population a hugepage of the filler belongs to.
fn population(tracker: &HugepageTracker) -> Population {
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
    fn survey<P: PageSize>(&self, runs: &mut FreeRuns) -> RegionSetFigures {
        let totals = self.totals();
        let backed = HugepageCount::new(totals.backed_hugepages);
        let mut figures = RegionSetFigures {
            regions: totals.regions as u64,
            backed_hugepages: backed.get() as u64,
            hugepages: totals.hugepages() as u64,
            backed_free_hugepages: totals.releasable as u64,
            least_backed_free_hugepages: self.least_releasable() as u64,
            free_pages: (backed.pages::<P>().get() - totals.used_pages) as u64,
            ..RegionSetFigures::default()
        };
        for (region, detail) in self.iter().zip(&mut figures.details) {
            *detail = region.figures::<P>();
        }
        for region in self.iter() {
            region
                .for_each_gap::<P>(|pages, backed, since_ns| runs.record(pages, backed, since_ns));
        }
        figures
    }
}
