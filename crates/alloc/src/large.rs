//! Blocks that are spans of their own.

use crate::{Core, Heap, HeapConfig, background::Call, mark, observer::Said};
use strata_os::{AddressRange, PageSource, Release};
use strata_page_heap::{Ended, PageHeap, SpanRequest};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{
    Address, HUGEPAGE_BYTES, LastOperation, Offence, PageCount, Platform, SpanHandle, SpanPlace,
};
use strata_sync::thread_block::Slot;

/// Blocks that are to be zero are looked at by the kernel's eyes from this size on. The question takes a few
/// microseconds; clearing so much takes fifty.
const ASKS_KERNEL_FROM_BYTES: usize = 1 << 20;

/// Blocks from this length on go to the kernel when they are freed, if they are [of a new
/// length](crate::large_stats::LargeCounters::begin_new_length). At half, a vector that grows to 4 MiB faults a thousand
/// times more, once in a process; at twice, what an image or a file of 10 MiB held can be read behind its end.
const CLEARED_FROM_BYTES: usize = 4 * HUGEPAGE_BYTES;

/// Longer ones do not, as one free would wait for the kernel too long.
const CLEARED_TO_BYTES: usize = 256 << 20;

impl<C: HeapConfig> Core<C> {
    /// A block of its own span; null when memory is exhausted or the request is impossible.
    pub(crate) fn allocate_large(&self, slot: Slot, size: usize, align: usize) -> *mut u8 {
        self.allocate_span(slot, size, align).map_or(core::ptr::null_mut(), |span| {
            span.set_zeroed(false);
            span.start::<C::Pages>().pointer()
        })
    }

    /// The same, its first `size` bytes zero; what is known to be zero is not touched.
    pub(crate) fn allocate_large_zeroed(&self, slot: Slot, size: usize, align: usize) -> *mut u8 {
        let Some(span) = self.allocate_span(slot, size, align) else {
            return core::ptr::null_mut();
        };
        let block = span.start::<C::Pages>().pointer();
        let is_zero = if span.is_zeroed() {
            self.is_zero_still(span)
        } else {
            self.is_zero_once_released(span)
        };
        if !is_zero {
            // SAFETY: the span is ours, committed, and at least `size` bytes long.
            unsafe { block.write_bytes(0, size) };
        }
        span.set_zeroed(false);
        block
    }

    /// Gives the memory of a long span back whose last owner touched less than half of it: the kernel's zeroes come when
    /// somebody looks, while ours would make all of it resident. False if the memory is better cleared.
    fn is_zero_once_released(&self, span: SpanHandle) -> bool {
        let range = span.range::<C::Pages>();
        if range.bytes < ASKS_KERNEL_FROM_BYTES {
            return false;
        }
        let source = self.source();
        let hardly_touched = source
            .residency(range)
            .is_ok_and(|found| found.resident_bytes + found.swapped_bytes < range.bytes / 2);
        // SAFETY: the span is ours, and nothing stands in it yet.
        hardly_touched && unsafe { source.release(range, Release::Forced) }.is_ok()
    }

    /// Takes back what the page map has no class for: a large block, or nothing of ours.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more, or else that is reported here.
    pub(crate) unsafe fn deallocate_unlisted(&self, slot: Slot, pointer: *mut u8, said: Said) {
        let address = Address::of(pointer);
        let report = |offence, span, last| {
            self.report_misuse(offence, said.function(), address, span, last);
        };
        let Some(span) = self.map().span_at(address.value()) else {
            return self.report_no_block(said.function(), address);
        };
        let start = span.start::<C::Pages>();
        if span.place() != SpanPlace::InUse {
            return report(Offence::DoubleFree, Some(span), LastOperation::Freed);
        }
        if !span.class().is_none() {
            if said.said().is_some() {
                return self.report_wrong_size(span.class(), address, said);
            }
            // Entered while we looked: the page map knows its class now.
            // SAFETY: the span's class says that the block is one of its objects; its owner gave it up.
            return unsafe { self.deallocate_uncounted(slot, span.class(), pointer) };
        }
        if start != address {
            return report(Offence::InsideABlock, Some(span), LastOperation::Unknown);
        }
        let bytes = span.bytes::<C::Pages>();
        // What was resized is longer than it has to be, and never so small that there is a class for it.
        if let Some((size, align)) = said.said()
            && (size > bytes || Heap::<C>::entry(size, align).is_some())
        {
            let last = LastOperation::FreedWith { bytes: size };
            return report(Offence::WrongSize, Some(span), last);
        }
        let was_in_use = if self.is_cleared(bytes) {
            // SAFETY: the span is a block of this heap, which the caller gives up.
            unsafe { self.deallocate_to_kernel(span) }
        } else {
            // SAFETY: the span is a block of this heap, which the caller gives up.
            unsafe { self.page_heap().deallocate(self, span) }
        };
        if was_in_use {
            self.large.note_deallocated(bytes);
            self.count_deallocated(slot, bytes);
            self.note_large(bytes, Call::Deallocation);
        }
    }

