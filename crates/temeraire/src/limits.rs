//! Keeping to the limits on memory.

use crate::{hugepage_aware::HugePageAware, state::State};
use strata_page_heap::ReleaseReason;
use strata_span::{PageCount, PageSize, Platform};

impl<P: PageSize> HugePageAware<P> {
    /// Gives back what is above the limits, with `pages` pages that are to be backed besides. False if that is above the
    /// hard limit then.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn hold_limits<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
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

    /// Whether a span may grow by `pages` pages, for which `most` pages may have to be backed, after giving back what is
    /// above the limits then.
    pub(crate) fn may_grow<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
        most: PageCount<P>,
    ) -> bool {
        let beyond = {
            let mut state = self.state.lock();
            if state.is_forbidden(platform, pages) {
                return false;
            }
            state.is_beyond_limits(platform, most)
        };
        !beyond || self.hold_limits(platform, most)
    }
}

impl<P: PageSize> State<P> {
    /// Whether `pages` pages more are beyond the hard limit whatever is given back.
    #[inline]
    pub(crate) fn is_forbidden<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.any() && self.limits.forbids(platform, PageCount::new(self.in_use_pages), pages)
    }

    /// Whether a limit is to be looked at closely, with `pages` pages that are to be backed besides.
    #[inline]
    pub(crate) fn is_beyond_limits<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.any() && self.limits.is_beyond(platform, self.backed(), pages)
    }

    /// The same for the hard one alone.
    fn is_beyond_hard_limit<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.is_beyond_hard(platform, self.backed(), pages)
    }

    /// Pages above the soft limit.
    fn soft_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        let backed = self.backed();
        self.limits.soft_excess(platform, backed, pages)
    }

    /// Pages above the hard limit.
    fn hard_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        let backed = self.backed();
        self.limits.hard_excess(platform, backed, pages)
    }

    /// Whether all that was not enough.
    fn fails_limits<E: Platform<Pages = P>>(&mut self, platform: &E, pages: PageCount<P>) -> bool {
        let backed = self.backed();
        self.limits.fails(platform, backed, pages)
    }

    fn backed(&self) -> PageCount<P> {
        PageCount::new(self.in_use_pages + self.free_pages())
    }
}
