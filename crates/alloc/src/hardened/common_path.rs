//! The common ways through a hardened heap: of a thread that is alone with its shard, and of blocks that it had
//! handed out itself.
//!
//! No lock, no locked instruction, and no call but to clear what is long: what these paths cost is the number of
//! their instructions. Whatever is not as usual goes another way, most of it from the beginning. The caller, a
//! heap's closed path, knows that the thread has a record with a shard, and has counted the block as the class of
//! its size.

use super::{
    Canary,
    located::Located,
    record::{Record, State},
    shard::FreeSlot,
    zeroes,
};
use crate::{Core, HeapConfig, observer::Said, threads::HardenedUser};
use core::ptr::NonNull;
use strata_size_classes::{PageSize, SizeClass, SmallEntry};
use strata_span::Address;
use strata_sync::{
    atomic::AtomicU64,
    thread_block::{self, Slot},
};

/// Slots up to this many bytes are cleared and looked through without a loop, and the paths of their blocks without
/// a frame: where all that are as short are multiples of 16, as in each table of ours.
pub(crate) const fn short_slot<P: PageSize>() -> usize {
    let mut index = 1;
    while index < P::TABLE.count() {
        if let Some(class) = SizeClass::from_index(index) {
            let size = P::TABLE.size(class);
            if size > 8 && size <= zeroes::SHORT_SLOT && !size.is_multiple_of(16) {
                return 8;
            }
        }
        index += 1;
    }
    zeroes::SHORT_SLOT
}

/// The longest block in a slot that is as short.
const fn short_block<P: PageSize>() -> usize {
    let mut longest = 0;
    let mut index = 1;
    while index < P::TABLE.count() {
        if let Some(class) = SizeClass::from_index(index) {
            let size = P::TABLE.size(class);
            if size <= short_slot::<P>() && size - Canary::BYTES > longest {
                longest = size - Canary::BYTES;
            }
        }
        index += 1;
    }
    longest
}

/// The entry of a slot that is as short, for a request that is aligned as all slots are.
#[inline(always)]
pub(crate) fn short_entry<C: HeapConfig>(size: usize, align: usize) -> Option<SmallEntry> {
    if size > const { short_block::<C::Pages>() } || align > 8 {
        return None;
    }
    C::Pages::TABLE.small_entry(size.wrapping_add(Canary::BYTES))
}

/// The entry of a slot for a request that is aligned as all slots are.
#[inline(always)]
pub(crate) fn common_entry<C: HeapConfig>(size: usize, align: usize) -> Option<SmallEntry> {
    // Sizes without a class do not come here.
    let bytes = size.wrapping_add(Canary::BYTES);
    match C::Pages::TABLE.small_entry(bytes) {
        Some(entry) if align <= 8 => Some(entry),
        None if align <= 16 => C::Pages::TABLE.entry_above_1k(bytes),
        _ => None,
    }
}

/// A slot that was to be handed out, and what its record says: somebody has it, or wrote into it.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    start: Address,
    old: Record,
}

impl<C: HeapConfig> Core<C> {
    /// A block of a request's size in a slot of `entry`, if there is one this way. `counted` bytes, the class of
    /// its size, were counted as allocated by the user; they become the slot's if there is a block.
    ///
    /// # Errors
    ///
    /// The slot that was to be handed out, and cannot be, if that is why there is no block.
    #[inline(always)]
    pub(crate) fn allocate_hardened_commonly<const IS_SHORT: bool>(
        &self,
        user: HardenedUser<'_>,
        entry: SmallEntry,
        size: usize,
        counted: usize,
    ) -> Result<NonNull<u8>, Option<Taken>> {
        let words = user.words;
        let may_go_on = || !words.allocated.is_near_end() && !words.deallocated.is_near_end();
        let Some(free) = user.shard.take(user.token, entry.class(), may_go_on) else {
            return Err(None);
        };
        if let Err(old) = self.hand_out::<IS_SHORT>(free, entry.size(), size, user.holder) {
            return Err(Some(Taken { start: Address::of(free.start), old }));
        }
        user.words.allocated.count((entry.size() as u64).wrapping_sub(counted as u64));
        // SAFETY: slots are objects of spans, none of which lies at 0.
        Ok(unsafe { NonNull::new_unchecked(free.start) })
    }

