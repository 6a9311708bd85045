//! The hardened heap: every block's state is known, and what leaves a block's bounds or its life is found.
//!
//! An object of a class is a *slot*. The block begins where the slot does and is as long as was asked for, to the
//! byte; what is left of the slot, at least 8 bytes, is canary. Free slots hold zeroes and the last 8 bytes of
//! canary. Nothing of ours in them leads anywhere.
//!
//! Beside the span stands a [record](record) for each slot: whether it was never handed out, is out, or was freed, by
//! which thread, and with how many bytes. So a free that is not a block's is found at once, whichever way it is wrong.
//!
//! A freed slot waits in [quarantine](shard), is chosen from there at random, and goes into a pool, from which blocks are
//! chosen at random again. Pools fill from the middle tier and flush to it.
//!
//! Large blocks have guard pages on both sides, and their addresses fault after they were freed: see
//! [`large`].

mod canary;
mod large;
mod owned;
mod record;
mod shard;
mod sweep;

use self::canary::Canary;
use self::owned::Token;
use self::record::{Record, State};
use self::shard::{SHARDS, Shard};
use crate::{
    Core, HeapConfig,
    background::Call,
    observer::{BlockRequest, Said},
};
use core::ptr::NonNull;
use strata_os::{possible_cpus, random_bits, thread_pointer};
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
use strata_span::{
    Address, Function, LastOperation, MetadataKind, Offence, Platform, SpanHandle, SpanPlace,
};
use strata_sync::{
    asymmetric::prepare_heavy_fence,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    thread_block::{self, Slot},
};

/// What a hardened heap has beside the layers. All zero bits are that of a heap that is not hardened.
#[derive(Debug)]
pub(crate) struct Hardened {
    /// Mixed into canaries. Written before the first block.
    secret: AtomicU64,
    /// Pools and quarantines. Written before the first block.
    shards: AtomicPtr<Shard>,
    /// How many there are.
    count: AtomicU32,
    large: large::LargeQuarantine,
}

/// A slot, and what is known of it.
#[derive(Clone, Copy)]
struct Located<'a> {
    span: SpanHandle,
    class: SizeClass,
    start: Address,
    bytes: usize,
    index: u32,
    record: &'a AtomicU64,
}

/// The entry of a slot for a request: the block and its canary; none for a large block.
fn slot_entry<C: HeapConfig>(size: usize, align: usize) -> Option<ClassEntry> {
    crate::Heap::<C>::entry(size.checked_add(Canary::BYTES)?, align)
}

/// How many bytes a block of such a request has: what was asked for, if that can be had.
pub(crate) fn rounded_size<C: HeapConfig>(size: usize, align: usize) -> Option<usize> {
    match slot_entry::<C>(size, align) {
        Some(_) => Some(size),
        None => large::request::<C::Pages>(size, align).map(|_| size),
    }
}

impl<C: HeapConfig> Core<C> {
    /// Makes what the policy needs before the first block. False when there is no memory for it.
    pub(crate) fn prepare_hardened(&self) -> bool {
        let count = possible_cpus().clamp(1, SHARDS);
        let bytes = count as usize * size_of::<Shard>();
        let piece =
            self.arena().allocate(self.metadata(), bytes, align_of::<Shard>(), MetadataKind::Other);
        let Some(piece) = piece else { return false };
        self.hardened.secret.store(random_bits(), Ordering::Relaxed);
        self.hardened.count.store(count, Ordering::Relaxed);
        self.hardened.shards.store(piece.cast().as_ptr(), Ordering::Release);
        let ownable = prepare_heavy_fence();
        for shard in self.hardened.shards() {
            shard.begin(random_bits(), ownable);
        }
        self.middle().object_maps().keep_records();
        true
    }

    /// A block; null when memory is exhausted or the request impossible.
    pub(crate) fn allocate_hardened(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let mut block = self.allocate_hardened_once(slot, request);
        if block.is_null() && !self.has_had(request.size) {
            return block;
        }
        if block.is_null() && self.empty_caches(slot) > 0 {
            block = self.allocate_hardened_once(slot, request);
        }
        while block.is_null() && self.make_room() {
            block = self.allocate_hardened_once(slot, request);
        }
        block
    }

