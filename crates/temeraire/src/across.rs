//! Spans across the border of two hugepages of the filler.
//!
//! Two spans of seven twentieths of a hugepage leave three tenths of it free, for which there may be no others: where a
//! heap grows by such spans, each hugepage has a hole at its end that stays in memory. So a span that is long, and for
//! which a fresh hugepage would be taken, goes on where the hugepage before ends: the fresh one is the one behind it.
//!
//! Each of the two hugepages has its part of the span as an allocation of its own, and gets that part back when the span
//! goes. Nothing else of the heap tells such a span from others: its trackers count pages, and who looks at spans finds
//! them by their pages. That its first hugepage has a tracker, and that it ends behind it, is what it is known by.

use crate::{
    departures::{Cause, Departures},
    filler::Afterwards,
    handle::Handle,
    huge_range::HugeRange,
    routes::Found,
    state::State,
    supply::{FoundHugepages, KeeperHandle},
    tracker::HugepageTracker,
};
use strata_os::PageSource;
use strata_span::{HugepageCount, PageCount, PageId, PageSize, Platform};

impl<P: PageSize> State<P> {
    /// Pages of the shortest span that may lie across a border: an eighth of a hugepage. Each keeps two hugepages from
    /// emptying. At a fifth, traces have as much free and as much on small pages within a hundredth.
    const LEAST_ACROSS: usize = Self::PER_HUGEPAGE / 8;

    /// Whether a span is long enough to lie across a border. Asked first, so that the rest is on no page of code that a
    /// small program has in memory.
    #[inline]
    pub(crate) const fn may_lie_across(pages: PageCount<P>) -> bool {
        pages.get() >= Self::LEAST_ACROSS && pages.get() > 1
    }

    /// Pages for a long span that a fresh hugepage would be taken for: the end of a hugepage of the filler, and the beginning
    /// of a fresh one behind it, which gets `tracker`. None if no hugepage has a free end and a free successor.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate_across<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        tracker: Handle<HugepageTracker>,
        pages: PageCount<P>,
        pays: bool,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let low = self.low_side(platform, now_ns)?;
        let got = self.take_successor(platform, &low, now_ns)?;
        let hugepage = got.range.first;
        let fresh = self.fresh(&got, pages, true, pays);
        self.assign(platform, tracker, hugepage, fresh, now_ns);
        let filled = self.filler.allocate_across(low, tracker, pages, now_ns);
        let advise = (got.fresh && pays).then_some((hugepage, HugepageCount::ONE));
        Some(Found { advise, ..Found::of(&filled) })
    }

    /// The hugepage of the filler with the longest free end that a free hugepage follows, as far as a look at a few
    /// tells. While the cache has hugepages, that is one of these, since what is backed is used first; and while there
    /// are any that are not backed, one of those. Else the heap grows, where the reserve goes on just there.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn low_side<E: Platform>(
        &mut self,
        platform: &E,
        now_ns: u64,
    ) -> Option<Handle<HugepageTracker>> {
        let Self { filler, cache, allocator, nodes, .. } = self;
        let has_end = |low: &Handle<HugepageTracker>| {
            let (own, next) = (low.hugepage(), low.hugepage() + HugepageCount::ONE);
            let [own, next] = [own, next].map(|it| it.range(HugepageCount::ONE));
            low.free_at_end() > 0 && platform.source().may_merge(own, next)
        };
        let mut lows = filler.with_long_runs().filter(has_end);
        let is_cached = cache.size() > HugepageCount::ZERO;
        let free = if is_cached { cache.ranges() } else { allocator.free() };
        if free.total() > HugepageCount::ZERO {
            return lows
                .find(|low| free.beginning_at(low.hugepage() + HugepageCount::ONE).is_some());
        }
        lows.find(|low| {
            let next = low.hugepage() + HugepageCount::ONE;
            allocator.grow_at(platform, next, HugepageCount::ONE, nodes, now_ns).is_some()
        })
    }

    /// The free hugepage behind `low`.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn take_successor<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        low: &HugepageTracker,
        now_ns: u64,
    ) -> Option<FoundHugepages> {
        let first = low.hugepage() + HugepageCount::ONE;
        let behind = self.take_pieces(platform, first, HugepageCount::ONE, now_ns)?;
        let count = HugepageCount::ONE;
        let fresh = behind.fresh.is_some();
        if fresh {
            self.cache.note_taken_elsewhere(now_ns, count);
        } else {
            self.cache.note_hit(now_ns, count);
        }
        let range = HugeRange { first, count, free_since_ns: now_ns, zeroed: behind.zeroed };
        Some(FoundHugepages { range, fresh, added: None })
    }
}

impl<P: PageSize> State<P> {
    /// Takes the pages of a span back that lies on two hugepages, by hugepage. (Apart from the others, which are many: with
    /// both in one place a span's return takes a tenth longer.)
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn deallocate_across<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let on_low = PageCount::PER_HUGEPAGE - PageCount::new(first.index_in_hugepage());
        for (first, pages) in [(first, on_low), (first + on_low, pages - on_low)] {
            let keeper = self.keeper_of(platform, first.hugepage());
            let Some(KeeperHandle::Tracker(tracker)) = keeper else { continue };
            let start = first.index_in_hugepage();
            let afterwards = self.filler.deallocate_or_keep(tracker, start, pages, now_ns);
            if let Afterwards::Emptied(emptied) = afterwards {
                self.retire(platform, emptied, Cause::Emptied, now_ns, departures);
            }
        }
    }
}

#[cfg(test)]
mod tests;
