//! The parts of a hugepage-aware heap, composed.

use crate::{
    advice::{Backing, HugepageAdvice},
    ahead::Ahead,
    demand::SkipIntervals,
    departures::{Cause, Departures},
    filler::{Afterwards, Filler, FillerKind},
    huge_allocator::HugeAllocator,
    huge_cache::HugeCache,
    modest_runs::ModestRuns,
    node_store::NodeStore,
    region::Region,
    region_set::RegionSet,
    routes::Found,
    supply::KeeperHandle,
    tracker::HugepageTracker,
    treatment::Treatment,
};
use strata_os::Clock;
use strata_page_heap::{AllocationRecords, LimitFigures, Refusals, ReleasedBytes, SpanRequest};
use strata_span::{PageCount, PageId, PageSize, Platform, Pool};

/// All that the heap's lock guards.
///
/// What each heap uses lies in front, so that a small one has it on few pages: of the cache its history is the last
/// part, of the filler histories and lists. Behind all else stands what no small heap needs.
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
    pub(crate) ahead: Ahead,
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
    pub(crate) trackers: Pool<HugepageTracker>,
    pub(crate) nodes: NodeStore,
    pub(crate) allocator: HugeAllocator,
    pub(crate) modest: ModestRuns,
    pub(crate) regions: RegionSet,
    pub(crate) cache: HugeCache,
    pub(crate) filler: Filler<P>,
    pub(crate) records: AllocationRecords<P>,
    pub(crate) treatment: Treatment,
    pub(crate) region_pool: Pool<Region>,
    /// Hugepages that regions gave back to the kernel since the start.
    pub(crate) regions_given_back: u64,
    /// Hugepages of the filler that had been given back in part and emptied.
    pub(crate) emptied_broken: u64,
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

/// Where the pages of a span are that went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stays {
    /// With the hugepage of the filler that had them, which is where it was: nothing else changed.
    InFiller,
    /// Somewhere.
    Elsewhere,
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
                ahead: Ahead::NONE,
                trackers: Pool::new(),
                region_pool: Pool::new(),
            }
        }
    }

    pub(crate) const PER_HUGEPAGE: usize = PageCount::<P>::PER_HUGEPAGE.get();
    /// Pages of the longest span that the filler makes room for with a fresh hugepage.
    pub(crate) const MOST_FILLED: usize = Self::PER_HUGEPAGE / 2;
    /// Bytes of slack and abandoned pages from which on regions are worth it. At half, programs
    /// with a few large blocks get a gibibyte of address space, and free pages that stay backed even at a limit; at twice,
    /// 64 MiB more stay unused.
    pub(crate) const REGION_SLACK_BYTES: u64 = 64 << 20;
    /// Small spans that come and go by one look at the clock. A look takes a quarter of the time
    /// that such a span takes; at 8 times as many, spans of many seconds ago count as of now.
    const SPANS_BY_LOOK: u32 = 8;

    /// Whether a hugepage that is taken for a span of `pages` pages is about to be filled: by others like it, or by
    /// the span.
    pub(crate) const fn fills_a_hugepage(pages: PageCount<P>) -> bool {
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
        let mut found = self.route(platform, request, now_ns)?;
        self.in_use_pages += request.pages.get();
        self.note_peak();
        self.spans_in_use += 1;
        self.records.record_allocation(request.pages);
        let is_fresh =
            FillerKind::of(request) == FillerKind::Dense && found.unbacked > PageCount::ZERO;
        if is_fresh && Ahead::is_for::<P>(PageCount::new(self.in_use_pages)) {
            found.ahead = self.plan_ahead(platform, found.unbacked);
        }
        if found.from_filler {
            return Some(found);
        }
        let in_use = PageCount::<P>::new(self.in_use_pages).bytes();
        let single = Self::fills_a_hugepage(request.pages);
        let worth_it = |run: &(_, _)| HugepageAdvice::is_worth_it(in_use, run.1, single);
        let modest = found.advise.filter(|_| in_use <= HugepageAdvice::THRESHOLD_BYTES);
        let added = found.added.filter(worth_it);
        Some(Found { advise: found.advise.filter(worth_it), added, modest, ..found })
    }

    /// Takes the pages of a span back, and says where they are. What has to go to the kernel at once is added to
    /// `departures`.
    pub(crate) fn deallocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        donated_tail: bool,
        departures: &mut Departures,
    ) -> Stays {
        let now_ns = self.time_for(platform, pages);
        self.in_use_pages -= pages.get();
        self.spans_in_use -= 1;
        self.records.record_deallocation(pages);
        let mut stays = Stays::Elsewhere;
        match self.keeper_of(platform, first.hugepage()) {
            Some(KeeperHandle::Tracker(tracker)) => {
                let start = first.index_in_hugepage();
                if start + pages.get() > Self::PER_HUGEPAGE {
                    self.deallocate_across(platform, first, pages, now_ns, departures);
                } else {
                    match self.filler.deallocate_or_keep(tracker, start, pages, now_ns) {
                        Afterwards::Emptied(emptied) => {
                            self.retire(platform, emptied, Cause::Emptied, now_ns, departures);
                        }
                        Afterwards::InUse if donated_tail => self.filler.abandon(tracker, pages),
                        Afterwards::InUse | Afterwards::Kept => stays = Stays::InFiller,
                    }
                }
            }
            Some(KeeperHandle::Region(region)) => {
                self.regions.deallocate(region, first, pages, now_ns);
            }
            None => self.deallocate_large(platform, first, pages, donated_tail, now_ns, departures),
        }
        if self.cache.size() > self.cache.limit() {
            self.trim_cache(platform, now_ns, departures);
            stays = Stays::Elsewhere;
        }
        stays
    }
}
