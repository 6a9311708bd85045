//! Small allocations, packed densely into hugepages.

mod across;
mod counters;
mod history;
mod listing;
mod release;

use crate::{
    demand::Demand,
    empties::Empties,
    filler_lists::{FillerLists, PageLists, SparseLists},
    filler_totals::FillerTotals,
    handle::Handle,
    time_series::{Sum, TimeSeries},
    tracker::{FillerSet, HugepageTracker, TrackedPages},
};
use core::marker::PhantomData;
pub use counters::FillerCounters;
use history::History;
pub use history::{FillerEpoch, FillerHistory, FillerMoment, SmallMoment};
use strata_page_heap::{Density, SpanRequest};
use strata_span::{Hugepage, PageCount, PageId, PageSize};

/// Packs spans of less than a hugepage into as few hugepages as will do.
///
/// Which hugepage serves a wish is decided in this order: wholly backed ones before donated tails,
/// before partly released ones with backed pages, before released ones; within a set, the smallest
/// sufficient longest run of free pages; among equals, many allocations (in steps of powers of
/// two), for those are least likely to empty. So nearly empty hugepages become empty and nearly
/// full ones full. Spans of many small objects, which live long, have hugepages to themselves.
/// (Hunter et al., "Beyond malloc efficiency to fleet efficiency", OSDI 2021, section 4.4; Zhou et
/// al., "Characterizing a memory allocator at warehouse scale", ASPLOS 2024, section 4.4.)
///
/// Lists begin in front of their room, and histories at the end of theirs: so what a small heap uses of two that
/// follow each other lies on one page. The last history ends where the [`State`](crate::state::State)'s records
/// begin.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Filler<P: PageSize> {
    totals: FillerTotals,
    pub(crate) counters: FillerCounters,
    /// Free pages whose large allocation went while others lived on its tail.
    pub(crate) abandoned_pages: usize,
    /// Pages that went back to the kernel because their hugepage emptied, not yet credited to a
    /// release.
    pub(crate) unaccounted_pages: usize,
    reported_hugepages: usize,
    reports: u32,
    /// The hugepage that came last for spans of either kind, by [`FillerKind`].
    latest: [Option<Hugepage>; FillerKind::ALL.len()],
    regular_dense: PageLists,
    regular: SparseLists,
    donated: PageLists,
    partial: SparseLists,
    partial_dense: PageLists,
    released: SparseLists,
    pub(crate) demand: Demand,
    empties: Empties,
    released_dense: PageLists,
    releasing: FillerLists<64, 1>,
    /// Pages that went back out of hugepages in use, by the minute.
    pub(crate) subreleased: TimeSeries<Sum, 60, 60_000_000_000>,
    pub(crate) history: History,
    pages: PhantomData<P>,
}

/// Spans that share hugepages with their like alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FillerKind {
    /// Few objects, or one.
    Sparse,
    /// One page of many objects.
    Dense,
}

impl FillerKind {
    pub(crate) const ALL: [Self; 2] = [Self::Sparse, Self::Dense];

    /// The kind of a wish for `pages` pages.
    pub(crate) fn of<P: PageSize>(request: &SpanRequest<P>) -> Self {
        match request.density {
            Density::Dense if request.pages == PageCount::ONE => Self::Dense,
            Density::Dense | Density::Sparse => Self::Sparse,
        }
    }
}

/// Pages that the filler gave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled<P: PageSize> {
    pub(crate) first: PageId<P>,
    /// Whether all of them read as zero.
    pub(crate) zeroed: bool,
    /// How many of them the kernel backs only when they are touched.
    pub(crate) unbacked: PageCount<P>,
}

/// What becomes of a hugepage of which a span went.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Afterwards {
    /// Others have pages there, or pages of it are on their way to the kernel.
    InUse,
    /// It is empty and stays for spans to come.
    Kept,
    /// It is empty, and on no list.
    Emptied(Handle<HugepageTracker>),
}

