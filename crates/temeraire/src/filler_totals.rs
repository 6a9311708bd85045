//! What the hugepages of the filler add up to.

use crate::{
    demand::FillerMoment,
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

    fn plus(self, other: Self) -> Self {
        Self {
            hugepages: self.hugepages + other.hugepages,
            used: self.used + other.used,
            free: self.free + other.free,
            released: self.released + other.released,
        }
    }
}

/// Totals of each set; a tracker is counted as long as it is on a list.
#[derive(Debug)]
pub(crate) struct FillerTotals([SetTotals; FillerSet::COUNT]);

impl FillerTotals {
    pub(crate) const EMPTY: Self = Self([SetTotals::NONE; FillerSet::COUNT]);

    /// Counts a tracker that came to `set`.
    #[inline]
    pub(crate) fn add(&mut self, set: FillerSet, tracker: &HugepageTracker) {
        if let Some(totals) = self.0.get_mut(set as usize) {
            totals.hugepages += 1;
            totals.used += tracker.used_pages();
            totals.free += tracker.free_pages();
            totals.released += tracker.released_pages();
        }
    }

    /// Counts a tracker out that leaves `set`; its counts are those that it came with.
    #[inline]
    pub(crate) fn subtract(&mut self, set: FillerSet, tracker: &HugepageTracker) {
        if let Some(totals) = self.0.get_mut(set as usize) {
            totals.hugepages -= 1;
            totals.used -= tracker.used_pages();
            totals.free -= tracker.free_pages();
            totals.released -= tracker.released_pages();
        }
    }

    /// The totals of one set.
    pub(crate) fn of(&self, set: FillerSet) -> SetTotals {
        self.0.get(set as usize).copied().unwrap_or(SetTotals::NONE)
    }

    /// All sets together.
    pub(crate) fn all(&self) -> SetTotals {
        self.0.iter().fold(SetTotals::NONE, |sum, totals| sum.plus(*totals))
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
