//! The page heap that TCMalloc had before it knew of hugepages.

mod state;
mod wish;

use crate::{
    Ended, LegacyFigures, MemoryLimits, PageHeap, PageHeapStats, Published, ReleaseReason,
    SpanRequest, Underway, copy_into_place,
};
use state::{State, ToKernel};
use strata_os::{AddressRange, Clock, PageSource, Release};
use strata_span::{PageCount, PageId, PageSize, Platform, SpanHandle};
use wish::Wish;

/// Free spans in lists by length, best fit, and coalescing of neighbours.
///
/// Short requests take the shortest free span that suffices, of equals a backed one; requests of 1
/// MiB and more the shortest and then lowest. What is left of a span goes back to where the span
/// was. Neighbours merge when both are backed or both are not. The heap grows by 2 MiB at least;
/// what it gets counts as unbacked until it is handed out. A span grows where it is into the free spans
/// behind it, and at the end of the heap with the heap. Memory is given back in round robin over
/// the lengths, the span that waited longest of each.
///
/// One lock, held for O(log n) and not around the system calls that give memory back; growth calls
/// the source under it. Every free span keeps its first and last page in the page map, with a place
/// that is not
/// [`InUse`](strata_span::SpanPlace::InUse): that is how neighbours are found, and how a
/// block that is freed twice is recognised.
///
/// Algorithm: TCMalloc's `PageHeap` of April 2020. Beyond it, a heap whose source has no more gives
/// back all that is free, so that backed and unbacked neighbours become one, and looks again.
///
/// ```
/// use strata_os::{ManualClock, SystemPages};
/// use strata_page_heap::{LegacyPageHeap, PageHeap, ReleaseReason, SpanRequest};
/// use strata_size_classes::Pages8K;
/// use strata_span::{Ground, PageCount};
///
/// let (source, metadata) = (SystemPages::new(), SystemPages::new());
/// let ground = Ground::<Pages8K, _, _, _>::new(source, metadata, ManualClock::new(0));
/// static HEAP: LegacyPageHeap<Pages8K> = LegacyPageHeap::EMPTY;
///
/// let span = HEAP.allocate(&ground, SpanRequest::of(PageCount::new(5))).expect("memory");
/// assert!(span.is_zeroed());
/// // SAFETY: the span came from this heap, and nobody uses it.
/// unsafe { HEAP.deallocate(&ground, span) };
///
/// assert_eq!(HEAP.stats().free_bytes, 5 * 8192);
/// HEAP.release(&ground, PageCount::ONE, ReleaseReason::Call);
/// assert_eq!(HEAP.stats().free_bytes, 0);
/// ```
#[derive(Debug)]
pub struct LegacyPageHeap<P: PageSize> {
    /// Spans on their way to the kernel. Changed under the lock of `state`, so that who holds that and reads 0 knows that
    /// none is; a fork waits for that.
    underway: Underway,
    /// Guards everything. Rank: only the span pool's and the metadata arena's locks are taken under
    /// it.
    state: Published<State<P>>,
}

/// What became of one step of giving memory back.
enum Step<P: PageSize> {
    Released(PageCount<P>),
    Refused,
    NothingFree,
}

impl<P: PageSize> LegacyPageHeap<P> {
    /// One call of [`PageHeap::release`] bears so many refusals: a few spans may be locked in
    /// memory, but where the kernel refuses always it is not asked for each span.
    const MOST_REFUSALS: usize = 8;

    /// Gives the next span back.
    fn release_one<E: Platform<Pages = P>>(&self, platform: &E, reason: ReleaseReason) -> Step<P> {
        self.underway.let_forks_pass();
        let span = {
            let mut state = self.state.lock();
            let Some(span) = state.begin_release(platform) else {
                return Step::NothingFree;
            };
            self.underway.begin();
            span
        };
        self.carry_out(platform, span, reason)
    }

