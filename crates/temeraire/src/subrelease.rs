//! Giving pages of hugepages back that are in use.

use crate::{
    advice::{Backing, HugepageAdvice},
    bitmap::Bitmap,
    demand::{KeptForDemand, SkipIntervals},
    departures::{Cause, Departures},
    handle::Handle,
    huge_cache::HugeCache,
    hugepage_aware::HugePageAware,
    state::State,
    supply::KeeperHandle,
    tracker::{FillerSet, HugepageTracker, WORDS},
};
use strata_os::{PageSource, Release};
use strata_page_heap::{HugepageBreak, Refusals, ReleaseReason, split_hugepage_around};
use strata_span::{Hugepage, HugepageCount, PageCount, PageSize, Platform};

/// How long the tail of a large span lies unused before it goes back by itself: spans that come and go find their
/// hugepages again, and those that stay do not keep a tail. At half, frames that are shown for ten seconds lose
/// theirs; at twice, tails lie for a minute.
const TAIL_RESTS_NS: u64 = 30_000_000_000;

/// How much of the filler's pages is to go back.
#[derive(Clone, Copy, Debug)]
struct Plan {
    pages: usize,
    /// Of these, so many for which hugepages may be broken: nobody is expected to want them.
    unwanted_pages: usize,
}

impl Plan {
    const fn of(pages: usize) -> Self {
        Self { pages, unwanted_pages: pages }
    }
}

/// A hugepage whose free pages are on their way to the kernel.
struct Breaking {
    tracker: Handle<HugepageTracker>,
    hugepage: Hugepage,
    /// The kernel is to be told not to make a hugepage of it; afterwards, whether it was.
    forbid: bool,
    /// It was told so before.
    was_forbidden: bool,
    /// Its pages that go. (Bits: a list of runs, of which there are up to 256, would take a small thread's stack.)
    going: Bitmap<WORDS>,
    /// Of these, what the kernel took.
    taken: Bitmap<WORDS>,
    /// A page that is in use, if there is one.
    staying: Option<u16>,
}

impl Breaking {
    /// As many pages as a hugepage may have.
    const PAGES: usize = WORDS * u64::BITS as usize;

    fn of(tracker: Handle<HugepageTracker>, granule: usize, may_forbid: bool) -> Self {
        let breaking = Self {
            tracker,
            hugepage: tracker.hugepage(),
            forbid: may_forbid && !tracker.is_forbidden() && !tracker.is_by_page(),
            was_forbidden: tracker.is_forbidden(),
            going: Bitmap::empty(),
            taken: Bitmap::empty(),
            staying: tracker.first_used().map(|page| (page & 0xffff) as u16),
        };
        for (start, length) in tracker.backed_gaps(granule) {
            breaking.going.insert(start, length);
        }
        breaking
    }

    /// Gives the runs back. True if the kernel took all.
    fn carry_out<E: Platform>(&self, platform: &E) -> bool {
        let first = self.hugepage.first_page::<E::Pages>();
        let mut refusals = 0;
        for (start, length) in self.going.runs(Self::PAGES) {
            if refusals == Refusals::IN_A_ROW {
                break;
            }
            let place = first + PageCount::new(start);
            let range = PageCount::<E::Pages>::new(length).range_from(place);
            // SAFETY: these pages are free, and their tracker is off the lists, so that nobody gets
            // them until the release has ended.
            if unsafe { platform.source().release(range, Release::Forced) }.is_ok() {
                self.taken.insert(start, length);
            } else {
                refusals += 1;
            }
        }
        refusals == 0
    }

    /// Has the kernel split what it has there, so that others get what went. What is in use stays where it is.
    fn split<E: Platform>(&self, platform: &E) {
        if let Some(page) = self.staying {
            let page = self.hugepage.first_page::<E::Pages>() + PageCount::new(usize::from(page));
            split_hugepage_around(platform, page.address());
        }
    }

    /// Notes what the kernel took. Says how many pages.
    fn note(&self) -> usize {
        let mut pages = 0;
        for (start, length) in self.taken.runs(Self::PAGES) {
            self.tracker.mark_released(start, length);
            pages += length;
        }
        if self.forbid {
            self.tracker.set_forbidden(true);
        }
        pages
    }
}

