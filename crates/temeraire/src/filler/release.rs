//! Hugepages of which pages go back to the kernel, or that are made whole: nothing is allocated from them meanwhile.

use super::Filler;
use crate::{handle::Handle, tracker::HugepageTracker};
use strata_span::PageSize;

impl<P: PageSize> Filler<P> {
    /// Trackers of a set that a search for the emptiest looks at. At 4 times as many the lock is
    /// held for microseconds more; at one, a hugepage with a long hole and much else wins over an
    /// emptier one.
    pub(super) const CANDIDATES: usize = 8;

    /// Takes a wholly backed tracker off the lists so that nothing is allocated from it, and it is not retired, while the
    /// kernel is asked to make a hugepage of it. [`Self::end_release`] ends that.
    pub(crate) fn begin_treatment(&mut self, tracker: Handle<HugepageTracker>) {
        self.unlist(tracker);
        self.list_releasing(tracker);
    }

    /// Takes a tracker off the lists so that nothing is allocated from it while pages of it are
    /// given back. They are counted as free all the while.
    pub(crate) fn begin_release(&mut self, tracker: Handle<HugepageTracker>, for_limit: bool) {
        self.unlist(tracker);
        tracker.donated.set(false);
        if tracker.allocations() == 0 {
            self.empties.remove(tracker);
        }
        if tracker.released_pages() == 0 && !tracker.is_by_page() {
            self.counters.broken_hugepages += 1;
            self.counters.broken_hugepages_for_limit += u64::from(for_limit);
        }
        self.list_releasing(tracker);
    }

    /// Ends what `begin_release` began, `note` noting what was given back. The tracker comes back
    /// if it emptied meanwhile.
    pub(crate) fn end_release(
        &mut self,
        tracker: Handle<HugepageTracker>,
        note: impl FnOnce(),
        now_ns: u64,
    ) -> Option<Handle<HugepageTracker>> {
        self.unlist(tracker);
        note();
        let emptied = self.list_or_retire(tracker);
        self.report(now_ns);
        emptied
    }

    /// The hugepage from which to give pages back next: among partly released ones, and if there is
    /// none (`break_more`: none of these) among all others, that with the fewest pages in use, as
    /// far as a look at the ends of the lists tells. None where no free page is backed.
    ///
    /// The lists are sorted by longest free run, which bounds the pages in use from above: looking
    /// at [`Self::CANDIDATES`] trackers a set finds the emptiest or one much like it, in constant
    /// time where a search over all hugepages would hold the lock for as long as the heap is large.
    ///
    /// `may_go` says of which of them pages may go: one that may not does not stand in the way of those that may.
    pub(crate) fn release_candidate(
        &self,
        granule: usize,
        may_go: impl Fn(&HugepageTracker) -> bool,
    ) -> Option<Handle<HugepageTracker>> {
        let with_pages = |tracker: &Handle<HugepageTracker>| {
            tracker.free_pages() >= granule
                && !tracker.is_populating()
                && may_go(tracker)
                && tracker.backed_gaps(granule).next().is_some()
        };
        let fewest = |candidates: &mut dyn Iterator<Item = Handle<HugepageTracker>>| {
            candidates.filter(with_pages).min_by_key(|tracker| tracker.used_pages())
        };
        let partial = self.partial.backwards().take(Self::CANDIDATES);
        let partial_dense = self.partial_dense.backwards().take(Self::CANDIDATES);
        let regular = self.regular.backwards().take(Self::CANDIDATES);
        let regular_dense = self.regular_dense.backwards().take(Self::CANDIDATES);
        let donated = self.donated.backwards().take(Self::CANDIDATES);
        fewest(&mut partial.chain(partial_dense))
            .or_else(|| fewest(&mut regular.chain(regular_dense).chain(donated)))
    }
}
