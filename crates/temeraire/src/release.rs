//! Giving memory back to the kernel.

use crate::{
    departures::{Cause, Departures},
    huge_cache::HugeCache,
    huge_range::HugeRange,
    hugepage_aware::HugePageAware,
    state::State,
};
use strata_os::{Clock, PageSource, Release};
use strata_page_heap::ReleaseReason;
use strata_span::{HugepageCount, PageCount, PageSize, Platform};

impl<P: PageSize> HugePageAware<P> {
    /// Gives at least `wanted` pages back, as far as policy allows: from the cache, then from
    /// regions, then, hugepages being broken, from the filler.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn give_back<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        if reason.may_wait() && self.holds_back(platform) {
            return PageCount::ZERO;
        }
        let mut given =
            self.give_back_cached(platform, self.cached_share(platform, wanted, reason));
        given += self.give_back_regions(platform, wanted.saturating_sub(given), reason);
        if given < wanted {
            given += self.subrelease(platform, wanted.saturating_sub(given), reason);
        }
        if given > PageCount::ZERO || reason == ReleaseReason::Policy {
            let mut state = self.state.lock();
            state.released.add(reason, given.bytes() as u64);
            if reason == ReleaseReason::Policy {
                state.regions.forget_least_releasable();
            }
        }
        given
    }

    /// Whether the kernel refused so often of late that it is to be left alone.
    fn holds_back<E: Platform<Pages = P>>(&self, platform: &E) -> bool {
        let state = self.state.lock();
        state.refusals.are_many() && state.refusals.holds_back(platform.clock().now_ns())
    }

    /// How much of `wanted` the cache is asked for. Memory that is idle on the whole may be so in pieces that are
    /// of no use, and what comes and goes in the cache all the while is none of it: of that goes only what nobody
    /// wanted for a second. (A small heap has its hugepages elsewhere.)
    fn cached_share<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let Some(window_ns) = rest_ns(reason) else { return wanted };
        let mut state = self.state.lock();
        if state.is_small() {
            return wanted;
        }
        let now_ns = state.time(platform);
        wanted.min(state.cache.idle(now_ns, window_ns).pages())
    }

    /// Whole hugepages of the cache, then those that the filler keeps although they are empty. Even if none is
    /// wanted the cache is trimmed to its limit, after a look at whether that is too high.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn give_back_cached<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
    ) -> PageCount<P> {
        let mut given = PageCount::ZERO;
        loop {
            self.underway.let_forks_pass();
            let mut departures = Departures::new();
            {
                let mut state = self.state.lock();
                let now_ns = state.time(platform);
                if given == PageCount::ZERO {
                    state.give_up_spare(platform, now_ns);
                    state.cache.lower_limit(now_ns);
                }
                let missing = wanted.saturating_sub(given).hugepages_up();
                state.thin_cache(platform, missing, now_ns, &mut departures);
                if departures.is_empty() {
                    let missing = wanted.saturating_sub(given);
                    state.give_up_empties(platform, missing, now_ns, &mut departures);
                }
                if departures.is_empty() {
                    return given;
                }
                self.underway.begin();
            }
            let (pages, all) = self.carry_out(platform, &departures);
            given += pages;
            // The kernel refused: asking it again at once would be refused again.
            if !all {
                return given;
            }
        }
    }

    /// Hugepages of regions that are wholly free: all that is wanted if somebody asked or a limit
    /// was hit, else a tenth of them.
    fn give_back_regions<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let mut given = HugepageCount::ZERO;
        let mut quota = None;
        loop {
            self.underway.let_forks_pass();
            let (region, first, count) = {
                let mut state = self.state.lock();
                let tenth = HugepageCount::new(state.regions.totals().releasable.div_ceil(10));
                let quota = *quota.get_or_insert(match reason {
                    ReleaseReason::Policy => tenth,
                    ReleaseReason::Call => wanted.hugepages_up().max(tenth),
                    _ => wanted.hugepages_up(),
                });
                let left = quota.saturating_sub(given);
                let now_ns = state.time(platform);
                let until_ns =
                    rest_ns(reason).map_or(u64::MAX, |rest_ns| now_ns.saturating_sub(rest_ns));
                let Some(begun) = state.regions.begin_release::<P>(left, until_ns) else {
                    return given.pages();
                };
                self.underway.begin();
                begun
            };
            // SAFETY: the region holds these hugepages as wholly free and hands none out until the
            // end below.
            let taken = unsafe { platform.source().release(first.range(count), Release::Forced) };
            let mut state = self.state.lock();
            let now_ns = state.time(platform);
            state.regions.end_release::<P>(region, first, count, taken.is_ok(), now_ns);
            state.note_answer(platform, taken.is_ok());
            self.underway.end();
            if taken.is_err() {
                return given.pages();
            }
            state.regions_given_back += count.get() as u64;
            given += count;
        }
    }
}

impl<P: PageSize> State<P> {
    /// Has hugepages that the filler keeps although they are empty depart, until `missing` pages do.
    fn give_up_empties<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        missing: PageCount<P>,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let mut going = PageCount::ZERO;
        while going < missing
            && self.has_room(departures)
            && let Some(empty) = self.filler.take_empty()
        {
            let backed = PageCount::new(empty.free_pages());
            going += backed;
            if backed == PageCount::PER_HUGEPAGE {
                let range = HugeRange {
                    first: empty.hugepage(),
                    count: HugepageCount::ONE,
                    free_since_ns: empty.free_since_ns(),
                    zeroed: false,
                };
                self.filler.count_completed(&empty, now_ns);
                self.dismiss(platform, empty);
                self.cache.note_returned_elsewhere(now_ns, range.count);
                self.depart_backed(range, Cause::Periodic, departures);
            } else {
                self.retire(platform, empty, Cause::Periodic, now_ns, departures);
            }
        }
    }

    /// Notes whether the kernel took memory that it was asked to take.
    pub(crate) fn note_answer<E: Platform>(&mut self, platform: &E, taken: bool) {
        self.release_failures += u64::from(!taken);
        self.refusals.note(platform.clock(), taken);
    }

    /// Takes `missing` hugepages out of the cache, and what it has above its limit.
    fn thin_cache<E: Platform>(
        &mut self,
        platform: &E,
        missing: HugepageCount,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let keep = self.cache.size().saturating_sub(missing).min(self.cache.limit());
        while self.has_room(departures)
            && let Some(range) = self.cache.take_excess(platform, keep, &mut self.nodes, now_ns)
        {
            self.depart_backed(range, Cause::Periodic, departures);
        }
    }
}

/// For how long what goes back for `reason` has lain unwanted at least, if it goes by itself.
const fn rest_ns(reason: ReleaseReason) -> Option<u64> {
    match reason {
        ReleaseReason::Idle => Some(HugeCache::IDLE_NS),
        ReleaseReason::Policy => Some(HugeCache::MOVING_NS),
        _ => None,
    }
}