impl<P: PageSize> HugePageAware<P> {
    /// Gives back at least `wanted` free pages of hugepages in use, as far as policy allows,
    /// hugepage by hugepage.
    pub(crate) fn subrelease<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let plan = {
            let mut state = self.state.lock();
            let now_ns = state.time(platform);
            state.plan_subrelease(wanted, reason, now_ns)
        };
        let granule = (platform.source().page_bytes() >> P::SHIFT).max(1);
        let mut given = 0;
        while given < plan.pages {
            let breaks = given < plan.unwanted_pages;
            let Some(mut breaking) = self.begin_breaking(platform, granule, reason, breaks) else {
                break;
            };
            if breaking.forbid {
                let range = breaking.hugepage.range(HugepageCount::ONE);
                breaking.forbid = self.advice.forbid(platform, range);
            }
            let all = breaking.carry_out(platform);
            if breaking.forbid || breaking.was_forbidden {
                breaking.split(platform);
            }
            given += self.end_breaking(platform, &breaking, reason);
            // The kernel refused: asking it again at once would be refused again.
            if !all {
                break;
            }
        }
        PageCount::new(given)
    }

    /// `breaks`: hugepages may be broken.
    fn begin_breaking<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        granule: usize,
        reason: ReleaseReason,
        breaks: bool,
    ) -> Option<Breaking> {
        self.underway.let_forks_pass();
        let mut state = self.state.lock();
        let now_ns = state.time(platform);
        let latest = state.filler.latest();
        let is_filling = |tracker: &HugepageTracker| {
            latest.contains(&Some(tracker.hugepage())) && !rests(tracker, now_ns)
        };
        // Who grows takes a hugepage, and of that most is free: it would be broken for what comes to stand there next.
        let may_go = |tracker: &HugepageTracker| {
            (breaks || is_broken(tracker))
                && may_go(tracker, reason, now_ns)
                && !(reason == ReleaseReason::Growth && is_filling(tracker))
        };
        let tracker = state.filler.release_candidate(granule, may_go)?;
        if reason == ReleaseReason::Idle && !is_broken(&tracker) {
            state.filler.demand.note_idle(now_ns);
        }
        state.filler.begin_release(tracker, is_for_limit(reason));
        self.underway.begin();
        let may_forbid = state.forbidden_hugepages < HugepageAdvice::MOST_FORBIDDEN;
        Some(Breaking::of(tracker, granule, may_forbid))
    }

    /// Puts the books right. Says how many pages the kernel took, those included of whole hugepages that
    /// went meanwhile: the emptied one, and what the cache had above its limit.
    fn end_breaking<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        breaking: &Breaking,
        reason: ReleaseReason,
    ) -> usize {
        let mut departures = Departures::new();
        let given = {
            let mut state = self.state.lock();
            let now_ns = state.time(platform);
            let given = state.end_breaking(platform, breaking, reason, now_ns, &mut departures);
            if departures.is_empty() {
                self.underway.end();
                return given;
            }
            given
        };
        let (others, _) = self.carry_out(platform, &departures);
        given + others.get()
    }
}

