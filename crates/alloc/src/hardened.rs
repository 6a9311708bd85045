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
mod common_path;
mod large;
mod large_quarantine;
mod located;
mod record;
mod reports;
mod shard;
mod sweep;
mod zeroes;

use self::canary::{Canary, Secret};
use self::large_quarantine::LargeQuarantine;
use self::located::{Divisor, Located};
use self::record::{Record, State};
pub(crate) use self::shard::Shard;
use self::shard::{FreeSlot, SHARDS};
pub(crate) use self::{
    common_path::{Taken, common_entry, short_entry, short_slot},
    record::Holder,
};
use crate::{
    Core, HeapConfig,
    background::Call,
    observer::{BlockRequest, Said},
};
use core::{cell::UnsafeCell, hint::cold_path, ptr::NonNull};
use strata_os::{possible_cpus, random_bits, thread_pointer};
use strata_size_classes::{CLASS_SLOTS, ClassEntry, PageSize, SizeClass, SizeClassTable};
use strata_span::{Address, Function, MetadataKind, Offence, Platform};
use strata_sync::{
    asymmetric::prepare_heavy_fence,
    atomic::{AtomicPtr, AtomicU32, Ordering},
    owned::Token,
    thread_block::{self, Slot},
};

/// What a hardened heap has beside the layers. All zero bits are that of a heap that is not hardened.
#[derive(Debug)]
pub(crate) struct Hardened {
    numbers: Numbers,
    /// Pools and quarantines. Written before the first block.
    shards: AtomicPtr<Shard>,
    /// How many there are.
    count: AtomicU32,
    large: LargeQuarantine,
}

/// What calls reckon with: written before the first block, and never again, so that it need not be read as atomics are.
struct Numbers(UnsafeCell<NumbersOnce>);

struct NumbersOnce {
    secret: Secret,
    divisors: [Divisor; CLASS_SLOTS],
}

// SAFETY: who writes them does so before another thread knows of the heap, which `Numbers::begin` has its caller promise.
unsafe impl Sync for Numbers {}

impl core::fmt::Debug for Numbers {
    /// They are secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Numbers")
    }
}

impl Numbers {
    /// # Safety
    ///
    /// No other thread knows of the heap yet, and nobody reads these at the same time.
    unsafe fn begin(&self, secret: Secret, table: &SizeClassTable) {
        // SAFETY: the caller's promise: nobody else reads or writes.
        let numbers = unsafe { &mut *self.0.get() };
        numbers.secret = secret;
        for class in table.classes() {
            numbers.divisors[class.index()] = Divisor::of(table.size(class));
        }
    }

    #[inline(always)]
    fn get(&self) -> &NumbersOnce {
        // SAFETY: they were written before anybody who may call this knew of the heap, and are not written again.
        unsafe { &*self.0.get() }
    }
}

/// The entry of a slot for a request: the block and its canary; none for a large block.
#[inline]
fn slot_entry<C: HeapConfig>(size: usize, align: usize) -> Option<ClassEntry> {
    crate::Heap::<C>::entry(size.checked_add(Canary::BYTES)?, align)
}

/// A block whose slot was in some state before, zero if it has to be: what was free is, as far as that was looked at.
fn cleared(free: FreeSlot, was: State, entry: ClassEntry, request: BlockRequest) -> *mut u8 {
    let is_looked_at = entry.size() - Canary::BYTES <= canary::CHECKED_WHOLE;
    if request.zeroed && (was != State::Freed || !is_looked_at) {
        // SAFETY: the slot is the caller's alone, and longer than what was asked for.
        unsafe { free.start.write_bytes(0, request.size) };
    }
    free.start
}

