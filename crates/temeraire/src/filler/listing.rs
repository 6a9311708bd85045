//! Which list a hugepage is on.

use super::Filler;
use crate::{
    filler_totals::PageCounts,
    handle::Handle,
    tracker::{FillerSet, HugepageTracker},
};
use strata_span::PageSize;

impl<P: PageSize> Filler<P> {
    /// Puts a tracker, which is on no list, on the list that its counts say.
    pub(super) fn list(&mut self, tracker: Handle<HugepageTracker>) {
        let (set, place) = Self::place_of(&tracker);
        self.totals.add(set, &tracker);
        self.insert(tracker, set, place);
    }

    /// The set and the list that a tracker belongs to.
    #[inline]
    fn place_of(tracker: &HugepageTracker) -> (FillerSet, usize) {
        let longest = tracker.longest_free();
        if tracker.donated.get() {
            return (FillerSet::Donated, longest);
        }
        let dense = tracker.dense.get();
        let set = match (tracker.released_pages(), tracker.free_pages()) {
            (0, _) if dense => FillerSet::RegularDense,
            (0, _) => FillerSet::Regular,
            (_, 0) if dense => FillerSet::ReleasedDense,
            (_, 0) => FillerSet::Released,
            _ if dense => FillerSet::PartialDense,
            _ => FillerSet::Partial,
        };
        let place = if dense {
            tracker.length() - tracker.allocations()
        } else {
            longest * Self::CHUNKS + chunk(tracker.allocations())
        };
        (set, place)
    }

    /// Changes a tracker, and puts it on the list that it belongs to then. Most changes leave it where it
    /// is, and then its neighbours on the list are not touched.
    #[inline]
    pub(super) fn change<R>(
        &mut self,
        tracker: Handle<HugepageTracker>,
        change: impl FnOnce(&HugepageTracker) -> R,
    ) -> R {
        let old = tracker.set.get();
        let before = PageCounts::of(&tracker);
        let result = change(&tracker);
        let (set, place) = match old {
            FillerSet::Releasing => (old, 0),
            _ => Self::place_of(&tracker),
        };
        if set == old {
            self.totals.adjust(set, before, &tracker);
        } else {
            self.totals.subtract(old, before);
            self.totals.add(set, &tracker);
        }
        if set != old || place != usize::from(tracker.list.get()) {
            self.remove(tracker);
            self.insert(tracker, set, place);
        }
        result
    }

    fn insert(&mut self, tracker: Handle<HugepageTracker>, set: FillerSet, place: usize) {
        match set {
            FillerSet::Regular | FillerSet::Nowhere => {
                self.regular.insert(tracker, FillerSet::Regular, place);
            }
            FillerSet::RegularDense => self.regular_dense.insert(tracker, set, place),
            FillerSet::Donated => self.donated.insert(tracker, set, place),
            FillerSet::Partial => self.partial.insert(tracker, set, place),
            FillerSet::PartialDense => self.partial_dense.insert(tracker, set, place),
            FillerSet::Released => self.released.insert(tracker, set, place),
            FillerSet::ReleasedDense => self.released_dense.insert(tracker, set, place),
            FillerSet::Releasing => self.releasing.insert(tracker, set, place),
        }
    }

    fn remove(&mut self, tracker: Handle<HugepageTracker>) {
        match tracker.set.get() {
            FillerSet::Regular => self.regular.remove(tracker),
            FillerSet::RegularDense => self.regular_dense.remove(tracker),
            FillerSet::Donated => self.donated.remove(tracker),
            FillerSet::Partial => self.partial.remove(tracker),
            FillerSet::PartialDense => self.partial_dense.remove(tracker),
            FillerSet::Released => self.released.remove(tracker),
            FillerSet::ReleasedDense => self.released_dense.remove(tracker),
            FillerSet::Releasing => self.releasing.remove(tracker),
            FillerSet::Nowhere => {}
        }
    }

    pub(super) fn list_releasing(&mut self, tracker: Handle<HugepageTracker>) {
        self.totals.add(FillerSet::Releasing, &tracker);
        self.releasing.insert(tracker, FillerSet::Releasing, 0);
    }

    /// Takes a tracker off its list.
    pub(super) fn unlist(&mut self, tracker: Handle<HugepageTracker>) {
        self.totals.subtract(tracker.set.get(), PageCounts::of(&tracker));
        self.remove(tracker);
    }
}

/// Many allocations come first: 0 for more than 64, 7 for one.
fn chunk(allocations: usize) -> usize {
    let step = usize::BITS - allocations.saturating_sub(1).leading_zeros();
    7usize.saturating_sub(step as usize)
}
