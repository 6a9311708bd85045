//! Cutting free spans to length, and joining them with their neighbours.

use super::State;
use crate::legacy_page_heap::wish::MOST_PAGES;
use strata_os::PageSource;
use strata_span::{Address, PageCount, PageId, PageSize, Platform, SpanHandle, SpanPlace};

impl<P: PageSize> State<P> {
    /// Takes a free span out of its set and cuts it down to `pages` pages from `first`; what is
    /// left over on either side stays free as it was. Changes nothing where there is no memory for
    /// the structures.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn isolate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        first: PageId<P>,
        pages: PageCount<P>,
    ) -> Option<()> {
        let (start, end) = (span.first::<P>(), span.end::<P>());
        let (low, high) = (first - start, end - (first + pages));
        let rests = [(start, low), (first + pages, high)];
        let mut structures = [None; 2];
        for (structure, (_, length)) in structures.iter_mut().zip(rests) {
            if length > PageCount::ZERO {
                *structure = platform.spans().allocate_span(platform.arena(), platform.metadata());
                if structure.is_none() {
                    structures.into_iter().flatten().for_each(|span| Self::give_up(platform, span));
                    return None;
                }
            }
        }
        let place = span.place();
        self.set_at(place).remove(span);
        span.set_range(first, pages);
        for (rest, (start, length)) in structures.into_iter().zip(rests) {
            let Some(rest) = rest else { continue };
            rest.set_range(start, length);
            rest.set_place(place);
            rest.set_zeroed(span.is_zeroed());
            rest.set_note(span.note());
            platform.map().set_ends(rest);
            self.set_at(place).insert(rest);
        }
        platform.map().set_ends(span);
        Some(())
    }

    /// Enters a span, whose ends are in the map and which is in no set, as free in `place` since
    /// `since_ns`, after merging it with its neighbours in the same place. Merged, its age is the
    /// mean.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn enter<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        place: SpanPlace,
        since_ns: u64,
    ) {
        span.set_place(place);
        span.set_note(since_ns);
        let below = span.first::<P>() - PageCount::ONE;
        if let Some(low) = self.neighbour(platform, span.first(), below, place)
            && platform.source().may_merge(low.range::<P>(), span.range::<P>())
        {
            self.absorb(platform, span, low);
        }
        if let Some(high) = self.neighbour(platform, span.last(), span.end(), place)
            && platform.source().may_merge(span.range::<P>(), high.range::<P>())
        {
            self.absorb(platform, span, high);
        }
        self.set_at(place).insert(span);
    }

    /// The free span of this heap and in `place` that `page` beside `own` belongs to.
    pub(super) fn neighbour<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        own: PageId<P>,
        page: PageId<P>,
        place: SpanPlace,
    ) -> Option<SpanHandle> {
        // Another heap's hugepage may lie beside this one's, and its spans are not ours to read.
        if page.hugepage() != own.hugepage() {
            let tracker = platform.map().tracker(page.hugepage())?;
            if Some(Address::of(tracker.as_ptr())) != self.identity {
                return None;
            }
        }
        platform.map().span_of(page).filter(|span| span.place() == place)
    }

    /// Makes a neighbour in the same place a part of `span`.
    #[unsafe(link_section = ".text_rarely")]
    fn absorb<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        neighbour: SpanHandle,
    ) {
        let (pages, others) = (span.pages(), neighbour.pages());
        if pages + others > MOST_PAGES {
            return;
        }
        self.set_at(neighbour.place()).remove(neighbour);
        let mean = (u128::from(span.note()) * pages as u128
            + u128::from(neighbour.note()) * others as u128)
            / (pages + others) as u128;
        span.set_note(u64::try_from(mean).unwrap_or(u64::MAX));
        span.set_zeroed(span.is_zeroed() && neighbour.is_zeroed());
        platform.map().clear_ends(span.first::<P>(), span.page_count());
        platform.map().clear_ends(neighbour.first::<P>(), neighbour.page_count());
        span.set_range(
            span.first::<P>().min(neighbour.first()),
            PageCount::<P>::new(pages + others),
        );
        platform.map().set_ends(span);
        Self::give_up(platform, neighbour);
    }

    /// Gives a structure back that no set, no map entry and no owner refers to.
    pub(super) fn give_up<E: Platform<Pages = P>>(platform: &E, span: SpanHandle) {
        // SAFETY: the callers took it out of its set and of the map, or never put it there; it came
        // from this pool.
        unsafe { platform.spans().deallocate_span(span) };
    }
}