impl<P: PageSize> Filler<P> {
    pub(crate) const EMPTY: Self = Self {
        regular: SparseLists::EMPTY,
        regular_dense: PageLists::EMPTY,
        donated: PageLists::EMPTY,
        partial: SparseLists::EMPTY,
        partial_dense: PageLists::EMPTY,
        released: SparseLists::EMPTY,
        released_dense: PageLists::EMPTY,
        releasing: FillerLists::EMPTY,
        totals: FillerTotals::EMPTY,
        demand: Demand::EMPTY,
        history: History::EMPTY,
        abandoned_pages: 0,
        unaccounted_pages: 0,
        counters: FillerCounters::NONE,
        subreleased: TimeSeries::EMPTY,
        empties: Empties::NONE,
        reports: 0,
        latest: [None; FillerKind::ALL.len()],
        reported_hugepages: 0,
        pages: PhantomData,
    };

    /// Steps after which the whole state enters the history.
    const REPORTS_BY_MOMENT: u32 = 8;

    /// Steps of "many allocations".
    const CHUNKS: usize = 8;

    /// Pages at a multiple of `align`, from a hugepage that is here already; less than a hugepage.
    #[inline]
    pub(crate) fn allocate(
        &mut self,
        pages: PageCount<P>,
        align: PageCount<P>,
        kind: FillerKind,
        now_ns: u64,
    ) -> Option<Filled<P>> {
        // A run with `align - 1` pages more has room at any multiple.
        let run = pages.get() + align.get() - 1;
        let tracker = match kind {
            FillerKind::Sparse => self.find_sparse(run),
            FillerKind::Dense => self.find_dense(),
        }?;
        self.counters.reused_tails += u64::from(tracker.donated.get());
        let is_partial = tracker.was_released.get() && tracker.released_pages() > 0;
        self.counters.reused_partial += u64::from(is_partial);
        if tracker.allocations() == 0 {
            self.empties.remove(tracker);
        }
        let taken = self.change(tracker, |tracker| {
            tracker.donated.set(false);
            tracker.allocate(pages.get(), align.get())
        })?;
        tracker.note_allocation(now_ns);
        self.count_refill(tracker);
        self.report(now_ns);
        Some(Self::filled(tracker, taken))
    }

    /// Takes in a fresh hugepage with its first allocation, of `pages` pages from its start.
    /// `donated`: it is the tail of a large allocation, whose pages it begins with.
    pub(crate) fn contribute(
        &mut self,
        tracker: Handle<HugepageTracker>,
        pages: PageCount<P>,
        kind: FillerKind,
        donated: bool,
        now_ns: u64,
    ) -> Option<Filled<P>> {
        tracker.dense.set(kind == FillerKind::Dense);
        tracker.donated.set(donated);
        let taken = tracker.allocate(pages.get(), 1)?;
        tracker.note_allocation(now_ns);
        if donated {
            self.counters.donations += 1;
        } else {
            self.note_latest(tracker);
        }
        self.list(tracker);
        self.report(now_ns);
        Some(Self::filled(tracker, taken))
    }

    /// Notes the hugepage that the next spans are likely to fill.
    fn note_latest(&mut self, tracker: Handle<HugepageTracker>) {
        if let Some(latest) = self.latest.get_mut(usize::from(tracker.dense.get())) {
            *latest = Some(tracker.hugepage());
        }
    }

    /// The hugepages that came last, of which most is free as long as they are being filled.
    pub(crate) const fn latest(&self) -> [Option<Hugepage>; FillerKind::ALL.len()] {
        self.latest
    }

