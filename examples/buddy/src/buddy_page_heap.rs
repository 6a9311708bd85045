//! The page heap.

use crate::{
    lists::{List, MOST_ORDER},
    state::State,
};
use strata_os::{AddressRange, PageSource, Release};
use strata_page_heap::{
    MemoryLimits, PageHeap, PageHeapStats, Published, ReleaseReason, SpanRequest, Underway,
};
use strata_span::{PageCount, PageId, PageSize, Platform, SpanHandle, SpanPlace};

/// A page heap that keeps free memory in blocks of powers of two.
///
/// One lock, left while memory goes to the kernel. An operation takes O(log n) for blocks of hugepages, and looks at up to
/// ten bitmaps within one.
#[derive(Debug)]
pub struct BuddyPageHeap<P: PageSize> {
    /// Guards everything. Rank: only the platform's own locks are taken under it.
    state: Published<State<P>>,
    /// Releases with the lock dropped. Forks wait for them, and so does who finds nothing.
    underway: Underway,
}

/// What only this heap tells: how many free blocks there are, by the logarithm of their length in hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BuddyFigures {
    /// Blocks of 2^n hugepages with memory behind some of it.
    pub backed_blocks: [u64; MOST_ORDER as usize + 1],
    /// Blocks of 2^n hugepages without.
    pub unbacked_blocks: [u64; MOST_ORDER as usize + 1],
}

impl<P: PageSize> BuddyPageHeap<P> {
    /// A heap that has nothing yet.
    pub const fn new() -> Self {
        Self { state: Published::new(State::new()), underway: Underway::new() }
    }

    /// So many refusals one release bears: where the kernel refuses always, it is not asked for each block.
    const MOST_REFUSALS: usize = 4;

    /// Pages for a span, if need be after others gave back what they have in hand.
    fn find<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<(PageId<P>, bool)> {
        let (found, beyond) = self.underway.retry_after_others(|| {
            let mut state = self.state.lock();
            let in_use = state.in_use();
            if state.limits.forbids(platform, in_use, request.pages) {
                return (None, false);
            }
            let found = state.allocate(platform, request);
            let backed = state.backed();
            let beyond =
                state.limits.any() && state.limits.is_beyond(platform, backed, PageCount::ZERO);
            let others_may_help = self.underway.has_others() && state.has_free(request.pages);
            (found.map(|found| (found, beyond)), others_may_help)
        })?;
        if beyond && !self.hold_limits(platform) {
            self.state.lock().deallocate(platform, found.0, request.pages.get());
            return None;
        }
        Some(found)
    }

    /// Gives back what is above the limits. False if that leaves more than the hard one.
    fn hold_limits<E: Platform<Pages = P>>(&self, platform: &E) -> bool {
        for reason in [ReleaseReason::SoftLimit, ReleaseReason::HardLimit] {
            let excess = {
                let mut state = self.state.lock();
                let backed = state.backed();
                match reason {
                    ReleaseReason::SoftLimit => {
                        state.limits.soft_excess(platform, backed, PageCount::ZERO)
                    }
                    _ => state.limits.hard_excess(platform, backed, PageCount::ZERO),
                }
            };
            if let Some(excess) = excess {
                self.release(platform, excess, reason);
                if reason == ReleaseReason::HardLimit {
                    // What others are giving back counts as long as it is on its way.
                    self.underway.wait_for_others();
                }
            }
        }
        let mut state = self.state.lock();
        let backed = state.backed();
        !state.limits.fails(platform, backed, PageCount::ZERO)
    }
}

impl<P: PageSize> Default for BuddyPageHeap<P> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: 1. A page is handed out only while its bit says that it is free, and has its bit set before the lock is left;
// pages come from a `Reserve`, which commits them. 2. Blocks begin at multiples of their lengths, which are at least the
// alignment; a span reads as zero only if all its pages are marked so, which fresh and released pages are. 3. Spans of
// this heap are on no list. 4. Pages are numbers throughout.
unsafe impl<P: PageSize> PageHeap<P> for BuddyPageHeap<P> {
    const EMPTY: Self = Self::new();

    const EMPTY_IS_ZERO: bool = true;

    type Figures = BuddyFigures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        let valid = (1..=u32::MAX as usize).contains(&request.pages.get());
        if !valid || !request.align.get().is_power_of_two() {
            return None;
        }
        self.underway.let_forks_pass();
        let span = platform.spans().allocate_span(platform.arena(), platform.metadata())?;
        let Some((first, zeroed)) = self.find(platform, &request) else {
            // SAFETY: it was had a moment ago, and nobody knows it.
            unsafe { platform.spans().deallocate_span(span) };
            return None;
        };
        span.set_range(first, request.pages);
        span.set_place(SpanPlace::InUse);
        span.set_zeroed(zeroed);
        platform.map().set_ends(span);
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        let (first, pages) = (span.first::<P>(), span.page_count::<P>());
        span.set_place(SpanPlace::Unused);
        platform.map().clear_ends(first, pages);
        // SAFETY: the caller gives the span up, and its entries in the page map are gone.
        unsafe { platform.spans().deallocate_span(span) };
        self.state.lock().deallocate(platform, first, pages.get());
        true
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let (mut given, mut refusals) = (0, 0);
        while given < wanted.get() && refusals < Self::MOST_REFUSALS {
            self.underway.let_forks_pass();
            let leaving = {
                let mut state = self.state.lock();
                let Some(leaving) = state.begin_release(platform) else { break };
                self.underway.begin();
                leaving
            };
            // What follows runs without the lock: others may use the heap meanwhile, and do not see what leaves.
            let refused = core::cell::Cell::new(false);
            let taken = leaving.carry_out::<P>(|range| {
                // SAFETY: the pages are free, and on no list until the release has ended.
                let done = unsafe { platform.source().release(range, Release::Forced) }.is_ok();
                refused.set(refused.get() || !done);
                done
            });
            let mut state = self.state.lock();
            self.underway.end();
            given += state.end_release(platform, leaving, taken);
            if refused.get() {
                state.release_failures += 1;
                refusals += 1;
            }
        }
        let given = PageCount::new(given);
        self.state.lock().released.add(reason, given.bytes() as u64);
        given
    }

    fn set_limits(&self, limits: MemoryLimits) {
        self.state.lock().limits.limits = limits;
    }

    fn stats(&self) -> PageHeapStats {
        self.state.figures()
    }

    fn read_figures<E: Platform<Pages = P>>(&self, _platform: &E, figures: &mut BuddyFigures) {
        let state = self.state.lock();
        let blocks = |backed| {
            core::array::from_fn(|order| {
                state.lists.length(List::Block { order: order as u32, backed }) as u64
            })
        };
        *figures = BuddyFigures { backed_blocks: blocks(true), unbacked_blocks: blocks(false) };
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.state.lock().reserve.for_each_reservation(visit);
    }

    fn acquire(&self) {
        self.underway.acquire(&self.state);
    }

    unsafe fn release_lock(&self) {
        // SAFETY: the caller took it with `acquire`.
        unsafe { self.underway.release(&self.state) };
    }
}
