//! The parts of a hugepage-aware heap, composed.

use crate::{
    advice::{Backing, HugepageAdvice},
    demand::SkipIntervals,
    departures::{Cause, Departure, Departures},
    filler::{Filler, FillerKind},
    handle::Handle,
    huge_address_map::HugeRange,
    huge_allocator::HugeAllocator,
    huge_cache::HugeCache,
    modest_runs::ModestRuns,
    node_store::NodeStore,
    region::Region,
    region_set::RegionSet,
    supply::{FoundHugepages, KeeperHandle},
    tracker::HugepageTracker,
    treatment::Treatment,
};
use strata_os::Clock;
use strata_page_heap::{
    AllocationRecords, LimitFigures, Refusals, ReleasedBytes, SpanRequest, Temperature,
};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform, Pool};

/// All that the heap's lock guards.
///
/// What each heap uses lies in front, so that a small one has it on few pages: of the cache its history is the last part, of the filler
/// histories and lists.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct State<P: PageSize> {
    pub(crate) in_use_pages: usize,
    /// The most pages that were in use or free and backed at a time.
    pub(crate) peak_backed_pages: usize,
    pub(crate) spans_in_use: u64,
    /// What the clock said at the last look, and how many small spans came or went since.
    looked_ns: u64,
    spans_since_look: u32,
    /// How the kernel backs fresh memory, as of the allocation at hand.
    pub(crate) backing: Backing,
    /// When the heap was first used.
    pub(crate) first_used_ns: Option<u64>,
    pub(crate) leaving: Leaving,
    pub(crate) released: ReleasedBytes,
    pub(crate) release_failures: u64,
    /// Releases that the kernel refused of late.
    pub(crate) refusals: Refusals,
    pub(crate) limits: LimitFigures,
    /// Hugepages that the kernel was told not to back as such.
    pub(crate) forbidden_hugepages: usize,
    /// None: the standard ones.
    pub(crate) skip_intervals: Option<SkipIntervals>,
    /// Hugepages that regions gave back to the kernel since the start.
    pub(crate) regions_given_back: u64,
    /// Hugepages of the filler that had been given back in part and emptied.
    pub(crate) emptied_broken: u64,
    pub(crate) treatment: Treatment,
    pub(crate) trackers: Pool<HugepageTracker>,
    region_pool: Pool<Region>,
    pub(crate) nodes: NodeStore,
    pub(crate) allocator: HugeAllocator,
    pub(crate) modest: ModestRuns,
    pub(crate) regions: RegionSet,
    pub(crate) cache: HugeCache,
    pub(crate) filler: Filler<P>,
    pub(crate) records: AllocationRecords<P>,
}

// SAFETY: the handles inside point into the metadata arena, which belongs to no thread, and are
// reached by who owns or has locked the state alone.
unsafe impl<P: PageSize> Send for State<P> {}

/// Pages of whole hugepages on their way to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leaving {
    pub(crate) backed_pages: usize,
    pub(crate) unbacked_pages: usize,
}

/// Pages that were found for a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<P: PageSize> {
    pub(crate) first: PageId<P>,
    /// Whether all of them read as zero.
    pub(crate) zeroed: bool,
    /// Whether the last hugepage was donated to the filler.
    pub(crate) donated_tail: bool,
    /// Hugepages that came from the system for it and should be advised.
    pub(crate) advise: Option<(Hugepage, HugepageCount)>,
    /// Hugepages that came from the system beside others that did not, which are advised as those are of a span that grows.
    pub(crate) added: Option<(Hugepage, HugepageCount)>,
    /// The same, of a heap that is too small for that.
    pub(crate) modest: Option<(Hugepage, HugepageCount)>,
}

impl<P: PageSize> State<P> {
    strata_sync::const_fn! {
        /// Nothing yet.
        pub(crate) const fn new() -> Self {
            Self {
                filler: Filler::EMPTY,
                regions: RegionSet::EMPTY,
                cache: HugeCache::EMPTY,
                allocator: HugeAllocator::new(),
                nodes: NodeStore::new(),
                records: AllocationRecords::new(),
                leaving: Leaving { backed_pages: 0, unbacked_pages: 0 },
                released: ReleasedBytes::NONE,
                release_failures: 0,
                refusals: Refusals::new(),
                limits: LimitFigures::NONE,
                in_use_pages: 0,
                peak_backed_pages: 0,
                spans_in_use: 0,
                forbidden_hugepages: 0,
                skip_intervals: None,
                regions_given_back: 0,
                emptied_broken: 0,
                treatment: Treatment::NONE,
                modest: ModestRuns::NONE,
                backing: Backing::Whole,
                first_used_ns: None,
                looked_ns: 0,
                spans_since_look: 0,
                trackers: Pool::new(),
                region_pool: Pool::new(),
            }
        }
    }