    /// Takes `pages` pages from the page with index `start` of a hugepage back. The tracker comes
    /// back, on no list, if it is empty then and not on its way to the kernel.
    #[inline]
    pub(crate) fn deallocate(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Option<Handle<HugepageTracker>> {
        let emptied = self.take_back(tracker, start, pages, now_ns);
        if emptied {
            self.unlist(tracker);
            self.abandoned_pages -= usize::from(tracker.abandoned_pages.get());
        }
        self.report(now_ns);
        emptied.then_some(tracker)
    }

    /// The same, but a hugepage that empties stays for spans to come if it is worth that (see [`Empties::insert`]):
    /// one that is wholly backed, so that a span which comes and goes alone does not take its hugepage along each time;
    /// and some that the kernel backs page by page, of which nothing is gained as a whole. It stays on its list.
    #[inline]
    pub(crate) fn deallocate_or_keep(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Afterwards {
        let mut afterwards = Afterwards::InUse;
        if self.take_back(tracker, start, pages, now_ns) {
            self.abandoned_pages -= usize::from(tracker.abandoned_pages.get());
            if !tracker.is_forbidden() && self.empties.insert(tracker) {
                tracker.abandoned_pages.set(0);
                if tracker.donated.get() {
                    self.change(tracker, |tracker| tracker.donated.set(false));
                }
                afterwards = Afterwards::Kept;
            } else {
                self.unlist(tracker);
                afterwards = Afterwards::Emptied(tracker);
            }
        }
        self.report(now_ns);
        afterwards
    }

    /// Whether the hugepage is empty then and not on its way to the kernel.
    #[inline]
    fn take_back(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> bool {
        self.change(tracker, |tracker| tracker.deallocate(start, pages.get(), now_ns));
        tracker.refilled.set(false);
        tracker.allocations() == 0 && tracker.set.get() != FillerSet::Releasing
    }

    /// Makes a hugepage that is kept although it is empty one for spans of another kind. False if none is.
    #[cold]
    pub(crate) fn adopt_empty(&mut self, kind: FillerKind) -> bool {
        let Some(tracker) = self.empties.any() else { return false };
        self.unlist(tracker);
        tracker.dense.set(kind == FillerKind::Dense);
        self.list(tracker);
        true
    }

    /// Takes the wholly backed hugepage that is kept although it is empty off the lists, if there is one.
    pub(crate) fn take_spare(&mut self) -> Option<Handle<HugepageTracker>> {
        let spare = self.empties.spare()?;
        self.empties.remove(spare);
        self.unlist(spare);
        Some(spare)
    }

    /// Takes one that is kept although it is empty off the lists, whichever it is.
    pub(crate) fn take_empty(&mut self) -> Option<Handle<HugepageTracker>> {
        let empty = self.empties.any()?;
        self.empties.remove(empty);
        self.unlist(empty);
        Some(empty)
    }

    /// Pages of hugepages that are kept although they are empty, as far as they are backed.
    pub(crate) fn empty_pages(&self) -> usize {
        self.empties.iter().map(|tracker| tracker.free_pages()).sum()
    }

    /// Counts a hugepage as wholly backed from now on.
    pub(crate) fn become_whole(&mut self, tracker: Handle<HugepageTracker>) {
        self.change(tracker, HugepageTracker::become_whole);
    }

    /// Begins to have free pages of a hugepage faulted in: up to `most` from the page with index `start` on, of those that
    /// the kernel backs page by page and has not backed yet. Says how many there are in a row; none: nothing began.
    ///
    /// They can be allocated meanwhile, and count as backed only when that has ended. Until then no page of the hugepage
    /// goes to the kernel, which would not know what comes first.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn begin_populating(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        most: PageCount<P>,
    ) -> PageCount<P> {
        if !tracker.is_by_page() || tracker.set.get() == FillerSet::Releasing {
            return PageCount::ZERO;
        }
        let count = tracker.unbacked_run(start, most.get());
        if count == 0 || !tracker.begin_populating() {
            return PageCount::ZERO;
        }
        PageCount::new(count)
    }

    /// Ends that: the kernel did it for so many `pages`. What is still free and not backed of them counts as backed then.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn end_populating(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        pages: PageCount<P>,
    ) {
        tracker.end_populating();
        if pages > PageCount::ZERO {
            self.change(tracker, |tracker| tracker.back(start, pages.get()));
        }
    }

    /// Makes an allocation of `from` pages from the page with index `start` longer; false if the
    /// pages behind it are not free, or just on their way to the kernel.
    pub(crate) fn extend(
        &mut self,
        tracker: Handle<HugepageTracker>,
        start: usize,
        from: usize,
        to: usize,
        now_ns: u64,
    ) -> bool {
        if tracker.set.get() == FillerSet::Releasing {
            return false;
        }
        let extended = self.change(tracker, |tracker| tracker.extend(start, from, to));
        if extended {
            self.count_refill(tracker);
            self.report(now_ns);
        }
        extended
    }

    /// Lets a hugepage go that becomes part of a large span with its only allocation. The tracker
    /// is on no list then; [`Self::contribute`] or [`Self::report`] is what follows.
    pub(crate) fn withdraw(&mut self, tracker: Handle<HugepageTracker>) {
        debug_assert_eq!(tracker.allocations(), 1, "others have pages there");
        self.unlist(tracker);
        self.counters.refilled_hugepages += u64::from(tracker.was_released.get());
        self.abandoned_pages -= usize::from(tracker.abandoned_pages.get());
    }

    /// Notes that the large allocation that ended in this hugepage went and left its pages behind.
    pub(crate) fn abandon(&mut self, tracker: Handle<HugepageTracker>, pages: PageCount<P>) {
        let abandoned = usize::from(tracker.abandoned_pages.get()) + pages.get();
        tracker.abandoned_pages.set((abandoned & 0xffff) as u16);
        self.abandoned_pages += pages.get();
        self.counters.abandonments += 1;
    }

    /// What the hugepages add up to.
    pub(crate) const fn totals(&self) -> &FillerTotals {
        &self.totals
    }

    /// Calls `visit` for each tracker that is on a list.
    #[cfg(test)]
    pub(crate) fn for_each_tracker(&self, mut visit: impl FnMut(&HugepageTracker)) {
        self.regular.backwards().for_each(|tracker| visit(&tracker));
        self.regular_dense.backwards().for_each(|tracker| visit(&tracker));
        self.donated.backwards().for_each(|tracker| visit(&tracker));
        self.partial.backwards().for_each(|tracker| visit(&tracker));
        self.partial_dense.backwards().for_each(|tracker| visit(&tracker));
        self.released.backwards().for_each(|tracker| visit(&tracker));
        self.released_dense.backwards().for_each(|tracker| visit(&tracker));
        self.releasing.backwards().for_each(|tracker| visit(&tracker));
    }

    fn find_sparse(&self, run: usize) -> Option<Handle<HugepageTracker>> {
        let list = run * Self::CHUNKS;
        self.first_of(FillerSet::Regular, || self.regular.first_from(list))
            .or_else(|| self.first_of(FillerSet::Partial, || self.with_backed_run(run)))
            .or_else(|| self.first_of(FillerSet::Donated, || self.donated.first_from(run)))
            .or_else(|| self.first_of(FillerSet::Partial, || self.partial.first_from(list)))
            .or_else(|| self.first_of(FillerSet::Released, || self.released.first_from(list)))
    }

    /// What is found in the lists of a set. Those of a set without hugepages, as most are in a small heap, stay
    /// untouched: each is a page fault, the first time.
    #[inline]
    fn first_of(
        &self,
        set: FillerSet,
        find: impl FnOnce() -> Option<Handle<HugepageTracker>>,
    ) -> Option<Handle<HugepageTracker>> {
        if self.totals.has(set) { find() } else { None }
    }

    /// A hugepage that the kernel backs page by page, and which has a run of backed pages that is long enough, as
    /// far as a look at a few tells: no page of it has to be faulted in.
    fn with_backed_run(&self, run: usize) -> Option<Handle<HugepageTracker>> {
        self.partial
            .forwards(run * Self::CHUNKS)
            .take(Self::CANDIDATES)
            .find(|tracker| tracker.is_by_page() && tracker.has_backed_run(run))
    }

    /// A hugepage for one page of many objects. List 0 holds the full ones.
    fn find_dense(&self) -> Option<Handle<HugepageTracker>> {
        self.first_of(FillerSet::RegularDense, || self.regular_dense.first_from(1))
            .or_else(|| self.first_of(FillerSet::PartialDense, || self.partial_dense.first_from(1)))
            .or_else(|| {
                self.first_of(FillerSet::ReleasedDense, || self.released_dense.first_from(1))
            })
    }

    fn filled(tracker: Handle<HugepageTracker>, taken: TrackedPages) -> Filled<P> {
        let first = tracker.hugepage().first_page::<P>() + PageCount::new(taken.start);
        Filled { first, zeroed: taken.zeroed, unbacked: PageCount::new(taken.released) }
    }

    /// Puts a tracker on its list, or hands it back if it is empty.
    fn list_or_retire(
        &mut self,
        tracker: Handle<HugepageTracker>,
    ) -> Option<Handle<HugepageTracker>> {
        if tracker.allocations() > 0 {
            self.list(tracker);
            return None;
        }
        self.abandoned_pages -= usize::from(tracker.abandoned_pages.get());
        Some(tracker)
    }
}

#[cfg(test)]
mod tests;
