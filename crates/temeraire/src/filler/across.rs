//! Spans that lie on two of the filler's hugepages.

use super::{Filled, Filler};
use crate::{handle::Handle, tracker::HugepageTracker};
use strata_span::{PageCount, PageSize};

impl<P: PageSize> Filler<P> {
    /// A few hugepages for spans of few objects, with backed pages that are free, whose longest runs of free pages are
    /// longest; wholly backed ones first. (With those that have no such page, small programs have 0.015 of what they use more
    /// that is free.)
    pub(crate) fn with_long_runs(&self) -> impl Iterator<Item = Handle<HugepageTracker>> + '_ {
        let partial = self.partial.backwards().take(Self::CANDIDATES);
        self.regular.backwards().take(Self::CANDIDATES).chain(partial)
    }

    /// The free end of `low`, which has room for a part of `pages` pages, and the beginning of `high`, a fresh hugepage
    /// behind it that comes to the filler.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate_across(
        &mut self,
        low: Handle<HugepageTracker>,
        high: Handle<HugepageTracker>,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Filled<P> {
        debug_assert!(low.free_at_end() < pages.get(), "there was no room in one hugepage");
        let is_partial = low.was_released.get() && low.released_pages() > 0;
        self.counters.reused_partial += u64::from(is_partial);
        self.counters.across += 1;
        let end = low.free_at_end();
        let on_low = self.change(low, |low| low.allocate_at(low.length() - end, end));
        low.note_allocation(now_ns);
        self.count_refill(low);
        let on_high = high.allocate_at(0, pages.get() - end);
        high.note_allocation(now_ns);
        self.note_latest(high);
        self.list(high);
        self.report(now_ns);
        Filled {
            first: low.hugepage().first_page::<P>() + PageCount::new(on_low.start),
            zeroed: on_low.zeroed && on_high.zeroed,
            unbacked: PageCount::new(on_low.released + on_high.released),
        }
    }
}
