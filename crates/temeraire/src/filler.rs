//! Small allocations, packed densely into hugepages.

use crate::{
    demand::{Demand, FillerMoment, History},
    empties::Empties,
    filler_lists::{FillerLists, PageLists, SparseLists},
    filler_totals::FillerTotals,
    handle::Handle,
    time_series::{Sum, TimeSeries},
    tracker::{FillerSet, HugepageTracker, TrackedPages},
};
use core::marker::PhantomData;
use strata_page_heap::{Density, LIFETIME_BUCKETS, SpanRequest, count_lifetime};
use strata_span::{PageCount, PageId, PageSize};

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
/// What each heap uses lies in front, so that a small one has it on few pages; histories, which grow with time, behind.
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
    regular_dense: PageLists,
    regular: SparseLists,
    donated: PageLists,
    partial: SparseLists,
    partial_dense: PageLists,
    released: SparseLists,
    released_dense: PageLists,
    releasing: FillerLists<64, 1>,
    pub(crate) demand: Demand,
    pub(crate) history: History,
    /// Pages that went back out of hugepages in use, by the minute.
    pub(crate) subreleased: TimeSeries<Sum, 60, 60_000_000_000>,
    empties: Empties,
    pages: PhantomData<P>,
}

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
        }
        self.list(tracker);
        self.report(now_ns);
        Some(Self::filled(tracker, taken))
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
        self.change(tracker, |tracker| tracker.deallocate(start, pages.get(), now_ns));
        tracker.refilled.set(false);
        let done = tracker.allocations() == 0 && tracker.set.get() != FillerSet::Releasing;
        if done {
            self.unlist(tracker);
            self.abandoned_pages -= usize::from(tracker.abandoned_pages.get());
        }
        self.report(now_ns);
        done.then_some(tracker)
    }

    /// Keeps a hugepage that has just emptied, for spans to come, if it is worth that: one that is wholly backed, so that
    /// a span which comes and goes alone does not take its hugepage along each time; and some that the kernel
    /// backs page by page, of which nothing is gained as a whole. False if not: it is on no list then.
    pub(crate) fn keep_empty(&mut self, tracker: Handle<HugepageTracker>) -> bool {
        if tracker.is_forbidden() || !self.empties.insert(tracker) {
            return false;
        }
        tracker.abandoned_pages.set(0);
        tracker.donated.set(false);
        self.list(tracker);
        true
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

    /// Trackers of a set that a search for the emptiest looks at. At 4 times as many the lock is
    /// held for microseconds more; at one, a hugepage with a long hole and much else wins over an
    /// emptier one.
    const CANDIDATES: usize = 8;

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
        self.regular
            .first_from(list)
            .or_else(|| self.with_backed_run(run))
            .or_else(|| self.donated.first_from(run))
            .or_else(|| self.partial.first_from(list))
            .or_else(|| self.released.first_from(list))
    }

    /// A hugepage that the kernel backs page by page, and which has a run of backed pages that is long enough, as far as a look at
    /// a few tells: no page of it has to be faulted in.
    fn with_backed_run(&self, run: usize) -> Option<Handle<HugepageTracker>> {
        self.partial
            .forwards(run * Self::CHUNKS)
            .take(Self::CANDIDATES)
            .find(|tracker| tracker.is_by_page() && tracker.has_backed_run(run))
    }

    /// A hugepage for one page of many objects. List 0 holds the full ones.
    fn find_dense(&self) -> Option<Handle<HugepageTracker>> {
        self.regular_dense
            .first_from(1)
            .or_else(|| self.partial_dense.first_from(1))
            .or_else(|| self.released_dense.first_from(1))
    }

    fn filled(tracker: Handle<HugepageTracker>, taken: TrackedPages) -> Filled<P> {
        let first = tracker.hugepage().first_page::<P>() + PageCount::new(taken.start);
        Filled { first, zeroed: taken.zeroed }
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

    /// Puts a tracker, which is on no list, on the list that its counts say.
    fn list(&mut self, tracker: Handle<HugepageTracker>) {
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
    fn change<R>(
        &mut self,
        tracker: Handle<HugepageTracker>,
        change: impl FnOnce(&HugepageTracker) -> R,
    ) -> R {
        let old = tracker.set.get();
        self.totals.subtract(old, &tracker);
        let result = change(&tracker);
        let (set, place) = match old {
            FillerSet::Releasing => (old, 0),
            _ => Self::place_of(&tracker),
        };
        self.totals.add(set, &tracker);
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

    fn list_releasing(&mut self, tracker: Handle<HugepageTracker>) {
        self.totals.add(FillerSet::Releasing, &tracker);
        self.releasing.insert(tracker, FillerSet::Releasing, 0);
    }

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

    /// Takes a tracker off its list.
    fn unlist(&mut self, tracker: Handle<HugepageTracker>) {
        self.totals.subtract(tracker.set.get(), &tracker);
        self.remove(tracker);
    }

    /// Takes in how the filler is: its demand at each step, and all of it now and then and when
    /// hugepages come and go.
    /// Counts a hugepage that was released in part and became full again.
    #[inline]
    fn count_refill(&mut self, tracker: Handle<HugepageTracker>) {
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

/// Many allocations come first: 0 for more than 64, 7 for one.
fn chunk(allocations: usize) -> usize {
    let step = usize::BITS - allocations.saturating_sub(1).leading_zeros();
    7usize.saturating_sub(step as usize)
}

#[cfg(test)]
mod tests;
