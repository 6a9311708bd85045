//! What the hugepages of the filler add up to.

use crate::{
    filler::FillerMoment,
    tracker::{FillerSet, HugepageTracker},
};

/// The hugepages of one set, in pages unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SetTotals {
    pub(crate) hugepages: usize,
    pub(crate) used: usize,
    /// Free and backed.
    pub(crate) free: usize,
    /// Free and given back to the kernel.
    pub(crate) released: usize,
}

impl SetTotals {
    const NONE: Self = Self { hugepages: 0, used: 0, free: 0, released: 0 };

    #[inline(always)]
    fn add(&mut self, tracker: &HugepageTracker) {
        self.hugepages += 1;
        self.used += tracker.used_pages();
        self.free += tracker.free_pages();
        self.released += tracker.released_pages();
    }

    #[inline(always)]
    fn subtract(&mut self, counts: PageCounts) {
        self.hugepages -= 1;
        self.used -= counts.used;
        self.free -= counts.free;
        self.released -= counts.released;
    }

    #[inline(always)]
    fn adjust(&mut self, before: PageCounts, after: PageCounts) {
        self.used = self.used + after.used - before.used;
        self.free = self.free + after.free - before.free;
        // Most hugepages have none, before and after.
        if before.released != after.released {
            self.released = self.released + after.released - before.released;
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            hugepages: self.hugepages + other.hugepages,
            used: self.used + other.used,
            free: self.free + other.free,
            released: self.released + other.released,
        }
    }
}

/// What a hugepage has of pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageCounts {
    used: usize,
    free: usize,
    released: usize,
}

impl PageCounts {
    #[inline]
    pub(crate) fn of(tracker: &HugepageTracker) -> Self {
        Self {
            used: tracker.used_pages(),
            free: tracker.free_pages(),
            released: tracker.released_pages(),
        }
    }
}

/// Totals of each set and of all; a tracker is counted as long as it is on a list.
#[derive(Debug)]
pub(crate) struct FillerTotals {
    sets: [SetTotals; FillerSet::COUNT],
    all: SetTotals,
}

impl FillerTotals {
    pub(crate) const EMPTY: Self =
        Self { sets: [SetTotals::NONE; FillerSet::COUNT], all: SetTotals::NONE };

    /// Counts a tracker that came to `set`.
    #[inline]
    pub(crate) fn add(&mut self, set: FillerSet, tracker: &HugepageTracker) {
        self.all.add(tracker);
        if let Some(totals) = self.sets.get_mut(set as usize) {
            totals.add(tracker);
        }
    }

    /// Counts a tracker out that leaves `set`; its counts are those that it came with.
    #[inline]
    pub(crate) fn subtract(&mut self, set: FillerSet, counts: PageCounts) {
        self.all.subtract(counts);
        if let Some(totals) = self.sets.get_mut(set as usize) {
            totals.subtract(counts);
        }
    }

    /// Whether a set has a hugepage.
    #[inline]
    pub(crate) fn has(&self, set: FillerSet) -> bool {
        self.sets.get(set as usize).is_some_and(|totals| totals.hugepages > 0)
    }

    /// Counts the change of a tracker that stays in `set`, and was as `before` says.
    #[inline]
    pub(crate) fn adjust(&mut self, set: FillerSet, before: PageCounts, tracker: &HugepageTracker) {
        let after = PageCounts::of(tracker);
        self.all.adjust(before, after);
        if let Some(totals) = self.sets.get_mut(set as usize) {
            totals.adjust(before, after);
        }
    }

    /// The totals of one set.
    pub(crate) fn of(&self, set: FillerSet) -> SetTotals {
        self.sets.get(set as usize).copied().unwrap_or(SetTotals::NONE)
    }

    /// All sets together.
    #[inline]
    pub(crate) const fn all(&self) -> SetTotals {
        self.all
    }

    /// Sparse and dense together: hugepages with released pages and with free ones that are backed.
    pub(crate) fn partially_released(&self) -> SetTotals {
        self.of(FillerSet::Partial).plus(self.of(FillerSet::PartialDense))
    }

    /// The filler at this moment. What is on its way to the kernel counts as partially released.
    #[inline]
    pub(crate) fn moment(&self) -> FillerMoment {
        let all = self.all();
        let hugepages = |set| self.of(set).hugepages as u64;
        FillerMoment {
            used_pages: all.used as u64,
            free_pages: all.free as u64,
            unmapped_pages: all.released as u64,
            regular_hugepages: hugepages(FillerSet::Regular) + hugepages(FillerSet::RegularDense),
            donated_hugepages: hugepages(FillerSet::Donated),
            partial_hugepages: hugepages(FillerSet::Partial)
                + hugepages(FillerSet::PartialDense)
                + hugepages(FillerSet::Releasing),
            released_hugepages: hugepages(FillerSet::Released)
                + hugepages(FillerSet::ReleasedDense),
        }
    }
}
