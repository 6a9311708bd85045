//! Large blocks of a hardened heap: guard pages around them, and addresses that fault after they were freed.
//!
//! A block is a span with a guard of at least a page at both ends; the one behind it begins with the first kernel
//! page that the block does not reach, however long the heap's pages are. The span's word has the block's size,
//! with a mark when it was freed; its object map the block's address; its note which guards stand. What lies
//! between block and guard has a canary at both ends.
//!
//! A freed block's pages are made inaccessible, and the span waits in a queue before it may be used again: with its
//! guards, where a block of the same length is asked for, or else by way of the page heap. Both, guards and queue,
//! have budgets: the kernel lets a process have 65 530 mappings, and address space may be limited.

use super::canary::Canary;
use crate::{
    Core, HeapConfig,
    background::Call,
    observer::{BlockRequest, Said},
};
use strata_os::{AddressRange, PageSource, Release};
use strata_page_heap::{Density, PageHeap, SpanRequest};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{
    Address, Function, LastOperation, Offence, PageCount, Platform, SpanHandle, SpanPlace,
};
use strata_sync::thread_block::Slot;

/// Set in the span's word when the block was freed.
const FREED: usize = 1 << 63;

/// In the span's note: the guard before the block stands; the one behind it does.
const GUARDED_BEFORE: u64 = 1;
const GUARDED_BEHIND: u64 = 2;
const GUARDED: u64 = GUARDED_BEFORE | GUARDED_BEHIND;
/// The block's pages are inaccessible, and were given back: they are zero once they are accessible.
const CLOSED: u64 = 4;
/// Pages of a guard are marked; a guard takes mappings, and is counted.
const MARKED: u64 = 8;
const MAPPED: u64 = 16;

/// Where a block lies in its span.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuardedRequest<P: PageSize> {
    span: SpanRequest<P>,
    /// Bytes before the block, all of them guard.
    lead: usize,
    /// Bytes of the block's kernel pages.
    body: usize,
}

/// Bytes of the kernel pages that a block of `size` bytes reaches; none if no address space can hold them.
fn body_bytes(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(strata_os::kernel_page_bytes())
}

/// The span for a block with its guards; none for what no address space can hold.
pub(super) fn request<P: PageSize>(size: usize, align: usize) -> Option<GuardedRequest<P>> {
    let guard = P::BYTES.max(strata_os::kernel_page_bytes());
    let lead = guard.max(align);
    let body = body_bytes(size)?;
    let bytes = body.checked_add(lead)?.checked_add(guard)?;
    let plain = crate::large::request::<P>(bytes, align.max(guard))?;
    let span = SpanRequest { density: Density::Sparse, ..plain };
    Some(GuardedRequest { span, lead, body })
}

impl<C: HeapConfig> Core<C> {
    /// A block between guards; null when memory is exhausted or the request impossible.
    pub(super) fn allocate_guarded(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let Some(guarded) = self::request::<C::Pages>(request.size, request.align) else {
            return core::ptr::null_mut();
        };
        if let Some(span) = self.reopen(guarded, request.align) {
            let start = Address::new(span.object_map());
            return self.hand_out_guarded(slot, span, start, guarded.body, request.size);
        }
        let Some(span) = self.page_heap().allocate(self, guarded.span) else {
            return core::ptr::null_mut();
        };
        span.set_class(SizeClass::NONE);
        let pages = span.page_count::<C::Pages>();
        if !self.map().ensure(self.arena(), self.metadata(), span.first(), pages) {
            // SAFETY: the span was just allocated there, and nobody knows it.
            unsafe { self.page_heap().deallocate(self, span) };
            return core::ptr::null_mut();
        }
        self.map().set_range(span, SizeClass::NONE);
        let start = span.start::<C::Pages>().add(guarded.lead);
        if request.zeroed && !(span.is_zeroed() && self.is_untouched(span)) {
            // SAFETY: the span is ours, committed, and the block's pages lie in it.
            unsafe { start.pointer().write_bytes(0, request.size) };
        }
        span.set_zeroed(false);
        span.set_object_map(start.value());
        self.raise_guards(span, start, guarded.body);
        self.hand_out_guarded(slot, span, start, guarded.body, request.size)
    }