    /// Gives a span back that is on its way, and ends that step.
    fn carry_out<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        reason: ReleaseReason,
    ) -> Step<P> {
        // SAFETY: the span is free, and its place hides it from everyone else until the state is
        // locked again.
        let answer = unsafe { platform.source().release(span.range::<P>(), Release::Forced) };
        let pages = span.page_count();
        let now_ns = platform.clock().now_ns();
        let mut state = self.state.lock();
        self.underway.end();
        match answer {
            Ok(()) => {
                state.end_release(platform, span, reason, now_ns);
                Step::Released(pages)
            }
            Err(_) => {
                state.undo_release(platform, span);
                Step::Refused
            }
        }
    }

    /// Gives spans back until it is enough.
    #[unsafe(link_section = ".text_rarely")]
    fn give_back<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let mut released = PageCount::ZERO;
        let mut refusals = 0;
        let most_refusals = {
            let state = self.state.lock();
            // Where each refusal tells of the call, one is enough.
            let refused = state.refusals.are_many();
            if refused && reason.may_wait() && state.refusals.holds_back(platform.clock().now_ns())
            {
                return PageCount::ZERO;
            }
            if refused { 1 } else { Self::MOST_REFUSALS }
        };
        while released < wanted && refusals < most_refusals {
            match self.release_one(platform, reason) {
                Step::Released(pages) => released += pages,
                Step::Refused => refusals += 1,
                Step::NothingFree => break,
            }
        }
        released
    }

    /// Gives back what is above the limits, with `pages` pages that are to be backed besides. False if that is above the
    /// hard limit then.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn hold_limits<E: Platform<Pages = P>>(&self, platform: &E, pages: PageCount<P>) -> bool {
        let soft = self.state.lock().soft_excess(platform, pages);
        if let Some(excess) = soft {
            self.give_back(platform, excess, ReleaseReason::SoftLimit);
        }
        let hard = self.state.lock().hard_excess(platform, pages);
        if let Some(excess) = hard {
            self.give_back(platform, excess, ReleaseReason::HardLimit);
            // What others are giving back counts as long as it is on its way.
            if self.state.lock().is_beyond_hard_limit(platform, pages) {
                self.underway.wait_for_others();
            }
        }
        !self.state.lock().fails_limits(platform, pages)
    }

    /// After the source refused: waits for what others have in hand, then makes one of all that is free, if that
    /// may be enough.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_from_released<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wish: Wish<P>,
    ) -> Option<SpanHandle> {
        if self.underway.has_others()
            && let Some(span) = self.allocate_after_others(platform, wish)
        {
            return Some(span);
        }
        let free = self.state.lock().free_if_enough(wish.pages);
        if let Some(free) = free {
            self.give_back(platform, free, ReleaseReason::HardLimit);
            let span = self.allocate_after_others(platform, wish);
            if span.is_some() {
                return span;
            }
        }
        // In pieces none of which is long enough there may be as much address space as the source has not any more.
        let mut gave = false;
        while self.state.lock().give_back_space(platform) {
            gave = true;
        }
        if gave { self.allocate_after_others(platform, wish) } else { None }
    }

    /// A span as wished, if need be after others gave back what they have in hand.
    fn allocate_after_others<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wish: Wish<P>,
    ) -> Option<SpanHandle> {
        self.underway.retry_after_others(|| {
            let mut state = self.state.lock();
            let span = state.allocate(platform, wish);
            (span, self.underway.has_others() && state.has_free(wish.pages))
        })
    }
}

// SAFETY: 1. Pieces come from the reserve, which commits them and hands out each once; `State` cuts
// and merges them without overlap. 2. `State::allocate` cuts to the wish; a span is zeroed only
// where the source said so of all its parts since they were last handed out. 3. Only free spans are
// merged, cut or given back.
// 4. Nothing here dereferences an address of the pages.
unsafe impl<P: PageSize> PageHeap<P> for LegacyPageHeap<P> {
    #[cfg(not(strata_loom))]
    const EMPTY: Self = Self { underway: Underway::new(), state: Published::new(State::new()) };