    /// Tells of a slot that was to be handed out, and cannot be: it is left alone, and counted as one of this
    /// thread's shard.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn leave_taken(&self, slot: Slot, taken: Taken) {
        self.report_taken(taken.start, taken.old);
        if let (Some(user), Ok(located)) = (self.hardened_user(slot), self.locate_slot(taken.start))
        {
            user.shard.note_lost(located.class);
        }
    }

    /// Takes a block back, which was counted as one of `class`, of `bytes` bytes, that this thread gave back.
    /// `user` is this thread, if it is known. What was `said` is compared if `SAYS`.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more; of any other pointer it is told that it is not.
    #[inline(always)]
    pub(crate) unsafe fn deallocate_hardened_commonly<const IS_SHORT: bool, const SAYS: bool>(
        &self,
        pointer: *mut u8,
        slot: Slot,
        user: Option<HardenedUser<'_>>,
        class: SizeClass,
        bytes: usize,
        said: Said,
    ) {
        if let Some(user) = user
            && let Some(located) = self.locate_slot_of(Address::of(pointer), class, bytes)
        {
            let Some(size) = Record::give_back_own(located.record, user.holder) else {
                // SAFETY: the caller gives the block up, and slots are short where it says so.
                return unsafe {
                    self.deallocate_of_another::<IS_SHORT, SAYS>(
                        slot,
                        pointer,
                        class,
                        located.index,
                        located.record,
                        said,
                    )
                };
            };
            if !self.is_plainly_intact::<SAYS>(&located, size, said) {
                // SAFETY: the block was out and is given up, by this call alone, as its record says.
                return unsafe { self.deallocate_looking(slot, pointer, size, said) };
            }
            // SAFETY: the block was out and is given up, by this call alone, as its record says; slots are short
            // where the caller says so.
            unsafe { clear_slot::<IS_SHORT>(&located) };
            let free = FreeSlot { start: pointer, record: located.record };
            // SAFETY: the slot is free and zeroed, and nobody else has it.
            if !unsafe { user.shard.put(user.token, class, free) } {
                // SAFETY: the slot is free and zeroed, and nobody else has it.
                unsafe { self.put_flushing(slot, class, free) };
            }
            return;
        }
        // SAFETY: the caller gives the block up, and has counted it as given back.
        unsafe { self.deallocate_hardened_counted(slot, pointer, class, said) };
    }

    /// The same for a block that another thread had handed out, or for what is none: the slot at the pointer has
    /// this `index` in its span and this record. (What this is told fits into registers, so that nothing has to be
    /// written down on the way that does not come here.)
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_hardened_commonly`].
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_of_another<const IS_SHORT: bool, const SAYS: bool>(
        &self,
        slot: Slot,
        pointer: *mut u8,
        class: SizeClass,
        index: u32,
        record: &AtomicU64,
        said: Said,
    ) {
        let Some(user) = self.hardened_user(slot) else {
            // Not reached: who calls this is such a user.
            // SAFETY: the caller gives the block up, and has counted it as given back.
            return unsafe { self.deallocate_hardened_counted(slot, pointer, class, said) };
        };
        let (start, bytes) = (Address::of(pointer), C::Pages::TABLE.size(class));
        let located = &Located { class, start, bytes, index, record };
        let words = user.words;
        let old = Record::give_back(record, user.holder);
        if old.state() != State::Live {
            words.deallocated.take_back(bytes as u64);
            return self.report_no_longer_out(located, old, said);
        }
        if !self.is_plainly_intact::<SAYS>(located, old.size(), said)
            && !self.is_intact(located, old.size(), said)
        {
            words.deallocated.take_back(bytes as u64);
            return self.report_damaged(pointer, old, said, said.function());
        }
        // SAFETY: the block was out and is given up, by this call alone, as the exchange of its record says; slots
        // are short where the caller says so.
        unsafe { clear_slot::<IS_SHORT>(located) };
        let free = FreeSlot { start: pointer, record: located.record };
        // SAFETY: the slot is free and zeroed, and nobody else has it.
        if !unsafe { user.shard.put(user.token, class, free) } {
            // SAFETY: the slot is free and zeroed, and nobody else has it.
            unsafe { self.put_flushing(slot, class, free) };
        }
    }

    /// Takes a block back whose record says since a moment ago that this thread gave it back, and that has to be
    /// looked at again.
    ///
    /// # Safety
    ///
    /// The block, of `size` bytes, was out and is given up, by this call alone. It was counted as given back.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_looking(&self, slot: Slot, pointer: *mut u8, size: usize, said: Said) {
        // Always: it was found there.
        let Ok(located) = self.locate_slot(Address::of(pointer)) else { return };
        if self.is_intact(&located, size, said) {
            // SAFETY: the block was out and is given up, by this call alone, as the caller promises.
            return unsafe { self.take_in(slot, &located) };
        }
        // The block stays as it is, for ever.
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        words.deallocated.take_back(located.bytes as u64);
        let record = Record::live(size, self.holder(slot));
        self.report_damaged(pointer, record, said, said.function());
    }

    /// Clears a slot that is free, and has it wait.
    ///
    /// # Safety
    ///
    /// The slot's block is given up, by this call alone.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) unsafe fn take_in(&self, slot: Slot, located: &Located<'_>) {
        // SAFETY: the slot's block is given up, by this call alone: the slot is ours.
        unsafe { clear_slot::<false>(located) };
        let free = FreeSlot { start: located.start.pointer(), record: located.record };
        if let Some(user) = self.hardened_user(slot)
            // SAFETY: the slot is free and zeroed, and nobody else has it.
            && unsafe { user.shard.put(user.token, located.class, free) }
        {
            return;
        }
        // SAFETY: the slot is free and zeroed, and nobody else has it.
        unsafe { self.put_flushing(slot, located.class, free) };
    }

    /// Takes a block back another way: what was counted is taken back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_hardened_commonly`].
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_hardened_counted(
        &self,
        slot: Slot,
        pointer: *mut u8,
        class: SizeClass,
        said: Said,
    ) {
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        words.deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        // SAFETY: the caller gives the block up; its count was taken back, since it is counted again there.
        unsafe { self.deallocate_hardened(slot, pointer, said) };
    }
}

/// Clears a slot but for its last eight bytes; if `IS_SHORT`, it is as [`short_slot`] says.
///
/// # Safety
///
/// It is the caller's.
#[inline(always)]
unsafe fn clear_slot<const IS_SHORT: bool>(located: &Located<'_>) {
    if IS_SHORT {
        // SAFETY: the slot is the caller's; slots that are as short are as long and aligned as this asks for.
        unsafe { zeroes::clear_short_slot(located.start, located.bytes) };
    } else {
        // SAFETY: the slot is the caller's, and as long as its class says.
        unsafe { zeroes::clear(located.start, located.bytes - Canary::BYTES) };
    }
}
