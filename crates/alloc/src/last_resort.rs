//! What is tried when an allocation finds nothing.
//!
//! First all caches give back what they hold. Then room is made for metadata: blocks of another size need bitmaps of
//! another size, so that a heap whose pages are all free again may find no metadata to hand them out. Address space
//! that was reserved ahead goes back to the kernel for that, and where there is none, free pages become metadata, and
//! stay it.

use crate::{Core, HeapConfig};
use strata_page_heap::{PageHeap, SpanRequest};
use strata_size_classes::SizeClass;
use strata_span::{MetadataArena, PageCount, Platform};
use strata_sync::thread_block::Slot;

impl<C: HeapConfig> Core<C> {
    /// Calls `allocate` again after it found nothing for `bytes` bytes: after caches gave back what they hold, then
    /// as long as room can be made.
    ///
    /// What is free may just be in somebody's hands, where no allocation sees it. So the background work stands
    /// still meanwhile, and of several threads that come here one goes after the other; each waits a second at most
    /// for its turn. Forks wait for none of it.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate_at_last<T>(
        &self,
        slot: Slot,
        bytes: usize,
        allocate: impl Fn() -> Option<T>,
    ) -> Option<T> {
        let _turn = self.take_turn();
        self.empty_caches(slot);
        let mut found = allocate();
        while found.is_none() && self.has_reserved(bytes) && self.make_room() {
            found = allocate();
        }
        found
    }

    /// Makes room after an allocation failed; says whether it is worth another try.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn make_room(&self) -> bool {
        self.page_heap().give_back_reserve(self) > 0
            || (self.arena().is_short() && self.give_pages_to_metadata())
    }

    /// Makes a small span part of the metadata arena; false if there is none.
    fn give_pages_to_metadata(&self) -> bool {
        let Some(pages) = PageCount::holding(MetadataArena::SMALL_BLOCK_BYTES) else {
            return false;
        };
        let Some(span) = self.page_heap().allocate(self, SpanRequest::of(pages)) else {
            return false;
        };
        span.set_class(SizeClass::NONE);
        if !span.is_zeroed() {
            // SAFETY: the span is ours, committed, and this long.
            unsafe { span.start::<C::Pages>().pointer().write_bytes(0, pages.bytes()) };
        }
        // SAFETY: zeroed pages that nobody else knows; the span is never given back, and its pages go when the heap
        // ends, after the last use of the arena but for the notes of its own ranges, which do not lie there.
        unsafe { self.arena().adopt(span.range::<C::Pages>()) };
        true
    }
}

#[cfg(test)]
mod tests;
