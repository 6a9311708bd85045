//! What a limit allows, and whether it is kept.

use super::State;
use strata_span::{PageCount, PageSize, Platform};

impl<P: PageSize> State<P> {
    /// Whether `pages` pages more are beyond the hard limit whatever is given back.
    pub(in crate::legacy_page_heap) fn is_forbidden<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.forbids(platform, self.in_use, pages)
    }

    /// Whether a limit is to be looked at closely, with `pages` pages that are to be backed besides.
    pub(in crate::legacy_page_heap) fn is_beyond_limits<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.any() && self.limits.is_beyond(platform, self.in_use + self.free, pages)
    }

    /// The same for the hard one alone.
    pub(in crate::legacy_page_heap) fn is_beyond_hard_limit<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.is_beyond_hard(platform, self.in_use + self.free, pages)
    }

    /// Pages above the soft limit.
    pub(in crate::legacy_page_heap) fn soft_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        self.limits.soft_excess(platform, self.in_use + self.free, pages)
    }

    /// Pages above the hard limit.
    pub(in crate::legacy_page_heap) fn hard_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        self.limits.hard_excess(platform, self.in_use + self.free, pages)
    }

    /// Whether all that was not enough.
    pub(in crate::legacy_page_heap) fn fails_limits<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.fails(platform, self.in_use + self.free, pages)
    }
}