    #[unsafe(link_section = ".text_rarely")]
    fn allocate_hardened_once(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let Some(entry) = slot_entry::<C>(request.size, request.align) else {
            return self.allocate_guarded(slot, request);
        };
        let thread = self.thread_number(slot);
        while let Some((shard, token)) = self.hardened.shard() {
            let (object, missed) =
                shard.allocate(token, &self.source_of_objects(), C::Pages::TABLE, entry.class());
            if missed {
                self.note_miss(Call::Allocation);
            }
            if object.is_null() {
                break;
            }
            let address = Address::of(object);
            let Ok(located) = self.locate_slot(address) else {
                // Not reached: the middle tier hands out objects of spans with records alone.
                break;
            };
            if !self.hand_out(&located, request, thread) {
                // Somebody wrote into it, which was reported: it is left alone.
                shard.note_lost(token, C::Pages::TABLE, entry.class());
                continue;
            }
            self.count_allocated(slot, located.bytes);
            return object;
        }
        core::ptr::null_mut()
    }

    /// Makes a slot that is ours a block; false if its content says that somebody wrote into it.
    fn hand_out(&self, located: &Located<'_>, request: BlockRequest, thread: u32) -> bool {
        let canary = self.hardened.canary(located.start);
        let old = Record::load(located.record);
        let content = located.bytes - Canary::BYTES;
        if old.state() == State::Freed {
            // SAFETY: the slot is ours, and as long as its class says.
            let untouched = unsafe { canary.is_untouched(located.start, located.bytes) };
            if !untouched {
                self.report_slot(Offence::WriteAfterFree, Function::Malloc, located, old);
                return false;
            }
        }
        if request.zeroed && (old.state() != State::Freed || content > canary::CHECKED_WHOLE) {
            // SAFETY: the slot is ours, and longer than what was asked for.
            unsafe { located.start.pointer().write_bytes(0, request.size) };
        }
        // SAFETY: as above.
        unsafe { canary.write(located.start, located.bytes, request.size) };
        Record::live(request.size, thread).store(located.record);
        true
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more; of any other pointer it is told that it is not.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn deallocate_hardened(&self, slot: Slot, pointer: *mut u8, said: Said) {
        let address = Address::of(pointer);
        let located = match self.locate_slot(address) {
            Ok(located) => located,
            Err(span) => return self.deallocate_guarded(slot, address, span, said),
        };
        let thread = self.thread_number(slot);
        let old = Record::swap(located.record, Record::freed(thread));
        if old.state() != State::Live {
            old.store(located.record);
            let offence = match old.state() {
                State::Freed => Offence::DoubleFree,
                State::New | State::Live => Offence::NeverHandedOut,
            };
            return self.report_slot(offence, said.function(), &located, old);
        }
        if !self.is_intact(&located, old, said) {
            // The block stays as it is, for ever.
            return;
        }
        // SAFETY: the block was out and is given up, by this call alone, as the exchange of its record says.
        unsafe { located.start.pointer().write_bytes(0, located.bytes - Canary::BYTES) };
        self.count_deallocated(slot, located.bytes);
        if let Some((shard, token)) = self.hardened.shard() {
            let table = C::Pages::TABLE;
            // SAFETY: the slot is free and zeroed, and nobody else has it.
            let overflowed = unsafe {
                shard.deallocate(token, &self.source_of_objects(), table, located.class, pointer)
            };
            if overflowed {
                self.note_miss(Call::Deallocation);
            }
        }
    }

    /// The block with another size; null when memory is exhausted, and then the old block stays.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap of which nobody else knows; of any other pointer it is told that it is not.
    pub(crate) unsafe fn reallocate_hardened(
        &self,
        slot: Slot,
        pointer: *mut u8,
        request: BlockRequest,
    ) -> *mut u8 {
        let address = Address::of(pointer);
        let old_size = match self.locate_slot(address) {
            Ok(located) => {
                let record = Record::load(located.record);
                if record.state() != State::Live {
                    self.report_slot(Offence::UseOfFreedBlock, Function::Realloc, &located, record);
                    return core::ptr::null_mut();
                }
                let entry = slot_entry::<C>(request.size, request.align);
                if entry.is_some_and(|entry| entry.class() == located.class) {
                    return self.resize_in_place(&located, record, request, slot);
                }
                record.size()
            }
            Err(span) => match self.guarded_size(address, span, Function::Realloc) {
                Some(size) if size == request.size => return pointer,
                Some(size) => size,
                None => return core::ptr::null_mut(),
            },
        };
        let block = self.allocate_hardened(slot, request);
        if !block.is_null() {
            // SAFETY: both blocks are at least this long, and the new one is nobody else's.
            unsafe { block.copy_from_nonoverlapping(pointer, old_size.min(request.size)) };
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate_hardened(slot, pointer, Said::NOTHING) };
        }
        block
    }

