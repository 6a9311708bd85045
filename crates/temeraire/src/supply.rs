//! Hugepages and their trackers, for the heap's parts.

use crate::{
    advice::{Backing, HugepageAdvice},
    handle::Handle,
    huge_range::HugeRange,
    keeper::Keeper,
    region::Region,
    state::State,
    tracker::HugepageTracker,
};
use core::ptr::NonNull;
use strata_span::{Hugepage, HugepageCount, PageCount, PageSize, Platform};

/// Whole hugepages that were found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundHugepages {
    pub(crate) range: HugeRange,
    /// Not from the cache.
    pub(crate) fresh: bool,
    /// Of what is from the cache in part, what is not.
    pub(crate) added: Option<(Hugepage, HugepageCount)>,
}

impl FoundHugepages {
    const fn cached(range: HugeRange) -> Self {
        Self { range, fresh: false, added: None }
    }
}

/// What is known of a hugepage that comes to the filler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    /// It reads as zero.
    pub(crate) zeroed: bool,
    /// Nothing of it is in memory, and the kernel backs it page by page.
    pub(crate) by_page: bool,
}

/// Who keeps the pages of a hugepage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeeperHandle {
    Tracker(Handle<HugepageTracker>),
    Region(Handle<Region>),
}

impl<P: PageSize> State<P> {
    /// A run of hugepages from the cache or the allocator, aligned to `align` hugepages.
    pub(crate) fn take_hugepages<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        now_ns: u64,
    ) -> Option<FoundHugepages> {
        let nodes = &mut self.nodes;
        if let Some(range) = self.cache.allocate(platform, count, align, nodes, now_ns) {
            return Some(FoundHugepages::cached(range));
        }
        // Beside what the cache has, empty hugepages of the filler may be long enough.
        let mut gave = false;
        while let Some(empty) = self.filler.take_empty() {
            self.give_up(platform, empty, now_ns);
            gave = true;
        }
        if gave
            && let Some(range) =
                self.cache.allocate(platform, count, align, &mut self.nodes, now_ns)
        {
            return Some(FoundHugepages::cached(range));
        }
        let longest = self.cache.ranges().longest();
        if align == 1
            && longest > HugepageCount::ZERO
            && let Some(found) = self.take_across(platform, count, longest, now_ns)
        {
            return Some(found);
        }
        let nodes = &mut self.nodes;
        let range = self.allocator.allocate(platform, count, align, nodes, now_ns)?;
        self.cache.note_taken_elsewhere(now_ns, count);
        Some(FoundHugepages { range, fresh: true, added: None })
    }

    /// A run that begins in the cache, as its longest one, of `longest` hugepages, and goes on behind it: what was
    /// given back of a run that comes and goes is taken again with the rest of it. None unless the cache has half
    /// of it.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn take_across<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        longest: HugepageCount,
        now_ns: u64,
    ) -> Option<FoundHugepages> {
        if 2 * longest.get() < count.get() {
            return None;
        }
        let cached = self.cache.ranges().find_fit(longest)?.range();
        if self.free_up_to(platform, cached.first, cached.count, count) < count {
            return None;
        }
        let taken = self.take_pieces(platform, cached.first, count, now_ns)?;
        // It is one run now, which needs one node when it comes back.
        for _ in 1..taken.pieces {
            self.nodes.waive();
        }
        self.cache.note_taken_elsewhere(now_ns, count);
        let range = HugeRange { first: cached.first, count, free_since_ns: now_ns, zeroed: false };
        Some(FoundHugepages { range, fresh: false, added: taken.fresh })
    }

    /// What is known of one of the hugepages `got`, of a span of `pages` pages that is not counted yet. `single`: as in
    /// [`HugepageAdvice::is_worth_it`]. `pays`: the kernel may be asked for them.
    pub(crate) fn fresh(
        &self,
        got: &FoundHugepages,
        pages: PageCount<P>,
        single: bool,
        pays: bool,
    ) -> Fresh {
        let in_use = PageCount::<P>::new(self.in_use_pages + pages.get()).bytes();
        let is_asked_for = pays && HugepageAdvice::is_worth_it(in_use, got.range.count, single);
        let by_page = match self.backing {
            Backing::Whole => false,
            Backing::Asked => !is_asked_for,
            Backing::Modest => {
                pays && in_use <= HugepageAdvice::THRESHOLD_BYTES && !self.modest.is_full()
            }
            Backing::ByPage => true,
        };
        Fresh { zeroed: got.range.zeroed, by_page: by_page && got.fresh }
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
        fresh: Fresh,
        now_ns: u64,
    ) {
        let Fresh { zeroed, by_page } = fresh;
        tracker.start(hugepage, Self::PER_HUGEPAGE, zeroed, by_page, now_ns);
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