    pub(crate) const PER_HUGEPAGE: usize = PageCount::<P>::PER_HUGEPAGE.get();
    /// Pages of the longest span that the filler makes room for with a fresh hugepage.
    const MOST_FILLED: usize = Self::PER_HUGEPAGE / 2;
    /// Bytes of slack and abandoned pages from which on regions are worth it. At half, programs
    /// with a few large blocks get a gibibyte of address space, and free pages that stay backed even at a limit; at twice,
    /// 64 MiB more stay unused.
    const REGION_SLACK_BYTES: u64 = 64 << 20;
    /// Small spans that come and go by one look at the clock. A look takes a quarter of the time
    /// that such a span takes; at 8 times as many, spans of many seconds ago count as of now.
    const SPANS_BY_LOOK: u32 = 8;

    /// Whether a hugepage that is taken for a span of `pages` pages is about to be filled: by others like it, or by the span.
    const fn fills_a_hugepage(pages: PageCount<P>) -> bool {
        pages.get() <= Self::MOST_FILLED || pages.get() >= Self::PER_HUGEPAGE
    }

    /// Whether the heap is too small for hugepages.
    pub(crate) fn is_small(&self) -> bool {
        PageCount::<P>::new(self.in_use_pages).bytes() < HugepageAdvice::THRESHOLD_BYTES
    }

    /// The time.
    pub(crate) fn time<E: Platform>(&mut self, platform: &E) -> u64 {
        self.looked_ns = platform.clock().now_ns();
        self.spans_since_look = 0;
        self.first_used_ns.get_or_insert(self.looked_ns);
        self.looked_ns
    }

    /// The time at one of the last few looks at the clock.
    #[inline]
    fn recent_time<E: Platform>(&mut self, platform: &E) -> u64 {
        self.spans_since_look += 1;
        if self.spans_since_look >= Self::SPANS_BY_LOOK || self.first_used_ns.is_none() {
            return self.time(platform);
        }
        self.looked_ns
    }

    /// The time, for a span of `pages` pages that comes or goes.
    #[inline]
    fn time_for<E: Platform>(&mut self, platform: &E, pages: PageCount<P>) -> u64 {
        if pages.get() <= Self::MOST_FILLED {
            self.recent_time(platform)
        } else {
            self.time(platform)
        }
    }

    /// Pages for a span.
    pub(crate) fn allocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<Found<P>> {
        let now_ns = self.time_for(platform, request.pages);
        let found = self.route(platform, request, now_ns)?;
        self.in_use_pages += request.pages.get();
        self.note_peak();
        self.spans_in_use += 1;
        self.records.record_allocation(request.pages);
        let in_use = PageCount::<P>::new(self.in_use_pages).bytes();
        let single = Self::fills_a_hugepage(request.pages);
        let worth_it = |run: &(_, _)| HugepageAdvice::is_worth_it(in_use, run.1, single);
        let modest = found.advise.filter(|_| in_use <= HugepageAdvice::THRESHOLD_BYTES);
        let added = found.added.filter(worth_it);
        Some(Found { advise: found.advise.filter(worth_it), added, modest, ..found })
    }

