//! What is entered of pages: their span, their class, and what the window shows of them.

use super::{
    PageMap,
    leaf::{GRANULE_SHIFT, LEAF_PAGES},
};
use crate::{PageCount, PageId, SpanHandle};
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::Ordering;

/// Pages that are entered at once: those whose spans are a granule of a leaf.
const PIECE: usize = {
    let spans_of_granule = (1 << GRANULE_SHIFT) / size_of::<usize>();
    if spans_of_granule < LEAF_PAGES { spans_of_granule } else { LEAF_PAGES }
};

impl<P: PageSize> PageMap<P> {
    pub(super) fn write(&self, page: PageId<P>, span: Option<SpanHandle>, class: SizeClass) {
        self.write_showing(page, span, class, class);
    }

    /// The same, with what the window shows of the page: its class, or none.
    #[inline(always)]
    fn write_showing(
        &self,
        page: PageId<P>,
        span: Option<SpanHandle>,
        class: SizeClass,
        shown: SizeClass,
    ) {
        let Some(leaf) = self.leaf(page.number()) else { return };
        let slot = page.number() & (LEAF_PAGES - 1);
        let (class_entry, span_entry) = (&leaf.classes[slot], &leaf.spans[slot]);
        self.touch(leaf, class_entry);
        self.touch(leaf, span_entry);
        class_entry.store(class.raw(), Ordering::Relaxed);
        self.window.write(page, shown);
        let raw = span.map_or(core::ptr::null_mut(), |span| span.as_ptr().as_ptr());
        // Release pairs with the acquire in `span_of`.
        span_entry.store(raw, Ordering::Release);
    }

    /// Enters `pages` pages from `first`. The window shows the class of all of them, or of those on which one of
    /// `objects` begins, and of the others none.
    #[inline(never)]
    pub(super) fn write_range(
        &self,
        first: PageId<P>,
        pages: usize,
        span: Option<SpanHandle>,
        class: SizeClass,
        mut objects: Option<ObjectStarts>,
    ) {
        let mut shown = |index: usize| {
            let begins = objects.as_mut().is_none_or(|objects| objects.begin_on::<P>(index));
            if begins { class } else { SizeClass::NONE }
        };
        if pages == 1 {
            return self.write_showing(first, span, class, shown(0));
        }
        let raw = span.map_or(core::ptr::null_mut(), |span| span.as_ptr().as_ptr());
        let mut done = 0;
        while done < pages {
            let page = first + PageCount::new(done);
            let slot = page.number() & (LEAF_PAGES - 1);
            let count = (PIECE - slot % PIECE).min(pages - done);
            if let Some(leaf) = self.leaf(page.number())
                && let Some(classes) = leaf.classes.get(slot..slot + count)
                && let Some(spans) = leaf.spans.get(slot..slot + count)
            {
                self.touch_ends(leaf, classes);
                self.touch_ends(leaf, spans);
                classes.iter().for_each(|entry| entry.store(class.raw(), Ordering::Relaxed));
                self.window.write_range(page, count, |index| shown(done + index));
                // Release pairs with the acquire in `span_of`.
                spans.iter().for_each(|entry| entry.store(raw, Ordering::Release));
            }
            done += count;
        }
    }
}

/// Where objects of one length begin in a span, asked page by page.
pub(super) struct ObjectStarts {
    /// Of the first object that begins on the page at hand or behind it; on pages that are no shorter than an object
    /// one begins on each, from the first on.
    pub(super) next: usize,
    pub(super) bytes: usize,
}

impl ObjectStarts {
    /// Whether one begins on this page of the span. Asked from the first page to the last.
    #[inline(always)]
    fn begin_on<P: PageSize>(&mut self, index: usize) -> bool {
        let start = index * P::BYTES;
        if self.next < start {
            self.next = if self.bytes > P::BYTES { self.next + self.bytes } else { start };
        }
        self.next < start + P::BYTES
    }
}