    /// Changes the size of a block within its slot.
    fn resize_in_place(
        &self,
        located: &Located<'_>,
        old: Record,
        request: BlockRequest,
        slot: Slot,
    ) -> *mut u8 {
        if !self.is_intact(located, old, Said::NOTHING) {
            return core::ptr::null_mut();
        }
        let canary = self.hardened.canary(located.start);
        // SAFETY: the block is the caller's, and its slot as long as its class says.
        unsafe { canary.write(located.start, located.bytes, request.size) };
        Record::live(request.size, self.thread_number(slot)).store(located.record);
        located.start.pointer()
    }

    /// How many bytes a block has; 0 for what is none. A block that is free is told of.
    pub(crate) fn usable_size_hardened(&self, pointer: *mut u8) -> usize {
        let address = Address::of(pointer);
        match self.locate_slot(address) {
            Ok(located) => {
                let record = Record::load(located.record);
                if record.state() == State::Live {
                    return record.size();
                }
                let offence = Offence::UseOfFreedBlock;
                self.report_slot(offence, Function::UsableSize, &located, record);
                0
            }
            Err(span) => self.guarded_size(address, span, Function::UsableSize).unwrap_or(0),
        }
    }

    /// Whether a block that is given back is as it was handed out: its size, its canary, and that of the slot before it.
    /// What is not is told.
    fn is_intact(&self, located: &Located<'_>, record: Record, said: Said) -> bool {
        let function = said.function();
        if let Some((size, _)) = said.said()
            && size != record.size()
        {
            self.report_slot(Offence::WrongSize, function, located, record);
            return false;
        }
        let canary = self.hardened.canary(located.start);
        // SAFETY: the slot is a block's, and as long as its class says.
        if !unsafe { canary.is_whole(located.start, located.bytes, record.size()) } {
            self.report_slot(Offence::Overflow, function, located, record);
            return false;
        }
        if !self.is_neighbour_whole(located) {
            self.report_slot(Offence::Underflow, function, located, record);
            return false;
        }
        true
    }

    /// Whether the last bytes of the slot before are canary still, if they ever were.
    fn is_neighbour_whole(&self, located: &Located<'_>) -> bool {
        let Some(index) = located.index.checked_sub(1) else { return true };
        let Some(record) = record_of(located.span, index) else { return true };
        let start = Address::new(located.start.value().wrapping_sub(located.bytes));
        let canary = self.hardened.canary(start);
        match Record::load(record).state() {
            State::New => true,
            // SAFETY: the slot before was handed out once, so that its end is canary since, and the span is in use.
            State::Live => unsafe { canary.is_end_whole(start, located.bytes) },
            // SAFETY: as above.
            State::Freed => unsafe { canary.is_free_end_whole(start, located.bytes) },
        }
    }