    /// Takes the pages of a span back. What has to go to the kernel at once is added to
    /// `departures`.
    pub(crate) fn deallocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        donated_tail: bool,
        departures: &mut Departures,
    ) {
        let now_ns = self.time_for(platform, pages);
        self.in_use_pages -= pages.get();
        self.spans_in_use -= 1;
        self.records.record_deallocation(pages);
        match self.keeper_of(platform, first.hugepage()) {
            Some(KeeperHandle::Tracker(tracker)) => {
                let start = first.index_in_hugepage();
                match self.filler.deallocate(tracker, start, pages, now_ns) {
                    Some(emptied) if self.filler.keep_empty(emptied) => {}
                    Some(emptied) => {
                        self.retire(platform, emptied, Cause::Emptied, now_ns, departures);
                    }
                    None if donated_tail => self.filler.abandon(tracker, pages),
                    None => {}
                }
            }
            Some(KeeperHandle::Region(region)) => {
                self.regions.deallocate(region, first, pages, now_ns);
            }
            None => self.deallocate_large(platform, first, pages, donated_tail, now_ns, departures),
        }
        self.trim_cache(platform, now_ns, departures);
    }

    /// Moves a hugepage that the filler is done with to where it belongs.
    pub(crate) fn retire<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        tracker: Handle<HugepageTracker>,
        cause: Cause,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let range = HugeRange {
            first: tracker.hugepage(),
            count: HugepageCount::ONE,
            free_since_ns: tracker.free_since_ns(),
            zeroed: false,
        };
        self.filler.count_completed(&tracker, now_ns);
        let backed_pages = tracker.free_pages();
        let (forbidden, was_released) = (tracker.is_forbidden(), tracker.was_released.get());
        // Of what the kernel backs page by page, what was never touched counts as backed in the cache. At less than half, the
        // books would say too much.
        let mostly_backed = cause == Cause::Emptied
            && tracker.is_by_page()
            && !was_released
            && 2 * backed_pages >= Self::PER_HUGEPAGE;
        self.dismiss(platform, tracker);
        let whole = (backed_pages == Self::PER_HUGEPAGE || mostly_backed) && !forbidden;
        // What the kernel would not take counts as backed in the cache, too: see `settle`.
        if whole || !forbidden && self.refusals.holds_back(now_ns) {
            self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
            self.note_peak();
            return;
        }
        self.emptied_broken += u64::from(was_released || forbidden);
        self.cache.note_returned_elsewhere(now_ns, range.count);
        self.depart(Departure { range, backed_pages, cause, forbidden }, departures);
    }

    /// Gives the wholly backed hugepage that the filler keeps although it is empty to the cache, if there is one.
    pub(crate) fn give_up_spare<E: Platform<Pages = P>>(&mut self, platform: &E, now_ns: u64) {
        if let Some(spare) = self.filler.take_spare() {
            self.give_up(platform, spare, now_ns);
        }
    }

    /// Gives a hugepage that the filler kept although it was empty to the cache. What of it is not backed counts as such
    /// there.
    pub(crate) fn give_up<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        empty: Handle<HugepageTracker>,
        now_ns: u64,
    ) {
        let range = HugeRange {
            first: empty.hugepage(),
            count: HugepageCount::ONE,
            free_since_ns: empty.free_since_ns(),
            zeroed: false,
        };
        self.filler.count_completed(&empty, now_ns);
        self.dismiss(platform, empty);
        self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
        self.note_peak();
    }

    /// Takes from the cache what it has too much.
    pub(crate) fn trim_cache<E: Platform>(
        &mut self,
        platform: &E,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let keep = self.cache.limit();
        if self.cache.size() > keep && self.refusals.holds_back(now_ns) {
            return;
        }
        while self.has_room(departures)
            && let Some(range) = self.cache.take_excess(platform, keep, &mut self.nodes, now_ns)
        {
            self.depart_backed(range, Cause::Overflow, departures);
        }
    }

    /// Whether one more may depart with `departures`: one at a time where the kernel refused so often that it is only tried.
    pub(crate) fn has_room(&self, departures: &Departures) -> bool {
        !departures.is_full() && (departures.is_empty() || !self.refusals.are_many())
    }

    /// Starts the departure of a backed run.
    pub(crate) fn depart_backed(
        &mut self,
        range: HugeRange,
        cause: Cause,
        departures: &mut Departures,
    ) {
        let backed_pages = range.count.pages::<P>().get();
        self.depart(Departure { range, backed_pages, cause, forbidden: false }, departures);
    }

    /// Ends a departure; `taken`: the kernel took the memory. Says how many pages it took.
    pub(crate) fn settle<E: Platform>(
        &mut self,
        platform: &E,
        departure: &Departure,
        taken: bool,
    ) -> PageCount<P> {
        let now_ns = self.time(platform);
        let range = departure.range;
        let backed = departure.backed_pages;
        self.leaving.backed_pages -= backed;
        self.leaving.unbacked_pages -= range.count.pages::<P>().get() - backed;
        if departure.forbidden {
            self.forbidden_hugepages -= 1;
        }
        if !taken {
            // What part of it is backed is not known any more: all of it counts as such.
            self.cache.put(platform, range, &mut self.nodes, now_ns);
            self.note_peak();
            return PageCount::ZERO;
        }
        let free = HugeRange { free_since_ns: now_ns, zeroed: true, ..range };
        self.allocator.deallocate(platform, free, &mut self.nodes);
        match departure.cause {
            Cause::Overflow => self.cache.note_fast_unbacked(range.count),
            Cause::Periodic => self.cache.note_periodic_unbacked(range.count),
            Cause::Emptied => self.filler.unaccounted_pages += backed,
            Cause::EmptiedInRelease => {}
        }
        PageCount::new(backed)
    }

    fn depart(&mut self, departure: Departure, departures: &mut Departures) {
        let pages = departure.range.count.pages::<P>().get();
        self.leaving.backed_pages += departure.backed_pages;
        self.leaving.unbacked_pages += pages - departure.backed_pages;
        departures.push(departure);
    }

    /// Decides where a span comes from.
    fn route<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        request: &SpanRequest<P>,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let (pages, align) = (request.pages, request.align);
        let kind = FillerKind::of(request);
        // What is touched rarely or here and there does not pay for a hugepage.
        let pays = request.temperature == Temperature::Normal;
        if pages.get() <= Self::MOST_FILLED && align <= PageCount::PER_HUGEPAGE {
            return self.allocate_small(platform, pages, align, kind, pays, now_ns);
        }
        let awkward = pages.get() % Self::PER_HUGEPAGE != 0 && pages.get() <= Region::pages::<P>();
        if align == PageCount::ONE && awkward {
            if pages < PageCount::PER_HUGEPAGE {
                let mut filled = self.filler.allocate(pages, align, kind, now_ns);
                if filled.is_none() && self.filler.adopt_empty(kind) {
                    filled = self.filler.allocate(pages, align, kind, now_ns);
                }
                if let Some(filled) = filled {
                    return Some(Found::of(filled.first, filled.zeroed));
                }
            }
            if let Some(found) = self.allocate_in_region(platform, pages, now_ns) {
                return Some(Found { advise: found.advise.filter(|_| pays), ..found });
            }
        }
        self.allocate_large(platform, pages, align, pays, now_ns)
    }

    /// Pages from the filler, from a fresh hugepage if need be.
    #[inline]
    fn allocate_small<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        align: PageCount<P>,
        kind: FillerKind,
        pays: bool,
        now_ns: u64,
    ) -> Option<Found<P>> {
        if let Some(filled) = self.filler.allocate(pages, align, kind, now_ns) {
            return Some(Found::of(filled.first, filled.zeroed));
        }
        if self.filler.adopt_empty(kind)
            && let Some(filled) = self.filler.allocate(pages, align, kind, now_ns)
        {
            return Some(Found::of(filled.first, filled.zeroed));
        }
        let Some(tracker) = self.hire(platform) else {
            return self.allocate_among_others(pages, align, kind, now_ns);
        };
        let Some(got) = self.take_hugepages(platform, HugepageCount::ONE, 1, now_ns) else {
            self.dismiss_unused(tracker);
            return self.allocate_among_others(pages, align, kind, now_ns);
        };
        let hugepage = got.range.first;
        let fresh = self.fresh(&got, pages, true, pays);
        self.assign(platform, tracker, hugepage, fresh, now_ns);
        let filled = self.filler.contribute(tracker, pages, kind, false, now_ns)?;
        let advise = (got.fresh && pays).then_some((hugepage, HugepageCount::ONE));
        Some(Found { advise, ..Found::of(filled.first, filled.zeroed) })
    }

    /// Where there is no fresh hugepage, a page of the hugepages that are kept for spans of other kinds: better than none.
    /// Those for dense spans count on it that each has one page.
    #[cold]
    fn allocate_among_others(
        &mut self,
        pages: PageCount<P>,
        align: PageCount<P>,
        kind: FillerKind,
        now_ns: u64,
    ) -> Option<Found<P>> {
        if pages != PageCount::ONE || align != PageCount::ONE {
            return None;
        }
        let others = FillerKind::ALL.into_iter().filter(|other| *other != kind);
        let filled = others
            .map(|other| self.filler.allocate(pages, align, other, now_ns))
            .find_map(|it| it)?;
        Some(Found::of(filled.first, filled.zeroed))
    }

    /// Pages from a region, from a new one if that is worth it.
    fn allocate_in_region<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let found = match self.regions.allocate(pages, now_ns) {
            Some(found) => found,
            None => {
                let wasted = self.records.slack_pages() + self.filler.abandoned_pages as u64;
                if wasted << P::SHIFT < Self::REGION_SLACK_BYTES {
                    return None;
                }
                self.add_region(platform, now_ns)?;
                self.regions.allocate(pages, now_ns)?
            }
        };
        let (first, last) =
            (found.first.hugepage(), (found.first + pages - PageCount::ONE).hugepage());
        let advise = found.fresh.then(|| (first, last - first + HugepageCount::ONE));
        Some(Found { advise, ..Found::of(found.first, found.zeroed) })
    }

    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn add_region<E: Platform<Pages = P>>(&mut self, platform: &E, now_ns: u64) -> Option<()> {
        let place = self.region_pool.allocate(platform.arena(), platform.metadata())?;
        let count = HugepageCount::new(Region::HUGEPAGES);
        let Some(range) = self.allocator.allocate(platform, count, 1, &mut self.nodes, now_ns)
        else {
            // SAFETY: it was had a moment ago, and nothing refers to it.
            unsafe { self.region_pool.deallocate(place) };
            return None;
        };
        // SAFETY: regions are never given back to the pool once they are in use; the lock is held.
        let region = unsafe { Handle::new(place) };
        region.start::<P>(range.first, range.zeroed, now_ns);
        for index in 0..Region::HUGEPAGES {
            let hugepage = range.first + HugepageCount::new(index);
            platform.map().set_tracker(hugepage, Some(place.cast()));
        }
        self.regions.insert(region);
        Some(())
    }

    /// Whole hugepages, of which the last, if it is used in part, is donated to the filler.
    fn allocate_large<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        align: PageCount<P>,
        pays: bool,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let count = pages.hugepages_up();
        let align = align.hugepages_up().get();
        let slack = count.pages::<P>() - pages;
        if slack == PageCount::ZERO {
            let got = self.take_hugepages(platform, count, align, now_ns)?;
            return Some(Found::of_hugepages(&got, false, pays));
        }
        let tracker = self.hire(platform)?;
        // The tail becomes a range of its own, unless it is all.
        let split = count > HugepageCount::ONE;
        if split && !self.nodes.promise(platform) {
            self.dismiss_unused(tracker);
            return None;
        }
        let Some(got) = self.take_hugepages(platform, count, align, now_ns) else {
            if split {
                self.nodes.waive();
            }
            self.dismiss_unused(tracker);
            return None;
        };
        let tail = got.range.end() - HugepageCount::ONE;
        let fresh = self.fresh(&got, pages, Self::fills_a_hugepage(pages), pays);
        self.assign(platform, tracker, tail, fresh, now_ns);
        let head = PageCount::PER_HUGEPAGE - slack;
        self.filler.contribute(tracker, head, FillerKind::Sparse, true, now_ns)?;
        Some(Found::of_hugepages(&got, true, pays))
    }

    /// Takes whole hugepages back, with their donated tail if there was one.
    fn deallocate_large<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        donated_tail: bool,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let count = pages.hugepages_up();
        let mut range =
            HugeRange { first: first.hugepage(), count, free_since_ns: now_ns, zeroed: false };
        if donated_tail {
            range.count = count.saturating_sub(HugepageCount::ONE);
            let head = pages.saturating_sub(range.count.pages());
            if let Some(KeeperHandle::Tracker(tail)) = self.keeper_of(platform, range.end()) {
                match self.filler.deallocate(tail, 0, head, now_ns) {
                    None => self.filler.abandon(tail, head),
                    Some(emptied)
                        if !emptied.is_forbidden()
                            && (emptied.free_pages() == Self::PER_HUGEPAGE
                                || emptied.is_by_page() && !emptied.was_released.get()) =>
                    {
                        // It is as it was: the range comes back whole. (What of it was never touched counts as backed then.)
                        self.filler.count_completed(&emptied, now_ns);
                        self.dismiss(platform, emptied);
                        self.nodes.waive();
                        range.count = count;
                    }
                    Some(emptied) => {
                        self.retire(platform, emptied, Cause::Emptied, now_ns, departures);
                    }
                }
            }
        }
        self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
        self.note_peak();
    }
}

impl<P: PageSize> Found<P> {
    const fn of(first: PageId<P>, zeroed: bool) -> Self {
        Self { first, zeroed, donated_tail: false, advise: None, added: None, modest: None }
    }

    fn of_hugepages(got: &FoundHugepages, donated_tail: bool, pays: bool) -> Self {
        let advise = (got.fresh && pays).then_some((got.range.first, got.range.count));
        let added = got.added.filter(|_| pays);
        Self {
            donated_tail,
            advise,
            added,
            ..Self::of(got.range.first.first_page(), got.range.zeroed)
        }
    }
}
