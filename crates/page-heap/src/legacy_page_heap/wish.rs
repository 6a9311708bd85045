//! What is asked of the legacy page heap.

use crate::{Density, SpanRequest};
use strata_span::{PageCount, PageId, PageSize, SpanHandle};

/// The most pages that one span may have: its length is kept in 32 bits.
pub(super) const MOST_PAGES: usize = u32::MAX as usize;

/// A request that can be added up without overflow.
#[derive(Clone, Copy)]
pub(super) struct Wish<P: PageSize> {
    pub(super) pages: PageCount<P>,
    pub(super) align: PageCount<P>,
    pub(super) density: Density,
}

impl<P: PageSize> Wish<P> {
    /// The request, unless no span can serve it.
    pub(super) fn checked(request: SpanRequest<P>) -> Option<Self> {
        let SpanRequest { pages, align, density, temperature: _ } = request;
        let most = pages
            .get()
            .checked_add(align.get())?
            .checked_add(PageCount::<P>::PER_HUGEPAGE.get())?;
        let fits = pages.get() > 0 && align.get().is_power_of_two() && most <= MOST_PAGES;
        fits.then_some(Self { pages, align, density })
    }

    /// A span of this length has a fitting run wherever it begins.
    pub(super) fn with_slack(self) -> PageCount<P> {
        self.pages + self.align - PageCount::ONE
    }

    /// The first page in `span` at which the wish fits.
    pub(super) fn first_in(self, span: SpanHandle) -> Option<PageId<P>> {
        let mask = self.align.get() - 1;
        let first = PageId::new(span.first::<P>().number().checked_add(mask)? & !mask);
        (first + self.pages <= span.end()).then_some(first)
    }
}