impl<P: PageSize> HugePageAware<P> {
    /// Decides whether `bytes` bytes inside of spans on `hugepage` may go back, and forbids the hugepage if so.
    pub(crate) fn break_used<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        let range = hugepage.range(HugepageCount::ONE);
        {
            let mut state = self.state.lock();
            let Some(KeeperHandle::Tracker(tracker)) = state.keeper_of(platform, hugepage) else {
                return HugepageBreak::Refused;
            };
            if tracker.is_populating() {
                return HugepageBreak::Refused;
            }
            if tracker.is_forbidden() {
                return HugepageBreak::Broken;
            }
            if tracker.is_by_page() || !self.advice.forbids(platform) {
                return HugepageBreak::NotHuge;
            }
            // It emptied, and is kept for whoever comes next; or pages of it are on their way to the kernel; or it
            // is being put together.
            if tracker.allocations() == 0 || tracker.set.get() == FillerSet::Releasing {
                return HugepageBreak::Refused;
            }
            let now_ns = state.time(platform);
            let may_forbid = state.forbidden_hugepages < HugepageAdvice::MOST_FORBIDDEN;
            let is_worth_it = is_worth_breaking(&tracker, bytes >> P::SHIFT);
            if !may_forbid || !is_worth_it || !rests(&tracker, now_ns) {
                return HugepageBreak::Refused;
            }
            // From here on it goes to the kernel as a whole when it empties.
            tracker.set_forbidden(true);
            state.forbidden_hugepages += 1;
        }
        // A kernel that refuses may fill the holes again, which costs what was gained, and nothing else.
        self.advice.forbid(platform, range);
        let state = self.state.lock();
        let stands = matches!(
            state.keeper_of(platform, hugepage),
            Some(KeeperHandle::Tracker(tracker)) if tracker.is_forbidden()
        );
        if stands {
            return HugepageBreak::Broken;
        }
        // It emptied meanwhile and was allowed again, perhaps before it was forbidden.
        drop(state);
        self.advice.allow(platform, range);
        HugepageBreak::Refused
    }
}

impl<P: PageSize> State<P> {
    /// How many pages to give back: what is wanted less what went back already as broken hugepages emptied, or more
    /// where much of broken hugepages is free, but not what recent demand would take again. A limit that was hit
    /// knows no such regard; nor does who asks, or the rate, where that breaks no hugepage, so that it costs faults
    /// alone.
    fn plan_subrelease(
        &mut self,
        wanted: PageCount<P>,
        reason: ReleaseReason,
        now_ns: u64,
    ) -> Plan {
        // Who says that memory is idle has looked at demand already; in a heap that has fallen it is gone, and one that
        // grew has no use for what is free. And where the kernel was never asked for hugepages none is broken.
        let asks = matches!(reason, ReleaseReason::Policy | ReleaseReason::Call);
        let breaks_nothing = asks && self.is_by_page();
        let is_unwanted =
            matches!(reason, ReleaseReason::Idle | ReleaseReason::Fallen | ReleaseReason::Growth);
        if is_for_limit(reason) || is_unwanted || breaks_nothing {
            return Plan::of(wanted.get());
        }
        let credited = self.filler.unaccounted_pages.min(wanted.get());
        self.filler.unaccounted_pages = 0;
        let broken_free = self.filler.totals().partially_released().free;
        let wish = match wanted.get() - credited {
            0 => 0,
            missing => missing.max(broken_free / 10),
        };
        let mut expected = self.expected_pages(now_ns);
        let all = self.filler.totals().all();
        let mapped = all.used + all.free;
        if reason == ReleaseReason::Policy {
            expected = self.filler.demand.likely(now_ns, all.used, mapped.min(expected));
        }
        let unwanted_pages = wish.min(mapped.saturating_sub(expected));
        // What goes of broken hugepages goes first, and at the rate whatever is expected.
        let (pages, going) = match reason {
            ReleaseReason::Policy => {
                (wanted.get().max(unwanted_pages), unwanted_pages.max(broken_free))
            }
            _ => (unwanted_pages, unwanted_pages),
        };
        let skipped = all.free.saturating_sub(going).min(wish.saturating_sub(going));
        if skipped > 0 {
            self.filler.demand.note_skip(now_ns, skipped, mapped.min(expected));
        }
        Plan { pages, unwanted_pages }
    }

    /// Whether the kernel backs this heap page by page: what goes of a hugepage breaks nothing.
    fn is_by_page(&self) -> bool {
        matches!(self.backing, Backing::Asked | Backing::ByPage)
    }

    /// Pages of the filler that recent demand is likely to want.
    fn expected_pages(&self, now_ns: u64) -> usize {
        let intervals = self.skip_intervals.unwrap_or(SkipIntervals::STANDARD);
        self.filler.demand.expected(now_ns, intervals)
    }