/// Clears what a block of one size has and one of the other has not, and the canary behind it, up to `end` bytes from its
/// `start`: so that who makes a block longer where it is reads there neither what he cut off nor the canary.
///
/// # Safety
///
/// So many bytes are the caller's, no fewer than either block has.
unsafe fn clear_between(start: Address, end: usize, one: usize, other: usize) {
    let from = one.min(other);
    let to = one.max(other).saturating_add(Canary::BYTES).min(end);
    // SAFETY: the caller's promise: the bytes up to there are his.
    unsafe { start.add(from).pointer().write_bytes(0, to - from) };
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
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn prepare_hardened(&self) -> bool {
        let count = possible_cpus().clamp(1, SHARDS);
        let bytes = count as usize * size_of::<Shard>();
        let piece =
            self.arena().allocate(self.metadata(), bytes, align_of::<Shard>(), MetadataKind::Other);
        let Some(piece) = piece else { return false };
        // SAFETY: the heap is being set up: the first block, and by that other threads, come later.
        unsafe {
            self.hardened.numbers.begin(Secret::of(random_bits(), random_bits()), C::Pages::TABLE);
        };
        self.hardened.count.store(count, Ordering::Relaxed);
        zeroes::begin();
        self.hardened.shards.store(piece.cast().as_ptr(), Ordering::Release);
        let ownable = prepare_heavy_fence();
        for shard in self.hardened.shards() {
            // SAFETY: the heap is being set up: other threads come later.
            unsafe { shard.begin(random_bits(), ownable, C::Pages::TABLE) };
        }
        self.middle().object_maps().keep_records();
        true
    }

    /// A block; null when memory is exhausted or the request impossible. For what the [common way](common_path) is
    /// not open to.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate_hardened<const ZEROED: bool>(
        &self,
        slot: Slot,
        size: usize,
        align: usize,
    ) -> *mut u8 {
        let request = BlockRequest { size, align, zeroed: ZEROED };
        if let Some(entry) = slot_entry::<C>(size, align)
            && let Some(user) = self.hardened_user(slot)
            && let Some(free) = user.shard.take(user.token, entry.class(), || true)
        {
            match self.hand_out::<false>(free, entry.size(), size, user.holder) {
                Ok(was) => {
                    if user.words.allocated.count_closed(entry.size() as u64)
                        || user.words.deallocated.is_near_end()
                    {
                        self.see_to_counters(slot);
                    }
                    return cleared(free, was, entry, request);
                }
                // Somebody has it, or wrote into it: it is left alone.
                Err(old) => {
                    self.report_taken(Address::of(free.start), old);
                    user.shard.note_lost(entry.class());
                }
            }
        }
        self.allocate_hardened_refilling(slot, request)
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_hardened_refilling(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let block = self.allocate_hardened_once(slot, request);
        if block.is_null() { self.allocate_hardened_at_last(slot, request) } else { block }
    }

    /// A block after there was none: apart, so that who found one has not the stack of this.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_hardened_at_last(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        if !self.has_had(request.size) {
            return core::ptr::null_mut();
        }
        let again = || NonNull::new(self.allocate_hardened_once(slot, request));
        let found = self.allocate_at_last(slot, request.size, again);
        found.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    #[unsafe(link_section = ".text_rarely")]
    fn allocate_hardened_once(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let Some(entry) = slot_entry::<C>(request.size, request.align) else {
            return self.allocate_guarded(slot, request);
        };
        let holder = self.holder(slot);
        while let Some((shard, token)) = self.shard_of_thread(slot) {
            let (free, missed) =
                shard.take_filling(token, &self.source_of_objects(), entry.class(), |object| {
                    let (start, bytes) = (Address::of(object), entry.size());
                    let located = self.locate_slot_of(start, entry.class(), bytes)?;
                    if Record::load(located.record).state() == State::New {
                        self.close_end_before(&located);
                    }
                    Some(core::ptr::from_ref(located.record))
                });
            if missed {
                self.note_miss(Call::Allocation);
            }
            let Some(free) = free else { break };
            match self.hand_out::<false>(free, entry.size(), request.size, holder) {
                Ok(was) => {
                    self.count_allocated(slot, entry.size());
                    return cleared(free, was, entry, request);
                }
                Err(old) => {
                    self.report_taken(Address::of(free.start), old);
                    shard.note_lost(entry.class());
                }
            }
        }
        core::ptr::null_mut()
    }

    /// Makes a slot that is ours, of `bytes` bytes, a block of `size`: says what it was before. `IS_SHORT`: it is a short
    /// one, as [`short_slot`] says.
    ///
    /// # Errors
    ///
    /// What its record says, if that is that it is a block, or somebody wrote into it while it was none.
    #[inline(always)]
    fn hand_out<const IS_SHORT: bool>(
        &self,
        free: FreeSlot,
        bytes: usize,
        size: usize,
        holder: Holder,
    ) -> Result<State, Record> {
        let start = Address::of(free.start);
        // SAFETY: records are zeroed words in metadata that stays mapped, shared only as atomics.
        let record = unsafe { &*free.record };
        let canary = self.hardened.canary(start);
        let old = Record::load(record);
        if old.is_freed() {
            let is_untouched = if IS_SHORT {
                // SAFETY: the slot is ours, and as long as its class says.
                unsafe { canary.is_short_untouched(start, bytes) }
            } else {
                // SAFETY: the slot is ours, and as long as its class says.
                unsafe { canary.is_untouched(start, bytes) }
            };
            if !is_untouched {
                return Err(old);
            }
        } else {
            cold_path();
            if old.state() != State::New {
                return Err(old);
            }
        }
        // SAFETY: the slot is ours, and as long as its class says.
        unsafe { canary.write(start, bytes, size) };
        Record::live(size, holder).store(record);
        Ok(old.state())
    }

    /// Takes a block back: whoever handed it out, and what is none is told of. For what the [common
    /// way](common_path) is not open to.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more; of any other pointer it is told that it is not.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn deallocate_hardened(&self, slot: Slot, pointer: *mut u8, said: Said) {
        let address = Address::of(pointer);
        let located = match self.locate_slot(address) {
            Ok(located) => located,
            Err(span) => return self.deallocate_guarded(slot, address, span, said),
        };
        let old = Record::give_back(located.record, self.holder(slot));
        if old.state() != State::Live {
            return self.report_no_longer_out(&located, old, said);
        }
        if !self.is_intact(&located, old.size(), said) {
            return self.report_damaged(pointer, old, said, said.function());
        }
        self.count_deallocated(slot, located.bytes);
        // SAFETY: the block was out and is given up, by this call alone, as the exchange of its record says.
        unsafe { self.take_in(slot, &located) };
    }

    /// Puts a slot into quarantine where that takes a lock, or makes others go.
    ///
    /// # Safety
    ///
    /// The slot is free and zeroed, and nobody else has it.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn put_flushing(&self, slot: Slot, class: SizeClass, free: FreeSlot) {
        if let Some((shard, token)) = self.shard_of_thread(slot) {
            // SAFETY: the slot is free and zeroed, and nobody else has it, as the caller promises.
            if unsafe { shard.put_flushing(token, &self.source_of_objects(), class, free) } {
                self.note_miss(Call::Deallocation);
            }
        }
        // SAFETY: the words are this thread's own.
        if unsafe { &*thread_block::words(slot) }.deallocated.is_near_end() {
            self.see_to_counters(slot);
        }
    }

    /// This thread, as records name it.
    fn holder(&self, slot: Slot) -> Holder {
        Holder::of_thread(self.thread_number(slot))
    }

    /// The shard of this thread, and what this thread is told from others by: not where another one may run with its words.
    fn shard_of_thread(&self, slot: Slot) -> Option<(&Shard, Token)> {
        match self.hardened_user(slot) {
            Some(user) => Some((user.shard, user.token)),
            None => Some((self.hardened.any_shard()?, Token::NONE)),
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
                if !self.is_intact(&located, record.size(), Said::NOTHING) {
                    self.report_damaged(pointer, record, Said::NOTHING, Function::Realloc);
                    return core::ptr::null_mut();
                }
                let entry = slot_entry::<C>(request.size, request.align);
                if entry.is_some_and(|entry| entry.class() == located.class) {
                    return self.resize_in_place(&located, record, request, slot);
                }
                record.size()
            }
            Err(span) => {
                let Some((span, size)) = self.guarded_block(address, span, Function::Realloc)
                else {
                    return core::ptr::null_mut();
                };
                if let Some(block) = self.resize_guarded(slot, address, span, size, request) {
                    return block;
                }
                size
            }
        };
        let block = self.allocate_hardened::<false>(slot, request.size, request.align);
        if !block.is_null() {
            // SAFETY: both blocks are at least this long, and the new one is nobody else's.
            unsafe { block.copy_from_nonoverlapping(pointer, old_size.min(request.size)) };
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate_hardened(slot, pointer, Said::NOTHING) };
        }
        block
    }

    /// Changes the size of a block, which is as it was handed out, within its slot.
    fn resize_in_place(
        &self,
        located: &Located<'_>,
        old: Record,
        request: BlockRequest,
        slot: Slot,
    ) -> *mut u8 {
        let canary = self.hardened.canary(located.start);
        // Not the slot's last eight bytes, which who has the next slot may look at meanwhile.
        let end = located.bytes - Canary::BYTES;
        // SAFETY: the block is the caller's, and its slot as long as its class says: that much longer than either.
        unsafe { clear_between(located.start, end, old.size(), request.size) };
        // SAFETY: the block is the caller's, and its slot as long as its class says.
        unsafe { canary.write(located.start, located.bytes, request.size) };
        Record::live(request.size, self.holder(slot)).store(located.record);
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

    /// Bytes of slots and spans that are neither the program's nor the layers', and whether those of large blocks
    /// could not be read and are missing.
    pub(crate) fn held_bytes(&self, table: &SizeClassTable) -> (u64, bool) {
        let shards = self.shards().iter().map(|shard| shard.held_bytes(table));
        let large = self.large.held_bytes();
        (shards.sum::<u64>() + large.unwrap_or(0), large.is_none())
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
            // SAFETY: `acquire` took every lock of these, in this thread or in the one that forked it, and no guard
            // of any lives.
            unsafe { shard.release() };
        }
    }

    /// A shard for a thread that is not known.
    fn any_shard(&self) -> Option<&Shard> {
        let shards = self.shards();
        // Threads' blocks lie at multiples of 64 at least.
        let hash = (thread_pointer() >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        shards.get((hash * shards.len()) >> 32)
    }

    /// The shard that fewest threads have, with one more; null in a heap that is not hardened.
    pub(crate) fn new_users_shard(&self) -> *const Shard {
        let Some(shard) = self.shards().iter().min_by_key(|shard| shard.users()) else {
            return core::ptr::null();
        };
        shard.add_user();
        shard
    }

    /// In the child of a fork: this thread alone has a shard.
    ///
    /// # Safety
    ///
    /// The process is such a child, of a thread that took the locks with [`Self::acquire`], and gave them back here.
    pub(crate) unsafe fn forget_vanished(&self, own: *const Shard) {
        for shard in self.shards() {
            // SAFETY: the process is the child of a thread that took the shard's lock with the others, and gave it back
            // here.
            unsafe { shard.forget_vanished(core::ptr::eq(shard, own)) };
        }
    }

    #[inline(always)]
    fn canary(&self, start: Address) -> Canary {
        Canary::of(start, &self.numbers.get().secret)
    }
}
