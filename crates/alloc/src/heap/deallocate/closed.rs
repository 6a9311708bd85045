//! How a block comes back where the common path is closed to its thread, or the CPU's cache has no room.

use crate::{
    FrontEnd, Heap, HeapConfig, Observer, hardened, heap::own_words, mark, observer::Said,
    own_cache::OwnCache, threads::HardenedRecord,
};
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::thread_block::{self, Slot, ThreadBlock};

impl<C: HeapConfig> Heap<C> {
    /// The path is closed to this thread. The block of one that has a cache of its own goes there: what was counted
    /// stays counted.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(never)]
    // The pointer comes first in these: it stays in the register that it came in.
    pub(super) unsafe fn deallocate_closed<const SAYS: bool>(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
        bytes: usize,
        said: Said,
    ) {
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        if let Some(record) = HardenedRecord::of(unsafe { &*own.words(slot) }) {
            if bytes <= const { hardened::short_slot::<C::Pages>() } {
                // SAFETY: a hardened heap takes any pointer: what is no block of it is told of. The class's slots are short.
                return unsafe {
                    self.deallocate_hardened::<true, SAYS>(pointer, class, bytes, said, record, own)
                };
            }
            // SAFETY: a hardened heap takes any pointer: what is no block of it is told of.
            return unsafe {
                self.deallocate_hardened::<false, SAYS>(pointer, class, bytes, said, record, own)
            };
        }
        // SAFETY: the block is of this class, and its owner gave it up.
        unsafe { self.deallocate_to_own(pointer, slot, class, said, own) };
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(never)]
    unsafe fn deallocate_to_own(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
        said: Said,
        own: &ThreadBlock,
    ) {
        // SAFETY: the block is of this class, and its owner gave it up.
        match unsafe { Self::push_own(pointer, own, slot, class) } {
            Some(false) => {}
            Some(true) => self.flush_own(slot, class),
            // SAFETY: the block is of this class, its owner gave it up, and no cache took it.
            None => unsafe { self.deallocate_uncounted(pointer, slot, class, said) },
        }
    }

    /// Gives a block to this thread's own cache, where it has one and all is as usual; says whether that has too much then.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(always)]
    unsafe fn push_own(
        pointer: *mut u8,
        own: &ThreadBlock,
        slot: Slot,
        class: SizeClass,
    ) -> Option<bool> {
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        if words.deallocated.has_come_near_end() {
            return None;
        }
        let cache = OwnCache::<C::Pages>::at_hand(own, words)?;
        // SAFETY: the heap is not observed, since this thread has a cache; and a page of a class's is followed by
        // the rest of its span or another page of the source's.
        if unsafe { mark::is_set(pointer) } {
            return None;
        }
        // SAFETY: the cache is this thread's own; the block is the caller's to give.
        unsafe { cache.push_sound(class, C::Pages::TABLE.size(class), pointer) }
    }

    #[cold]
    #[inline(never)]
    fn flush_own(&self, slot: Slot, class: SizeClass) {
        if let Some(core) = self.core() {
            core.flush_own(slot, class);
        }
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_uncounted(
        &self,
        pointer: *mut u8,
        counted_in: Slot,
        class: SizeClass,
        said: Said,
    ) {
        own_words(counted_in).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        match self.core() {
            Some(core) if core.observer() == Some(Observer::Hardened) => {
                // SAFETY: a hardened heap takes any pointer: what is no block of it is told of.
                unsafe { core.deallocate_hardened(self.slot(), pointer, said) }
            }
            // SAFETY: the block is of this class, and its owner gave it up.
            _ => unsafe { self.deallocate_uncommonly(class, pointer, said) },
        }
    }

    /// What is not counted yet goes off the common path.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    pub(super) unsafe fn deallocate_uncommonly(
        &self,
        class: SizeClass,
        pointer: *mut u8,
        said: Said,
    ) {
        let Some(core) = self.core() else {
            return crate::misuse::before_the_first_block(said.function(), pointer);
        };
        let slot = self.slot();
        match core.front_end() {
            // SAFETY: its owner gave the block up, which the observer looks at before anything else.
            FrontEnd::Observed(observer) => unsafe {
                core.deallocate_observed(slot, observer, pointer, said)
            },
            FrontEnd::PerThread(_) if !self.is_unmarked_or_live(class, pointer, said) => {}
            // SAFETY: the block is of this class, and its owner gave it up.
            FrontEnd::PerCpu(_) | FrontEnd::PerThread(_) => unsafe {
                core.deallocate_uncounted(slot, class, pointer)
            },
        }
    }

    /// Whether an object has no mark, or is the program's all the same; if it is not, that is told.
    fn is_unmarked_or_live(&self, class: SizeClass, pointer: *mut u8, said: Said) -> bool {
        // SAFETY: a page of a class's is followed by the rest of its span or another page of the source's.
        let is_marked = unsafe { mark::is_set(pointer) };
        !is_marked || self.is_live(class, pointer, said.function())
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn deallocate_overflowed(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
    ) {
        own_words(slot).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        if let Some(core) = self.core() {
            // SAFETY: the block is of this class and given up, and this CPU's cache did not take it.
            unsafe { core.deallocate_overflowed(slot, class, pointer) };
        }
    }
}