    /// The slot that begins at an address, or else the span that the address lies in.
    fn locate_slot(&self, address: Address) -> Result<Located<'_>, Option<SpanHandle>> {
        let span = self.map().span_at(address.value()).ok_or(None)?;
        let class = span.class();
        if class.is_none() || span.place() != SpanPlace::InUse {
            return Err(Some(span));
        }
        let info = C::Pages::TABLE.info(class);
        let bytes = info.size as usize;
        let offset = address.offset_from(span.objects_start::<C::Pages>());
        let index = info.object_index(offset);
        if index >= span.object_capacity() || index as usize * bytes != offset {
            return Err(Some(span));
        }
        let record = record_of(span, index).ok_or(Some(span))?;
        Ok(Located { span, class, start: address, bytes, index, record })
    }

    #[cold]
    #[inline(never)]
    fn report_slot(
        &self,
        offence: Offence,
        function: Function,
        located: &Located<'_>,
        record: Record,
    ) {
        let last = record.last_operation();
        self.report_misuse(offence, function, located.start, Some(located.span), last);
    }
}

impl Hardened {
    /// All pools and quarantines; none in a heap that is not hardened.
    pub(crate) fn shards(&self) -> &[Shard] {
        // Acquire pairs with the release in `prepare_hardened`.
        let Some(first) = NonNull::new(self.shards.load(Ordering::Acquire)) else { return &[] };
        let count = self.count.load(Ordering::Relaxed) as usize;
        // SAFETY: the arena gave zeroed memory for so many shards, which are valid so, and stay.
        unsafe { NonNull::slice_from_raw_parts(first, count).as_ref() }
    }

    /// Bytes of slots and spans that are neither the program's nor the layers'.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.shards().iter().map(Shard::held_bytes).sum::<u64>() + self.large.held_bytes()
    }

    /// Slots of a class that are neither the program's nor the layers'.
    pub(crate) fn slots(&self, class: SizeClass) -> u64 {
        self.shards().iter().map(|shard| shard.slots(class)).sum()
    }

    /// Takes the locks, so that a fork finds everything at rest.
    pub(crate) fn acquire(&self) {
        self.shards().iter().for_each(Shard::acquire);
        self.large.acquire();
    }

    /// Gives them back.
    ///
    /// # Safety
    ///
    /// This thread took them with [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took every lock of these, in this thread or in the one that forked it, and no guard of
        // any lives.
        unsafe { self.large.release() };
        for shard in self.shards().iter().rev() {
            // SAFETY: as above.
            unsafe { shard.release() };
        }
    }

    /// The shard of this thread, and what this thread is told from others by: not where another one may run with its words.
    fn shard(&self) -> Option<(&Shard, Token)> {
        let shards = self.shards();
        let thread = thread_pointer();
        // Threads' blocks lie at multiples of 64 at least.
        let hash = (thread >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let shard = shards.get((hash * shards.len()) >> 32)?;
        let is_one = thread_block::block().reentry.load(Ordering::Relaxed) == 0;
        Some((shard, if is_one { Token::of_thread(thread) } else { Token::NONE }))
    }

    fn canary(&self, start: Address) -> Canary {
        Canary::of(start, self.secret.load(Ordering::Relaxed))
    }
}

/// The record of a slot, if its span has records.
fn record_of<'a>(span: SpanHandle, index: u32) -> Option<&'a AtomicU64> {
    let first = Address::new(span.records()).non_null()?.cast::<AtomicU64>();
    if index >= span.object_capacity() {
        return None;
    }
    // SAFETY: a span with a class has as many records as slots, in metadata, which stays mapped.
    let record = unsafe { first.add(index as usize) };
    // SAFETY: as above; zeroed words are records, shared only as atomics.
    Some(unsafe { record.as_ref() })
}

impl Record {
    fn last_operation(self) -> LastOperation {
        match self.state() {
            State::New => LastOperation::None,
            State::Live => LastOperation::Allocated { thread: self.thread(), bytes: self.size() },
            State::Freed => LastOperation::FreedBy { thread: self.thread() },
        }
    }
}