    /// Whether nothing of a span that should read as zero is in memory, so that nobody can have written to it since
    /// its last owner gave it up. Where the kernel does not tell, that is believed.
    fn is_untouched(&self, span: SpanHandle) -> bool {
        let found = self.source().residency(span.range::<C::Pages>());
        found.map_or(true, |found| found.resident_bytes + found.swapped_bytes == 0)
    }

    /// A freed block's span that waited long enough and stands between its guards, its pages accessible again and
    /// zero: one for such a request.
    fn reopen(&self, request: GuardedRequest<C::Pages>, align: usize) -> Option<SpanHandle> {
        let span = self.hardened.large.take_again::<C::Pages>(|span| {
            let start = span.start::<C::Pages>().value();
            span.note() & (GUARDED | CLOSED) == GUARDED | CLOSED
                && span.page_count::<C::Pages>() == request.span.pages
                && span.object_map() == start.wrapping_add(request.lead)
                && span.object_map().is_multiple_of(align)
        })?;
        // More than the last block's pages may be guard, which is as empty as they are.
        let block = AddressRange::new(span.object_map(), request.body);
        if !self.shorten_guard(span, block) || self.source().commit(block).is_err() {
            // Without the mappings of its guards it may do.
            self.give_back(span);
            return None;
        }
        span.set_note(span.note() & !CLOSED);
        Some(span)
    }

    /// Takes the marks from what was guard behind the freed block of a span, and is to be part of the next one.
    /// False if it cannot be had.
    fn shorten_guard(&self, span: SpanHandle, block: AddressRange) -> bool {
        let last = Self::body(Address::new(block.start), span.records() & !FREED);
        let more = AddressRange::new(last.end(), block.end().saturating_sub(last.end()));
        span.note() & MARKED == 0 || more.is_empty() || self.source().unmark_guard(more).is_ok()
    }

    /// Makes a span that is ours a block of `size` bytes, and counts it.
    #[unsafe(link_section = ".text_rarely")]
    fn hand_out_guarded(
        &self,
        slot: Slot,
        span: SpanHandle,
        start: Address,
        body: usize,
        size: usize,
    ) -> *mut u8 {
        self.write_large_canary(start, body, size);
        span.set_thread(self.thread_number(slot));
        span.set_records(size);
        self.large.note_allocated(span.bytes::<C::Pages>());
        self.note_large(span.bytes::<C::Pages>(), Call::Allocation);
        self.count_allocated(slot, span.bytes::<C::Pages>());
        start.pointer()
    }

