//! What the parts of a heap add up to.

use crate::state::State;
use strata_page_heap::{FreeParts, HasStats, PageHeapStats};
use strata_span::{HugepageCount, PageCount, PageSize};

/// The names of a heap's parts, and how often each came into play.
pub(crate) type Parts = [(&'static str, u64); 16];

impl<P: PageSize> State<P> {
    /// The parts of the heap, and how often they came into play.
    pub(crate) fn parts(&self) -> Parts {
        let filler = self.filler.counters;
        let judged = self.filler.demand.judged();
        let cache = self.cache.counts();
        [
            ("donations", filler.donations),
            ("donated tails reused", filler.reused_tails),
            ("abandonments", filler.abandonments),
            ("broken hugepages", filler.broken_hugepages),
            ("hugepages broken for a limit", filler.broken_hugepages_for_limit),
            ("partly released hugepages reused", filler.reused_partial),
            ("refilled hugepages", filler.refilled_hugepages),
            ("spans across hugepages", filler.across),
            ("pages not subreleased", judged.skipped_pages),
            ("regions", self.regions.totals().regions as u64),
            ("hugepages given back by regions", self.regions_given_back),
            ("cache hits", cache.hits),
            ("cache overflows", cache.overflows),
            ("cache trims on request", cache.periodic_unbacked),
            ("broken hugepages that emptied", self.emptied_broken),
            ("collapses", self.treatment.figures().collapsed),
        ]
    }

    /// After unbacked pages came into use, or count as backed: raises the peak.
    #[inline]
    pub(crate) fn note_peak(&mut self) {
        self.peak_backed_pages = self.peak_backed_pages.max(self.in_use_pages + self.free_pages());
    }

    /// Whether so many pages are in no span, wherever they are.
    pub(crate) fn has_free(&self, pages: PageCount<P>) -> bool {
        let reserved_bytes = self.allocator.reserve().stats().reserved_bytes;
        let in_use_bytes = PageCount::<P>::new(self.in_use_pages).bytes() as u64;
        reserved_bytes.saturating_sub(in_use_bytes) >= pages.bytes() as u64
    }

    /// Free pages that are backed, those on their way to the kernel included.
    pub(crate) fn free_pages(&self) -> usize {
        let regions = self.regions.totals();
        let backed = HugepageCount::new(regions.backed_hugepages).pages::<P>().get();
        self.filler.totals().all().free
            + (backed - regions.used_pages)
            + self.cache.size().pages::<P>().get()
            + self.leaving.backed_pages
    }

    /// The same by the part that has them; what is on its way to the kernel is in none.
    fn free_parts(&self) -> FreeParts {
        let bytes = |pages: usize| PageCount::<P>::new(pages).bytes() as u64;
        let regions = self.regions.totals();
        let backed = HugepageCount::new(regions.backed_hugepages).pages::<P>().get();
        FreeParts {
            filler_bytes: bytes(self.filler.totals().all().free),
            regions_bytes: bytes(backed - regions.used_pages),
            cache_bytes: self.cache.size().bytes() as u64,
        }
    }

    /// Free pages that are not backed.
    fn unmapped_pages(&self) -> usize {
        let regions = self.regions.totals();
        let unbacked = HugepageCount::new(regions.hugepages() - regions.backed_hugepages);
        self.filler.totals().all().released
            + unbacked.pages::<P>().get()
            + self.allocator.free().total().pages::<P>().get()
            + self.leaving.unbacked_pages
    }
}

impl<P: PageSize> HasStats for State<P> {
    /// The figures that every page heap has, but for the lock's.
    fn stats(&self) -> PageHeapStats {
        let bytes = |pages: usize| PageCount::<P>::new(pages).bytes() as u64;
        let reserve = self.allocator.reserve().stats();
        let stats = PageHeapStats {
            reserved_bytes: reserve.reserved_bytes,
            system_bytes: self.allocator.requested().bytes() as u64,
            in_use_bytes: bytes(self.in_use_pages),
            free_bytes: bytes(self.free_pages()),
            free_parts: self.free_parts(),
            unmapped_bytes: bytes(self.unmapped_pages()),
            peak_backed_bytes: bytes(self.peak_backed_pages),
            spans_in_use: self.spans_in_use,
            released: self.released,
            release_failures: self.release_failures,
            releases_withheld: self.refusals.withheld(),
            limits: self.limits,
            ..PageHeapStats::default()
        };
        debug_assert_eq!(
            stats.system_bytes,
            stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes,
            "every page is in use, free or unmapped"
        );
        debug_assert_eq!(
            stats.free_bytes,
            stats.free_parts.total() + bytes(self.leaving.backed_pages),
            "what is free and backed has a place, or is on its way to the kernel"
        );
        stats
    }
}
