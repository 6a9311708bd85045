//! Which free span serves a wish, and where in it.

use super::State;
use crate::{free_set::FreeSet, legacy_page_heap::wish::Wish};
use strata_span::{PageCount, PageId, PageSize, Platform, SpanHandle};

/// Spans that are looked at for one that is aligned by chance. At half, more of great alignment is had from the
/// source again; at twice, a wish that grows in the end takes some microseconds more.
const ALIGNED_LOOKS: usize = 128;

impl<P: PageSize> State<P> {
    /// A free span that the wish fits in: by length, of equals a backed one below 1 MiB and the
    /// lowest above.
    pub(super) fn find(&self, wish: Wish<P>) -> Option<SpanHandle> {
        let tight = self.shortest(wish.pages)?;
        if wish.align == PageCount::ONE {
            return Some(tight);
        }
        // One that is aligned by chance, as what came back from a wish like this is, before one with room for any place.
        let fits = |span: &SpanHandle| wish.first_in(*span).is_some();
        let by_chance = |set: &FreeSet<P>| set.at_least(wish.pages).take(ALIGNED_LOOKS).find(fits);
        let (normal, returned) = (by_chance(&self.normal), by_chance(&self.returned));
        let shorter = [normal, returned].into_iter().flatten().min_by_key(|span| span.pages());
        if shorter.is_some() {
            return shorter;
        }
        self.shortest(wish.with_slack())
    }

    /// The shortest free span of at least `pages` pages.
    #[unsafe(link_section = ".text_rarely")]
    fn shortest(&self, pages: PageCount<P>) -> Option<SpanHandle> {
        let small = match (self.normal.best_small(pages), self.returned.best_small(pages)) {
            (Some(normal), Some(returned)) if returned.pages() < normal.pages() => Some(returned),
            (normal, returned) => normal.or(returned),
        };
        small.or_else(|| match (self.normal.best_large(pages), self.returned.best_large(pages)) {
            (Some(normal), Some(returned)) if order::<P>(returned) < order::<P>(normal) => {
                Some(returned)
            }
            (normal, returned) => normal.or(returned),
        })
    }

    /// Where in `span` to carve `pages` pages: in front, unless it has a neighbour above and none
    /// below. Then at the end, so that the rest can join what the system may give below.
    pub(super) fn end_to_carve<E: Platform<Pages = P>>(
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> PageId<P> {
        let below = span.first::<P>() - PageCount::ONE;
        let from_end = platform.map().span_of(below).is_none()
            && platform.map().span_of(span.end::<P>()).is_some();
        if from_end { span.end() - pages } else { span.first() }
    }
}

/// Length, then address.
fn order<P: PageSize>(span: SpanHandle) -> (usize, PageId<P>) {
    (span.pages(), span.first())
}
