//! What the filler did, and how it is.

use super::{Filler, FillerMoment};
use crate::{handle::Handle, tracker::HugepageTracker};
use strata_page_heap::{LIFETIME_BUCKETS, count_lifetime};
use strata_span::PageSize;

/// What the filler did since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FillerCounters {
    /// Tails of large allocations that came.
    pub donations: u64,
    /// Large allocations that went while others lived on their tails.
    pub abandonments: u64,
    /// Pages given back to the kernel from hugepages in use.
    pub subreleased_pages: u64,
    /// The same, because a limit was hit.
    pub subreleased_pages_for_limit: u64,
    /// Hugepages that were wholly backed before pages of them were given back.
    pub broken_hugepages: u64,
    /// The same, because a limit was hit.
    pub broken_hugepages_for_limit: u64,
    /// Released hugepages that became full again.
    pub refilled_hugepages: u64,
    /// Donated tails on which a span came to stand.
    pub reused_tails: u64,
    /// Spans that came to stand on hugepages of which parts had been given back.
    pub reused_partial: u64,
    /// Spans that came to stand across the border of two hugepages.
    pub across: u64,
    /// Hugepages that left, by how long they had been here (see [`LIFETIME_BOUNDS_MS`](crate::LIFETIME_BOUNDS_MS)): first
    /// those whose spans held few objects, then those of many.
    pub completed_lifetimes: [[u32; LIFETIME_BUCKETS]; 2],
}

impl FillerCounters {
    pub(crate) const NONE: Self = Self {
        donations: 0,
        abandonments: 0,
        subreleased_pages: 0,
        subreleased_pages_for_limit: 0,
        broken_hugepages: 0,
        broken_hugepages_for_limit: 0,
        refilled_hugepages: 0,
        reused_tails: 0,
        reused_partial: 0,
        across: 0,
        completed_lifetimes: [[0; LIFETIME_BUCKETS]; 2],
    };

    /// Counts pages that were given back from a hugepage in use.
    fn count_subrelease(&mut self, pages: usize, for_limit: bool) {
        self.subreleased_pages += pages as u64;
        if for_limit {
            self.subreleased_pages_for_limit += pages as u64;
        }
    }
}

impl<P: PageSize> Filler<P> {
    /// Counts a hugepage that leaves because it is empty.
    pub(crate) fn count_completed(&mut self, tracker: &HugepageTracker, now_ns: u64) {
        let density = usize::from(tracker.dense.get());
        if let Some(buckets) = self.counters.completed_lifetimes.get_mut(density) {
            count_lifetime(buckets, tracker.age_ms(now_ns));
        }
    }

    /// Counts pages that were given back from a hugepage in use.
    pub(crate) fn count_subrelease(&mut self, now_ns: u64, pages: usize, for_limit: bool) {
        self.counters.count_subrelease(pages, for_limit);
        if let Some(minute) = self.subreleased.at(now_ns) {
            minute.0 += pages as u64;
        }
    }

    /// Takes in how the filler is: its demand at each step, and all of it now and then and when
    /// hugepages come and go.
    /// Counts a hugepage that was released in part and became full again.
    #[inline]
    pub(super) fn count_refill(&mut self, tracker: Handle<HugepageTracker>) {
        if tracker.was_released.get() && tracker.unused_pages() == 0 {
            tracker.was_released.set(false);
            tracker.refilled.set(true);
            self.counters.refilled_hugepages += 1;
        }
    }

    /// Takes in how the filler is now.
    #[inline]
    pub(crate) fn report(&mut self, now_ns: u64) {
        let all = self.totals.all();
        self.demand.report(now_ns, all.used);
        self.reports = self.reports.wrapping_add(1);
        if self.reports.is_multiple_of(Self::REPORTS_BY_MOMENT)
            || all.hugepages != self.reported_hugepages
        {
            self.reported_hugepages = all.hugepages;
            let moment: FillerMoment = self.totals.moment();
            self.history.report(now_ns, &moment);
        }
    }
}