    const EMPTY_IS_ZERO: bool = true;

    type Figures = LegacyFigures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        let wish = Wish::checked(request)?;
        self.underway.let_forks_pass();
        let (span, beyond) = {
            let mut state = self.state.lock();
            if state.is_forbidden(platform, wish.pages) {
                return None;
            }
            let span = state.allocate(platform, wish);
            (span, state.is_beyond_limits(platform, PageCount::ZERO))
        };
        let (span, beyond) = match span {
            Some(span) => (span, beyond),
            None => (self.allocate_from_released(platform, wish)?, true),
        };
        if beyond && !self.hold_limits(platform, PageCount::ZERO) {
            // SAFETY: it was had a moment ago, and nobody knows it.
            unsafe { self.deallocate(platform, span) };
            return None;
        }
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        let now_ns = platform.clock().now_ns();
        self.state.lock().deallocate(platform, span, now_ns)
    }

    /// Counted with what the policy allows.
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        self.underway.let_forks_pass();
        let now_ns = platform.clock().now_ns();
        {
            let mut state = self.state.lock();
            match state.deallocate_to_kernel(platform, span, now_ns) {
                ToKernel::NotInUse => return Ended::NotInUse,
                ToKernel::Kept => return Ended::Kept,
                ToKernel::Begun => self.underway.begin(),
            }
        }
        match self.carry_out(platform, span, ReleaseReason::Policy) {
            Step::Released(_) => Ended::Released,
            Step::Refused | Step::NothingFree => Ended::Kept,
        }
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        self.underway.let_forks_pass();
        let added = pages.saturating_sub(span.page_count());
        let beyond = {
            let mut state = self.state.lock();
            if state.is_forbidden(platform, added) {
                return false;
            }
            state.is_beyond_limits(platform, added)
        };
        if beyond && !self.hold_limits(platform, added) {
            return false;
        }
        self.state.lock().extend(platform, span, pages)
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        self.underway.let_forks_pass();
        let released = self.give_back(platform, wanted, reason);
        while self.state.lock().give_back_space(platform) {}
        released
    }

    fn set_limits(&self, limits: MemoryLimits) {
        self.state.lock().limits.limits = limits;
    }

    fn take_peak_bytes(&self) -> u64 {
        self.state.lock().take_peak().bytes() as u64
    }

    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        self.state.lock().give_back_reserve(platform)
    }

    fn stats(&self) -> PageHeapStats {
        self.state.figures()
    }

    fn in_use_bytes(&self) -> u64 {
        self.state.in_use_bytes()
    }

    /// Counts are of one moment; ages are gathered on a walk over all spans, with the lock left every few hundred, so
    /// that they agree with the counts as far as nobody used the heap meanwhile.
    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut LegacyFigures) {
        let now_ns = platform.clock().now_ns();
        copy_into_place(figures, &LegacyFigures::NONE);
        self.state.lock().fill_in(figures, now_ns);
        let mut passed = 0;
        while let Some(reservation) = self.next_reservation(passed) {
            let mut at = PageId::from_address(reservation.start);
            let end = PageId::from_address(reservation.end());
            while at < end {
                at = self.state.lock().record_ages(platform, at, end, now_ns, &mut figures.ages);
            }
            passed = at.address().value();
        }
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.state.lock().for_each_reservation(visit);
    }

    fn acquire(&self) {
        // What is underway would stay so for ever in a child that has no such thread.
        self.underway.acquire(&self.state);
    }

    unsafe fn release_lock(&self) {
        // SAFETY: the caller took it with `acquire`.
        unsafe { self.underway.release(&self.state) };
    }
}

impl<P: PageSize> Default for LegacyPageHeap<P> {
    fn default() -> Self {
        Self { underway: Underway::new(), state: Published::new(State::new()) }
    }
}

#[cfg(test)]
mod tests;