    /// Whether a block of so many bytes is to go to the kernel as it is freed, so that who reads it still finds zeroes,
    /// and not what stood there.
    ///
    /// Only in heaps that look for misuse, and whose rate of giving back is not 0. The kernel's work, and that of who
    /// has the memory next and faults it in again, is at most that for twice [`CLEARED_TO_BYTES`] in the life of a heap.
    #[unsafe(link_section = ".text_rarely")]
    fn is_cleared(&self, bytes: usize) -> bool {
        C::MARKS_FREE_BLOCKS
            && mark::LOOKS
            && (CLEARED_FROM_BYTES..=CLEARED_TO_BYTES).contains(&bytes)
            && self.config().release_rate > 0
    }

    /// Has a block go to the kernel as it is freed, if it is of a new length. One that does not go leaves the next of its
    /// length a new one. Says whether it was in use.
    ///
    /// # Safety
    ///
    /// The span is a large block of this heap, and its owner gives it up.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_to_kernel(&self, span: SpanHandle) -> bool {
        let block = span.range::<C::Pages>();
        let Some(before) = self.large.begin_new_length(block) else {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.page_heap().deallocate(self, span) };
        };
        // SAFETY: the caller's promise is the same.
        let ended = unsafe { self.page_heap().deallocate_to_kernel(self, span) };
        if ended != Ended::Released {
            self.large.forget_new_length(block, before);
        }
        ended != Ended::NotInUse
    }

    /// Whether all of a span still reads as zero that did when it came free, as far as that can be told: what somebody
    /// wrote into the last block that [went to the kernel as it was freed](Self::is_cleared) is given back once more.
    ///
    /// Whole hugepages alone are given back: others would be broken, and may be in memory for their other spans' sake,
    /// so that what is in memory there is taken for written to.
    #[unsafe(link_section = ".text_rarely")]
    fn is_zero_still(&self, span: SpanHandle) -> bool {
        let (own, last) = (span.range::<C::Pages>(), self.large.last_of_new_length());
        let between =
            |start: usize, end: usize| AddressRange::new(start, end.saturating_sub(start));
        let shared = between(own.start.max(last.start), own.end().min(last.end()));
        if shared.is_empty() {
            return true;
        }
        let source = self.source();
        // Where nobody can tell, anything may be.
        let is_untouched = |range: AddressRange| {
            range.is_empty()
                || source
                    .residency(range)
                    .is_ok_and(|found| found.resident_bytes + found.swapped_bytes == 0)
        };
        let in_hugepage = HUGEPAGE_BYTES - 1;
        let start = ((shared.start + in_hugepage) & !in_hugepage).min(shared.end());
        let whole = between(start, (shared.end() & !in_hugepage).max(start));
        if !is_untouched(between(shared.start, whole.start))
            || !is_untouched(between(whole.end(), shared.end()))
        {
            return false;
        }
        // SAFETY: the span is ours, and nothing stands in it yet.
        is_untouched(whole) || unsafe { source.release(whole, Release::Forced) }.is_ok()
    }

    /// Makes the large block at `address` long enough for `size` bytes where it is; says whether it could.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn extend_large(&self, slot: Slot, address: Address, size: usize) -> bool {
        let (Some(span), Some(request)) = (self.large_span(address), request::<C::Pages>(size, 1))
        else {
            return false;
        };
        let before = span.bytes::<C::Pages>();
        // SAFETY: the span is a large block of this heap, and its owner is growing it.
        if !unsafe { self.page_heap().extend(self, span, request.pages) } {
            return false;
        }
        let added = span.bytes::<C::Pages>() - before;
        self.large.note_extended(added);
        self.count_allocated(slot, added);
        true
    }

    /// Moves the pages of the large block at `from` to the one at `to`, as far as they hold its first `bytes` bytes
    /// and the source can; says how many of these are there now. Only where both begin at the same place of a
    /// hugepage: others would be broken.
    ///
    /// # Safety
    ///
    /// Both are large blocks of this heap with at least so many bytes, and the caller's alone.
    pub(crate) unsafe fn relocate(&self, from: Address, to: Address, bytes: usize) -> usize {
        let source = self.source();
        let in_hugepage = HUGEPAGE_BYTES - 1;
        if !source.touchable() || (from.value() ^ to.value()) & in_hugepage != 0 {
            return 0;
        }
        let whole = bytes & !(source.page_bytes() - 1);
        let mut moved = 0;
        while moved < whole {
            let rest = AddressRange::new(from.value() + moved, whole - moved);
            // SAFETY: the caller has both blocks, and what is at `to` is not needed.
            match unsafe { source.relocate(rest, to.value() + moved) } {
                Ok(bytes) if bytes > 0 => moved += bytes,
                _ => break,
            }
        }
        moved
    }

    /// The span of a large block, if `address` is where one begins.
    pub(crate) fn large_span(&self, address: Address) -> Option<SpanHandle> {
        self.map().span_at(address.value()).filter(|span| {
            span.place() == SpanPlace::InUse
                && span.class().is_none()
                && span.start::<C::Pages>() == address
        })
    }

    /// Whether so many bytes were ever taken from the source: else no emptying of caches makes room for them.
    pub(crate) fn has_had(&self, bytes: usize) -> bool {
        self.page_heap().stats().system_bytes >= bytes as u64
    }

    /// Whether so many bytes are reserved: a request for more is not worth what the heap has ahead.
    pub(crate) fn has_reserved(&self, bytes: usize) -> bool {
        self.page_heap().stats().reserved_bytes >= bytes as u64
    }

    fn allocate_span(&self, slot: Slot, size: usize, align: usize) -> Option<SpanHandle> {
        let request = request::<C::Pages>(size, align)?;
        let bytes = request.pages.bytes();
        let find = || self.page_heap().allocate(self, request);
        let span = match find() {
            Some(span) => span,
            // What lies in caches may hold spans apart that would do together.
            None if self.has_had(bytes) => self.allocate_at_last(slot, bytes, find)?,
            None => return None,
        };
        span.set_class(SizeClass::NONE);
        let bytes = span.bytes::<C::Pages>();
        self.large.note_allocated(bytes);
        self.count_allocated(slot, bytes);
        self.note_large(bytes, Call::Allocation);
        Some(span)
    }
}

/// The bytes that a large block of such a request has; none if there can be no such block.
pub(crate) fn rounded_size<P: PageSize>(size: usize, align: usize) -> Option<usize> {
    request::<P>(size, align).map(|request| request.pages.bytes())
}

/// The span for a block; none for what no address space can hold.
pub(crate) fn request<P: PageSize>(size: usize, align: usize) -> Option<SpanRequest<P>> {
    if size > isize::MAX as usize || align > isize::MAX as usize {
        return None;
    }
    let pages = PageCount::holding(size.max(1))?;
    let align = PageCount::new((align >> P::SHIFT).max(1));
    // What the kernel cannot map in any case is not asked of the page heap.
    let widest = PageCount::<P>::new(1 << (48 - P::SHIFT));
    (pages < widest && align < widest).then_some(SpanRequest { align, ..SpanRequest::of(pages) })
}
