//! How much fresh memory is faulted in before spans take it.

use crate::{
    handle::Handle, hugepage_aware::HugePageAware, state::State, supply::KeeperHandle,
    tracker::HugepageTracker,
};
use strata_span::{PageCount, PageId, PageSize, Platform};

/// What a heap that grows fast has taken fresh of late, on small pages, for spans of one page and many objects.
///
/// Such spans share hugepages with their like alone, and the program writes to each kernel page of them before long. Of
/// longer ones much may never be touched: with those of objects of up to 2 KiB besides, the peak of programs of a
/// dozen mebibytes rises by 3 to 8 %.
///
/// Each such page is a fault, of a microsecond or two, in one of the program's calls or behind it. A program that takes
/// a page each few hundred calls has all its slowest calls there. So the kernel is asked to fault in what lies behind
/// such a span together with it: one call of tens of microseconds instead of a dozen faults, for the same time in all.
///
/// What was faulted in and never taken is memory for nothing. So it is done only while the heap grows so fast that it
/// will be taken within a millisecond or two, and for a small part of what the heap has.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// When the bytes that are counted began to be.
    since_ns: u64,
    /// Bytes that were taken since, faulted in ahead or not.
    taken_bytes: usize,
}

impl Ahead {
    /// Nothing taken yet. (All zero bits.)
    pub(crate) const NONE: Self = Self { since_ns: 0, taken_bytes: 0 };

    /// Bytes in use from which on it is done. Smaller heaps do not run this code, nor have it in memory.
    const LEAST_IN_USE_BYTES: usize = 1 << 20;
    /// The part of what is in use that may be faulted in ahead, and the most of it.
    const PART: usize = 32;
    const MOST_BYTES: usize = 64 << 10;
    /// Bytes by which the pace is measured. At half, two classes that begin are a heap that grows; at twice, a small one
    /// has grown before anything is faulted in ahead.
    const MEASURED_BYTES: usize = 32 << 10;
    /// The slowest pace at which it pays, in ns for each byte: 64 MiB a second. A program that makes a call in 50 ns
    /// takes a page in 1200 calls then, so that faults are hardly among the slowest of a thousand.
    const SLOWEST_NS: u64 = 15;

    /// Whether a heap with so many pages in use is large enough.
    #[inline]
    pub(crate) fn is_for<P: PageSize>(in_use: PageCount<P>) -> bool {
        in_use.bytes() >= Self::LEAST_IN_USE_BYTES
    }

    /// Notes that `taken` fresh pages go to a span, with so many in use then. Says how many behind them are to be faulted in
    /// together with them; none: they are left alone.
    pub(crate) fn note<P: PageSize>(
        &mut self,
        taken: PageCount<P>,
        in_use: PageCount<P>,
        now_ns: u64,
    ) -> PageCount<P> {
        self.taken_bytes = self.taken_bytes.saturating_add(taken.bytes());
        if self.taken_bytes < Self::MEASURED_BYTES {
            return PageCount::ZERO;
        }
        let took_ns = now_ns.saturating_sub(self.since_ns);
        let longest_ns = Self::SLOWEST_NS.saturating_mul(self.taken_bytes as u64);
        // A clock that did not move tells nothing.
        let is_fast = (1..=longest_ns).contains(&took_ns);
        *self = Self { since_ns: now_ns, taken_bytes: 0 };
        if !is_fast {
            return PageCount::ZERO;
        }
        let most = (in_use.bytes() / Self::PART).min(Self::MOST_BYTES);
        PageCount::new(most >> P::SHIFT)
    }

    /// Notes that so many pages behind a span are faulted in: the next fresh one comes when they are taken.
    pub(crate) fn note_ahead<P: PageSize>(&mut self, pages: PageCount<P>) {
        self.taken_bytes = self.taken_bytes.saturating_add(pages.bytes());
    }
}

impl<P: PageSize> State<P> {
    /// The most pages that are to be faulted in behind a span, `fresh` pages of which nobody touched.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn plan_ahead<E: Platform>(
        &mut self,
        platform: &E,
        fresh: PageCount<P>,
    ) -> PageCount<P> {
        let now_ns = self.time(platform);
        let in_use = PageCount::new(self.in_use_pages);
        let most = self.ahead.note(fresh, in_use, now_ns);
        // Where memory is limited, each page of it is for somebody.
        if self.limits.any() { PageCount::ZERO } else { most }
    }
}

impl<P: PageSize> HugePageAware<P> {
    /// Has the kernel fault in up to `most` pages behind a span of `pages` pages together with it, with the lock dropped.
    /// They count as backed once the kernel has done so. Only its caller knows of the span yet.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn fault_in_ahead<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        most: PageCount<P>,
    ) {
        let behind = first.index_in_hugepage() + pages.get();
        self.underway.let_forks_pass();
        let Some((tracker, ahead)) = self.begin_populating(platform, first, behind, most) else {
            return;
        };
        let done = self.advice.fault_in(platform, (pages + ahead).range_from(first));
        // A page of which a part is in memory counts as backed.
        let done = PageCount::new(done.div_ceil(P::BYTES)).saturating_sub(pages).min(ahead);
        let mut state = self.state.lock();
        // Its span has kept the hugepage from emptying, so that the tracker is the same.
        state.filler.end_populating(tracker, behind, done);
        state.note_peak();
        self.underway.end();
    }

    /// The hugepage of a span, and how many pages behind it are to be faulted in; none if none are.
    fn begin_populating<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        first: PageId<P>,
        behind: usize,
        most: PageCount<P>,
    ) -> Option<(Handle<HugepageTracker>, PageCount<P>)> {
        let mut state = self.state.lock();
        let Some(KeeperHandle::Tracker(tracker)) = state.keeper_of(platform, first.hugepage())
        else {
            return None;
        };
        let ahead = state.filler.begin_populating(tracker, behind, most);
        if ahead == PageCount::ZERO {
            return None;
        }
        state.ahead.note_ahead(ahead);
        self.underway.begin();
        Some((tracker, ahead))
    }
}

#[cfg(test)]
mod tests;
