//! Which hugepage is treated next: a walk over the heap's address space, from lower addresses to higher ones.

use super::SECOND_NS;
use crate::{
    handle::Handle,
    hugepage_aware::HugePageAware,
    state::State,
    supply::KeeperHandle,
    tracker::{FillerSet, HugepageTracker},
};
use strata_span::{
    Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform, SpanHandle, SpanPlace,
};

/// Hugepages that are looked at with the lock held once.
const LOOKS: usize = 128;
/// Seconds until the same hugepage is asked about again.
const AGAIN_AFTER: u32 = 300;
/// The same if parts of it were given back since. At half, one whose pages come and go is put together twelve times
/// a minute, and what is free on such is in memory (sqlite's trace has a tenth more); at thirty times as many,
/// programs that shrink and grow each minute are on small pages in the end.
const BROKEN_AGAIN_AFTER: u32 = 10;
/// The part of a hugepage that is to be in use, in sixteenths. At 14 traces have 0.2 MiB more on small pages in the
/// mean; at 12 they have as much less, but what is put together is what may be broken for a fifth that is free,
/// in turn.
pub(super) const DENSE_SIXTEENTHS: usize = 13;

/// A hugepage that is being treated.
pub(super) struct Patient {
    /// If it is the filler's: on no list meanwhile, so that it neither gives pages out nor goes.
    pub(super) tracker: Option<Handle<HugepageTracker>>,
    pub(super) hugepage: Hugepage,
    /// The kernel was told not to make a hugepage of it.
    pub(super) forbidden: bool,
}

impl<P: PageSize> HugePageAware<P> {
    /// Looks for the next hugepage to treat, and takes it off its list. Also says whether the walk is over: it came
    /// to the end of the address space, to begin anew with the next step, or the heap to a limit.
    pub(super) fn next_patient<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        now_ns: u64,
    ) -> (Option<Patient>, bool) {
        let mut state = self.state.lock();
        // The kernel takes a hugepage before it gives up the pages that stood there, and keeps what it filled.
        if state.is_beyond_limits(platform, PageCount::PER_HUGEPAGE) {
            return (None, true);
        }
        let Some(range) = state.allocator.reserve().next_from(state.treatment.cursor) else {
            state.treatment.cursor = 0;
            return (None, true);
        };
        let (mut at, end) =
            (Hugepage::from_address(range.start), Hugepage::from_address(range.end()));
        let mut found = None;
        for _ in 0..LOOKS {
            if at >= end || found.is_some() {
                break;
            }
            let keeper = state.keeper_of(platform, at);
            let is_filled = match keeper {
                Some(KeeperHandle::Tracker(tracker)) => is_patient(&tracker, now_ns),
                Some(KeeperHandle::Region(region)) => {
                    region.hugepage_figures::<P>(at).used_pages as usize == State::<P>::PER_HUGEPAGE
                }
                None => state.is_in_large_span(platform, at),
            };
            if is_filled {
                found = Some((at, keeper));
            }
            at = match state.free_range_at(at) {
                Some((range, _)) if keeper.is_none() => range.end(),
                _ => at + HugepageCount::ONE,
            };
        }
        state.treatment.cursor = at.address().value();
        let patient = found.map(|(hugepage, keeper)| {
            let Some(KeeperHandle::Tracker(tracker)) = keeper else {
                return Patient { tracker: None, hugepage, forbidden: false };
            };
            tracker.treated_second.set(second(now_ns));
            state.filler.begin_treatment(tracker);
            self.underway.begin();
            Patient { tracker: Some(tracker), hugepage, forbidden: tracker.is_forbidden() }
        });
        (patient, false)
    }
}

impl<P: PageSize> State<P> {
    /// Whether a hugepage that nobody keeps is wholly in a large span. Looks are to go from lower addresses to
    /// higher ones: where the span began is known from the look at its first hugepage.
    fn is_in_large_span<E: Platform<Pages = P>>(&mut self, platform: &E, at: Hugepage) -> bool {
        let page = at.first_page::<P>();
        let found = match Self::span_in_use_from(platform, page) {
            Some(span) => {
                self.treatment.large_first = page.number();
                Some(span)
            }
            None => Self::span_in_use_from(platform, PageId::new(self.treatment.large_first)),
        };
        found.is_some_and(|span| {
            let end = span.first::<P>().number() + span.pages();
            (span.first::<P>().number()..end).contains(&page.number())
                && page.number() + Self::PER_HUGEPAGE <= end
        })
    }

    /// The span that is in use and begins with the page `first`.
    fn span_in_use_from<E: Platform<Pages = P>>(
        platform: &E,
        first: PageId<P>,
    ) -> Option<SpanHandle> {
        let span = platform.map().span_of(first)?;
        // A span that goes leaves the map before its pages are free, for which this lock is needed.
        (span.first::<P>() == first && span.place() == SpanPlace::InUse).then_some(span)
    }

    /// Goes on behind the large span that `at` lies in, if it is the one that the last look came to.
    pub(super) fn pass_large_span<E: Platform<Pages = P>>(&mut self, platform: &E, at: Hugepage) {
        let page = at.first_page::<P>().number();
        let first = PageId::new(self.treatment.large_first);
        let Some(span) = Self::span_in_use_from(platform, first) else { return };
        let end = span.first::<P>() + span.page_count();
        if (first.number()..end.number()).contains(&page) {
            let behind = end.hugepage().address().value();
            self.treatment.cursor = self.treatment.cursor.max(behind);
        }
    }
}

/// Whether a hugepage is worth a look: most of it is in use, so that little can have gone back to the kernel, and
/// it was not looked at of late.
fn is_patient(tracker: &HugepageTracker, now_ns: u64) -> bool {
    let at_rest = tracker.set.get() != FillerSet::Releasing;
    let dense = 16 * tracker.used_pages() >= DENSE_SIXTEENTHS * tracker.length();
    let treated = tracker.treated_second.get();
    // One of which too much was missing when it was broken already is no other now.
    let is_broken_since = tracker.is_forbidden() && !tracker.passed_over.get();
    let again_after = if is_broken_since { BROKEN_AGAIN_AFTER } else { AGAIN_AFTER };
    // Of a future that the clock took back, too.
    let rested = treated == 0 || second(now_ns).wrapping_sub(treated) >= again_after;
    at_rest && dense && rested
}

/// Seconds of a clock, plus one, modulo 2^32 and never 0.
fn second(now_ns: u64) -> u32 {
    (((now_ns / SECOND_NS) & 0xffff_ffff) as u32).wrapping_add(1).max(1)
}
