//! Making a span longer where it is.

use super::State;
use crate::legacy_page_heap::wish::MOST_PAGES;
use strata_os::{AddressRange, PageSource};
use strata_span::{PageCount, PageId, PageSize, Platform, SpanHandle, SpanPlace};

impl<P: PageSize> State<P> {
    /// Free spans behind a span that one extension looks at. They take turns in being backed and not, so that at half
    /// as many a span stops growing where parts of what lies behind it were given back; at twice, the lock
    /// is held for some hundred nanoseconds more.
    const MOST_PIECES: usize = 8;

    /// Makes a span that is out `pages` pages long, with what is free behind it. The heap grows for that where the
    /// reserve goes on just there.
    pub(in crate::legacy_page_heap) fn extend<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        debug_assert!(span.place() == SpanPlace::InUse, "only spans that are out grow");
        let (first, before) = (span.first::<P>(), span.page_count::<P>());
        if pages <= before {
            return true;
        }
        if pages.get() > MOST_PAGES || !self.make_free(platform, first, before, pages) {
            return false;
        }
        let mut length = before;
        while length < pages
            && let Some(next) = self.free_span_at(platform, first + length)
        {
            length += self.cut_front(platform, next, pages - length);
        }
        debug_assert!(length == pages, "what was free a moment ago is free");
        let last_before = span.last::<P>();
        span.set_range(first, pages);
        platform.map().set_ends(span);
        if before > PageCount::ONE {
            platform.map().clear_range(last_before, PageCount::ONE);
        }
        self.note_peak();
        self.records.record_extension(before, pages);
        true
    }

    /// Sees to it that all pages from `from` to `to`, counted from `first`, are free. False if they are not and
    /// cannot be.
    fn make_free<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        from: PageCount<P>,
        to: PageCount<P>,
    ) -> bool {
        let free = self.free_up_to(platform, first, from, to);
        if free >= to {
            return true;
        }
        let (end, missing) = (first + free, to - free);
        // Only hugepages that begin there join on.
        let grown = end.index_in_hugepage() == 0
            && self
                .grow_by(platform, |reserve| {
                    reserve.take_at(platform, end.address().value(), missing.hugepages_up())
                })
                .is_some();
        grown && self.free_up_to(platform, first, from, to) >= to
    }

    /// How far the free spans behind `from` go, counted from `first`: up to `to` or more, or less.
    #[unsafe(link_section = ".text_rarely")]
    fn free_up_to<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        first: PageId<P>,
        from: PageCount<P>,
        to: PageCount<P>,
    ) -> PageCount<P> {
        let mut free = from;
        for _ in 0..Self::MOST_PIECES {
            if free >= to {
                break;
            }
            let Some(next) = self.free_span_at(platform, first + free) else { break };
            let own: AddressRange = free.range_from(first);
            if !platform.source().may_merge(own, next.range::<P>()) {
                break;
            }
            free += next.page_count();
        }
        free
    }

    /// The free span of this heap that begins with `page`, which lies behind a page of this heap.
    #[unsafe(link_section = ".text_rarely")]
    fn free_span_at<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        page: PageId<P>,
    ) -> Option<SpanHandle> {
        let own = page - PageCount::ONE;
        let beside = |place| self.neighbour(platform, own, page, place);
        beside(SpanPlace::Free).or_else(|| beside(SpanPlace::Released))
    }

    /// Takes up to `most` pages off the front of a free span, for a span that is out; what is left stays free, and as
    /// old as it was. Says how many.
    fn cut_front<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        most: PageCount<P>,
    ) -> PageCount<P> {
        let (first, all) = (span.first::<P>(), span.page_count::<P>());
        let taken = all.min(most);
        let place = span.place();
        self.set_at(place).remove(span);
        platform.map().clear_ends(first, all);
        if taken == all {
            Self::give_up(platform, span);
        } else {
            span.set_range(first + taken, all - taken);
            platform.map().set_ends(span);
            self.set_at(place).insert(span);
        }
        *self.pages_at(place == SpanPlace::Free) -= taken;
        self.in_use += taken;
        taken
    }
}

#[cfg(test)]
mod tests;