    /// What goes if somebody asks for all: the cache, wholly free hugepages of regions, and of the filler what
    /// recent demand is not likely to want.
    pub(crate) fn releasable_on_request(&self, now_ns: u64) -> PageCount<P> {
        let whole = self.cache.size() + HugepageCount::new(self.regions.totals().releasable);
        let going = self.filler.totals().all().free - self.kept_pages(now_ns);
        whole.pages::<P>() + PageCount::new(going)
    }

    /// How many of the filler's free pages demand of the last minutes keeps.
    fn kept_pages(&self, now_ns: u64) -> usize {
        let all = self.filler.totals().all();
        // Hugepages that the filler keeps although they are empty go like those of the cache.
        let free = all.free - self.filler.empty_pages();
        let expected = if self.is_by_page() { 0 } else { self.expected_pages(now_ns) };
        free.min(expected.saturating_sub(all.used))
    }

    /// The same, with what of them the rate leaves, for reports.
    pub(crate) fn kept_for_demand(&self, now_ns: u64) -> KeptForDemand {
        self.filler.demand.kept(self.filler.totals().all().used, self.kept_pages(now_ns))
    }

    fn end_breaking<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        breaking: &Breaking,
        reason: ReleaseReason,
        now_ns: u64,
        departures: &mut Departures,
    ) -> usize {
        // It may have been forbidden meanwhile for what goes inside of its spans.
        let newly_forbidden = breaking.forbid && !breaking.tracker.is_forbidden();
        let mut given = 0;
        let note = || given = breaking.note();
        let emptied = self.filler.end_release(breaking.tracker, note, now_ns);
        self.filler.count_subrelease(now_ns, given, is_for_limit(reason));
        if newly_forbidden {
            self.forbidden_hugepages += 1;
        }
        let refused = breaking.going.words() != breaking.taken.words();
        self.note_answer(platform, !refused);
        if let Some(emptied) = emptied {
            self.retire(platform, emptied, Cause::EmptiedInRelease, now_ns, departures);
        }
        self.trim_cache(platform, now_ns, departures);
        given
    }
}

/// Whether free pages of a hugepage may go for `reason`.
fn may_go(tracker: &HugepageTracker, reason: ReleaseReason, now_ns: u64) -> bool {
    let by_itself = matches!(reason, ReleaseReason::Idle | ReleaseReason::Policy);
    // What goes of a tail breaks the run of hugepages that its span gives back, and the next such span does not find one.
    let is_fresh_tail =
        || tracker.donated.get() && now_ns.saturating_sub(tracker.free_since_ns()) < TAIL_RESTS_NS;
    !by_itself
        || !is_fresh_tail()
            && is_worth_breaking(tracker, 0)
            && (reason != ReleaseReason::Policy || rests(tracker, now_ns))
}

/// Whether a hugepage is given up for what would go back of it, `more` pages of it inside of spans: from a fifth
/// on, or if it was broken before, or is none. At half as much a heap that is a tenth empty loses all its
/// hugepages; at twice, a heap that shrank to two thirds keeps the other third. What is put together has less free.
fn is_worth_breaking(tracker: &HugepageTracker, more: usize) -> bool {
    is_broken(tracker) || 5 * (tracker.free_pages() + more) >= tracker.length()
}

/// Whether the kernel backs a hugepage page by page: what goes of it breaks nothing.
fn is_broken(tracker: &HugepageTracker) -> bool {
    tracker.is_forbidden() || tracker.is_by_page() || tracker.released_pages() > 0
}

/// Whether a hugepage may be broken for what the rate allows, or for what is free inside of its spans: one to which
/// spans came a moment ago is being filled, with most of its pages free, and a heap that grows has one such at each
/// step.
fn rests(tracker: &HugepageTracker, now_ns: u64) -> bool {
    is_broken(tracker) || now_ns.saturating_sub(tracker.last_allocation_ns()) >= HugeCache::IDLE_NS
}

/// Whether memory has to go whatever that costs.
const fn is_for_limit(reason: ReleaseReason) -> bool {
    matches!(reason, ReleaseReason::SoftLimit | ReleaseReason::HardLimit)
}
