//! Hugepages and their trackers, for the heap's parts.

use crate::{
    handle::Handle,
    huge_address_map::HugeRange,
    region::Region,
    state::State,
    tracker::{HugepageTracker, Keeper},
};
use core::ptr::NonNull;
use strata_span::{Hugepage, HugepageCount, PageSize, Platform};

/// Whole hugepages that were found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundHugepages {
    pub(crate) range: HugeRange,
    /// Not from the cache.
    pub(crate) fresh: bool,
}

/// Who keeps the pages of a hugepage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeeperHandle {
    Tracker(Handle<HugepageTracker>),
    Region(Handle<Region>),
}

impl<P: PageSize> State<P> {
    /// A run of hugepages from the cache or the allocator, aligned to `align` hugepages.
    pub(crate) fn take_hugepages<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        now_ns: u64,
    ) -> Option<FoundHugepages> {
        let nodes = &mut self.nodes;
        if let Some(range) = self.cache.allocate(platform, count, align, nodes, now_ns) {
            return Some(FoundHugepages { range, fresh: false });
        }
        let range = self.allocator.allocate(platform, count, align, nodes, now_ns)?;
        self.cache.note_taken_elsewhere(now_ns, count);
        Some(FoundHugepages { range, fresh: true })
    }

    /// A tracker for a hugepage to come.
    pub(crate) fn hire<E: Platform>(&self, platform: &E) -> Option<Handle<HugepageTracker>> {
        let tracker = self.trackers.allocate(platform.arena(), platform.metadata())?;
        // SAFETY: it goes back to the pool in `dismiss` alone, when nothing refers to it any more;
        // the lock is held.
        Some(unsafe { Handle::new(tracker) })
    }

    /// Gives a tracker its hugepage.
    pub(crate) fn assign<E: Platform>(
        &self,
        platform: &E,
        tracker: Handle<HugepageTracker>,
        hugepage: Hugepage,
        zeroed: bool,
        now_ns: u64,
    ) {
        tracker.start(hugepage, Self::PER_HUGEPAGE, zeroed, now_ns);
        platform.map().set_tracker(hugepage, Some(tracker.place().cast()));
    }

    /// Ends the service of a tracker that is on no list.
    pub(crate) fn dismiss<E: Platform>(&self, platform: &E, tracker: Handle<HugepageTracker>) {
        platform.map().set_tracker(tracker.hugepage(), None);
        self.dismiss_unused(tracker);
    }

    pub(crate) fn dismiss_unused(&self, tracker: Handle<HugepageTracker>) {
        // SAFETY: it came from this pool; no list and no map refers to it, and its user gives it up
        // here.
        unsafe { self.trackers.deallocate(tracker.place()) };
    }

    /// Who keeps the pages of a hugepage; none for those of large spans.
    pub(crate) fn keeper_of<E: Platform>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> Option<KeeperHandle> {
        let note: NonNull<()> = platform.map().tracker(hugepage)?;
        // SAFETY: the map's notes of this heap's hugepages are its trackers and regions; the lock
        // is held.
        Some(match unsafe { Keeper::of_note(note) } {
            // SAFETY: its first byte says that it is a tracker, and the pool gets it back only
            // after the map has lost it.
            Keeper::Filler => KeeperHandle::Tracker(unsafe { Handle::new(note.cast()) }),
            // SAFETY: its first byte says that it is a region, and regions stay.
            Keeper::Region => KeeperHandle::Region(unsafe { Handle::new(note.cast()) }),
        })
    }
}