    /// Takes a large block back, or tells what else the pointer is. `span` is the one that it lies in.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn deallocate_guarded(
        &self,
        slot: Slot,
        address: Address,
        span: Option<SpanHandle>,
        said: Said,
    ) {
        let Some((span, size)) = self.guarded_block(address, span, said.function()) else { return };
        if said.said().is_some_and(|(said, _)| said != size) {
            return self.report_large(Offence::WrongSize, said.function(), address, span);
        }
        if !self.is_large_canary_whole(address, size) {
            return self.report_large(Offence::Overflow, said.function(), address, span);
        }
        if span.exchange_records(size, size | FREED).is_err() {
            return self.report_large(Offence::DoubleFree, said.function(), address, span);
        }
        span.set_thread(self.thread_number(slot));
        self.large.note_deallocated(span.bytes::<C::Pages>());
        self.count_deallocated(slot, span.bytes::<C::Pages>());
        self.close_block(span, address, size);
        self.quarantine(span);
        self.note_large(size, Call::Deallocation);
    }

    /// The size of the large block at an address; of what is none it is told.
    pub(super) fn guarded_size(
        &self,
        address: Address,
        span: Option<SpanHandle>,
        function: Function,
    ) -> Option<usize> {
        self.guarded_block(address, span, function).map(|(_, size)| size)
    }

    /// Gives all freed blocks that wait to the page heap; says how many bytes.
    pub(crate) fn empty_large_quarantine(&self) -> u64 {
        let mut bytes = 0;
        while let Some(span) = self.hardened.large.take_oldest::<C::Pages>() {
            bytes += span.bytes::<C::Pages>() as u64;
            self.give_back(span);
        }
        bytes
    }

    /// Gives a large block of `old` bytes another size, if that takes the same kernel pages: the answer of
    /// `realloc`, null if the block is not as it was handed out. None if it takes others, and is.
    pub(super) fn resize_guarded(
        &self,
        slot: Slot,
        address: Address,
        span: SpanHandle,
        old: usize,
        request: BlockRequest,
    ) -> Option<*mut u8> {
        let BlockRequest { size, align, .. } = request;
        let tell = |offence| {
            self.report_large(offence, Function::Realloc, address, span);
            Some(core::ptr::null_mut())
        };
        if !self.is_large_canary_whole(address, old) {
            return tell(Offence::Overflow);
        }
        let body = body_bytes(old);
        let is_large = super::slot_entry::<C>(size, align).is_none();
        if !is_large || body_bytes(size) != body || !address.value().is_multiple_of(align) {
            return None;
        }
        if span.exchange_records(old, size).is_err() {
            return tell(Offence::UseOfFreedBlock);
        }
        span.set_thread(self.thread_number(slot));
        // SAFETY: the block is the caller's, and its pages reach as far for either size.
        unsafe { super::clear_between(address, body?, old, size) };
        self.write_large_canary(address, body?, size);
        Some(address.pointer())
    }

    /// The span and the size of the large block at an address; of what is none it is told.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn guarded_block(
        &self,
        address: Address,
        span: Option<SpanHandle>,
        function: Function,
    ) -> Option<(SpanHandle, usize)> {
        let freed = match function {
            Function::Free | Function::SizedFree => Offence::DoubleFree,
            _ => Offence::UseOfFreedBlock,
        };
        let report = |offence, span, last| {
            self.report_misuse(offence, function, address, span, last);
            None
        };
        let Some(span) = span else {
            self.report_no_block(function, address);
            return None;
        };
        if span.place() != SpanPlace::InUse {
            return report(freed, Some(span), LastOperation::Freed);
        }
        let word = span.records();
        if !span.class().is_none() || span.object_map() != address.value() {
            return report(Offence::InsideABlock, Some(span), LastOperation::Unknown);
        }
        if word & FREED != 0 {
            let last = LastOperation::FreedBy { thread: span.thread() };
            return report(freed, Some(span), last);
        }
        Some((span, word))
    }

    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    fn report_large(
        &self,
        offence: Offence,
        function: Function,
        address: Address,
        span: SpanHandle,
    ) {
        let (thread, word) = (span.thread(), span.records());
        let last = match word & FREED {
            0 => LastOperation::Allocated { thread, bytes: word },
            _ => LastOperation::FreedBy { thread },
        };
        self.report_misuse(offence, function, address, Some(span), last);
    }

    /// Makes the pages before and behind a block inaccessible, as far as kernel and budget let us.
    fn raise_guards(&self, span: SpanHandle, start: Address, body: usize) {
        let (range, block) = (span.range::<C::Pages>(), AddressRange::new(start.value(), body));
        let guards =
            [(before(range, block), GUARDED_BEFORE), (behind(range, block), GUARDED_BEHIND)];
        let mut note = 0;
        for (guard, mark) in guards {
            // SAFETY: the span is ours, and nothing is in its guards.
            if unsafe { self.source().mark_guard(guard) }.is_ok() {
                note |= mark | MARKED;
            }
        }
        if note & GUARDED != GUARDED && self.hardened.large.count_mapped() {
            for (guard, mark) in guards {
                // SAFETY: the span is ours, and nothing is in its guards.
                if note & mark == 0 && unsafe { self.source().decommit(guard) }.is_ok() {
                    note |= mark | MAPPED;
                }
            }
            if note & MAPPED == 0 {
                self.hardened.large.discount_mapped();
            }
        }
        span.set_note(note);
    }

    /// Makes the pages of a block that was freed inaccessible, or at least empty.
    fn close_block(&self, span: SpanHandle, start: Address, size: usize) {
        let body = Self::body(start, size);
        // SAFETY: the block was given up, by this call alone, as the exchange of its word says.
        if unsafe { self.source().decommit(body) }.is_ok() {
            span.set_note(span.note() | CLOSED);
            return;
        }
        // SAFETY: the block was given up, by this call alone, as the exchange of its word says.
        if unsafe { self.source().release(body, Release::Forced) }.is_err() {
            // SAFETY: the block was given up, by this call alone, as the exchange of its word says; the pages are
            // accessible still.
            unsafe { start.pointer().write_bytes(0, size) };
        }
    }

    /// Puts a freed block's span behind those that wait, and lets go those for which there is no room.
    fn quarantine(&self, span: SpanHandle) {
        let mut next = self.hardened.large.put::<C::Pages>(span);
        while let Some(span) = next {
            self.give_back(span);
            next = self.hardened.large.take_surplus::<C::Pages>();
        }
    }

    /// Gives a freed block's span to the page heap, all of it accessible. Where the kernel refuses that, the span is
    /// lost.
    #[unsafe(link_section = ".text_rarely")]
    fn give_back(&self, span: SpanHandle) {
        let (note, range) = (span.note(), span.range::<C::Pages>());
        if note & MAPPED != 0 {
            self.hardened.large.discount_mapped();
        }
        // All of it, whatever the note says: what an earlier block in it had, and the last one did not reach, is
        // closed as well.
        let is_open = self.source().commit(range).is_ok();
        if !is_open || note & MARKED != 0 && self.source().unmark_guard(range).is_err() {
            let bytes = span.bytes::<C::Pages>() as u64;
            self.hardened.large.note_lost(bytes);
            return;
        }
        let inner = span.page_count::<C::Pages>().saturating_sub(PageCount::new(2));
        self.map().clear_range(span.first() + PageCount::ONE, inner);
        self.map().set_ends(span);
        span.set_records(0);
        span.set_object_map(0);
        span.set_thread(0);
        span.set_note(0);
        // SAFETY: it came from this page heap, its block was given up, and it waits nowhere.
        unsafe { self.page_heap().deallocate(self, span) };
    }

    /// The kernel pages of the block of `size` bytes at `start`.
    fn body(start: Address, size: usize) -> AddressRange {
        AddressRange::new(start.value(), body_bytes(size).unwrap_or(size))
    }

    fn write_large_canary(&self, start: Address, body: usize, size: usize) {
        if body - size >= Canary::BYTES {
            // SAFETY: the block's pages are ours, and at least 8 bytes longer than the block.
            unsafe { self.hardened.canary(start).write(start, body, size) };
        }
    }

    fn is_large_canary_whole(&self, start: Address, size: usize) -> bool {
        let body = Self::body(start, size).bytes;
        let canary = self.hardened.canary(start);
        // SAFETY: the block's pages are accessible while it is out.
        body.saturating_sub(size) < Canary::BYTES || unsafe { canary.is_whole(start, body, size) }
    }
}

fn before(span: AddressRange, block: AddressRange) -> AddressRange {
    AddressRange::new(span.start, block.start.wrapping_sub(span.start))
}

fn behind(span: AddressRange, block: AddressRange) -> AddressRange {
    AddressRange::new(block.end(), span.end().wrapping_sub(block.end()))
}
