//! How a block is had: the common path of one whose class is cached, and the ways past it.

use super::{Heap, own_words};
use crate::{
    HeapConfig, Observer, hardened, mark, observer::BlockRequest, own_cache::OwnCache,
    threads::HardenedRecord,
};
use strata_cpu_cache::CpuWords;
use strata_size_classes::{ClassEntry, PageSize, SizeClass, SmallEntry};
use strata_span::Address;
use strata_sync::thread_block::{self, Slot, SlotWords, ThreadBlock};

impl<C: HeapConfig> Heap<C> {
    /// A block of at least `size` bytes; null when memory is exhausted or the size is impossible. Blocks of more
    /// than 8 bytes are aligned to 16, others to 8. A size of 0 is a block of its own.
    #[inline(always)]
    pub fn allocate(&self, size: usize) -> *mut u8 {
        self.allocate_or(size, |_, _| core::ptr::null_mut())
    }

    /// The same; where there is no block, the answer is what `exhausted` says of a size and an alignment
    /// that are rounded to the same as the request.
    ///
    /// It is called from the slow paths, as the last thing that they do, so that the common path of an
    /// interface with an answer of its own needs neither a test nor a frame.
    #[inline(always)]
    pub fn allocate_or(
        &self,
        size: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match C::Pages::TABLE.small_entry(size) {
            Some(entry) => self.allocate_class::<true, false>(entry, size, 1, exhausted),
            None => self.allocate_uncommon::<false>(size, 1, exhausted),
        }
    }

    /// A block of at least `size` bytes at a multiple of `align`, which is a power of two; null when memory is exhausted
    /// or the request is impossible.
    #[inline(always)]
    pub fn allocate_aligned(&self, size: usize, align: usize) -> *mut u8 {
        self.allocate_aligned_or(size, align, |_, _| core::ptr::null_mut())
    }

    /// The same, with an answer of the caller's own as in [`Self::allocate_or`].
    #[inline(always)]
    pub fn allocate_aligned_or(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::small_entry(size, align) {
            Some(entry) => self.allocate_class::<true, false>(entry, size, align, exhausted),
            None if align > 16 => self.allocate_rare::<false>(size, align, exhausted),
            None => self.allocate_uncommon::<false>(size, align, exhausted),
        }
    }

    /// The same, all of `size` bytes zero. Memory fresh from the kernel is not touched.
    pub fn allocate_zeroed(&self, size: usize, align: usize) -> *mut u8 {
        match Self::small_entry(size, align) {
            Some(entry) => self.allocate_class_zeroed(entry, size, align),
            None => self.allocate_zeroed_uncommon(size, align),
        }
    }

    #[inline(always)]
    fn allocate_class_zeroed(&self, entry: SmallEntry, size: usize, align: usize) -> *mut u8 {
        let block =
            self.allocate_class::<true, true>(entry, size, align, |_, _| core::ptr::null_mut());
        if !block.is_null() {
            // SAFETY: the block is ours and at least `size` bytes long.
            unsafe { block.write_bytes(0, size) };
        }
        block
    }

    /// The same of more than 1 KiB, or aligned to more than 16: apart, so that a small one needs no frame.
    #[inline(never)]
    fn allocate_zeroed_uncommon(&self, size: usize, align: usize) -> *mut u8 {
        match Self::entry(size, align) {
            Some(entry) => self.allocate_class_zeroed(SmallEntry::of_entry(entry), size, align),
            None => self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
                let slot = self.slot();
                match core.observer() {
                    Some(observer) => {
                        let request = BlockRequest { size, align, zeroed: true };
                        core.allocate_observed(slot, observer, request)
                    }
                    None => core.allocate_large_zeroed(slot, size, align),
                }
            }),
        }
    }

    /// The common path: count, pop. What was asked for goes to the slow path alone, for those who observe. In a heap that
    /// marks, a block of `SMALL` size loses the mark to another word than a larger one.
    #[inline(always)]
    fn allocate_class<const SMALL: bool, const ZEROED: bool>(
        &self,
        entry: SmallEntry,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let slot = self.slot();
        let (class, bytes) = (entry.class(), entry.size() as u64);
        let is_closed = if C::IS_ONLY_HEAP {
            thread_block::count_allocated_in_first(bytes)
        } else {
            thread_block::count_allocated(slot, bytes)
        };
        if is_closed {
            return self.allocate_closed::<ZEROED>(size, entry, align, slot, exhausted);
        }
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: a thread's slot is open only while the per-CPU caches of the heap that has the slot are set
            // up and the thread is registered for them.
            let block = unsafe { self.cpu.pop_or_nothing(class) };
            // SAFETY: the block is ours, and of a class, or a word that is no block.
            if !unsafe { mark::is_set(block) } {
                return self.allocate_doubtful(block, slot, class, exhausted);
            }
            // SAFETY: the block is ours, and of a class: what is none has no mark.
            unsafe {
                mark::clear(block, if SMALL { mark::word_of_small(bytes) } else { mark::TAKEN })
            };
            return block;
        }
        // SAFETY: a thread's slot is open only while the per-CPU caches of the heap that has the slot are set up and the
        // thread is registered for them.
        let block = unsafe { self.cpu.pop(class) };
        if block.is_null() {
            return self.allocate_missed(slot, class, exhausted);
        }
        block
    }

    /// The path is closed to this thread. One that has a cache of its own, with an object of the class in it, is
    /// served here: what was counted stays counted.
    #[inline(never)]
    // The size comes first: it stays in the register that it came in.
    fn allocate_closed<const ZEROED: bool>(
        &self,
        size: usize,
        entry: SmallEntry,
        align: usize,
        slot: Slot,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        if let Some(record) = HardenedRecord::of(words) {
            // Whether the block has to be zero is seen to by who asked for it.
            if let Some(slots) = hardened::short_entry::<C>(size, align) {
                return self
                    .allocate_hardened::<true, ZEROED>(size, entry, slots, record, own, exhausted);
            }
            return self.allocate_hardened_above::<ZEROED>(size, entry, align, record, exhausted);
        }
        let block = Self::pop_own(own, words, entry);
        if block.is_null() {
            return self.allocate_uncounted::<ZEROED>(slot, size, align, exhausted);
        }
        if mark::LOOKS {
            // SAFETY: the block is ours, and of a class; the word is a link, or the mark.
            unsafe { mark::clear(block, mark::CLEARED) };
        }
        block
    }

    /// An object of this thread's own cache, where it has one and all is as usual; or null.
    #[inline(always)]
    fn pop_own(own: &ThreadBlock, words: &SlotWords, entry: SmallEntry) -> *mut u8 {
        if words.allocated.has_come_near_end() {
            return core::ptr::null_mut();
        }
        match OwnCache::<C::Pages>::at_hand(own, words) {
            // SAFETY: the cache is this thread's own.
            Some(cache) => unsafe { cache.pop_sound(entry.class(), entry.size()) },
            None => core::ptr::null_mut(),
        }
    }

    /// The thread is new, or its cache misses, or it has none. What was counted is taken back.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_uncounted<const ZEROED: bool>(
        &self,
        counted_in: Slot,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let entry = Self::entry(size, align);
        own_words(counted_in).allocated.take_back(entry.map_or(0, ClassEntry::size) as u64);
        if let Some(core) = self.core()
            && core.observer() == Some(Observer::Hardened)
        {
            // A heap that is hardened takes this way with each call.
            let block = core.allocate_hardened::<ZEROED>(self.slot(), size, align);
            return if block.is_null() { exhausted(size, align) } else { block };
        }
        let block = self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
            let slot = self.slot();
            match (core.observer(), entry) {
                (Some(observer), _) => {
                    let request = BlockRequest { size, align, zeroed: ZEROED };
                    core.allocate_observed(slot, observer, request)
                }
                (None, Some(entry)) => core.allocate_uncounted(slot, entry.class()),
                (None, None) => core::ptr::null_mut(),
            }
        });
        if block.is_null() { exhausted(size, align) } else { block }
    }

    /// What came from this CPU's cache has no mark: it is nothing, or an object that nobody had yet, or a block
    /// that was freed twice or written to since.
    #[cold]
    #[inline(never)]
    fn allocate_doubtful(
        &self,
        block: *mut u8,
        slot: Slot,
        class: SizeClass,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        if CpuWords::is_nothing(block) {
            return self.allocate_missed(slot, class, exhausted);
        }
        // SAFETY: the block came from the cache, and is of a class.
        if unsafe { mark::may_be_new::<C::Pages>(class, block) } {
            return block;
        }
        // It stays counted as the program's, if that goes on: of a block that was freed twice one free was too many.
        let another = self.core().map_or(core::ptr::null_mut(), |core| {
            core.report_unmarked(class, Address::of(block));
            core.allocate_uncounted(slot, class)
        });
        if another.is_null() { exhausted(C::Pages::TABLE.size(class), 1) } else { another }
    }

    /// This CPU has no object of the class.
    #[cold]
    #[inline(never)]
    fn allocate_missed(
        &self,
        slot: Slot,
        class: SizeClass,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        own_words(slot).allocated.take_back(C::Pages::TABLE.size(class) as u64);
        let block =
            self.core().map_or(core::ptr::null_mut(), |core| core.allocate_missed(slot, class));
        if block.is_null() { exhausted(C::Pages::TABLE.size(class), 1) } else { block }
    }

    /// What is larger than 1 KiB, or aligned to more than 16. Apart from the small ones, whose path is the shorter for
    /// having no way in from here.
    #[inline(never)]
    fn allocate_uncommon<const ZEROED: bool>(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::entry_above_1k(size, align) {
            Some(entry) => self.allocate_class::<false, ZEROED>(entry, size, align, exhausted),
            None => self.allocate_rare::<ZEROED>(size, align, exhausted),
        }
    }

    /// What is aligned to more than all classes are, or has no class.
    #[inline(never)]
    fn allocate_rare<const ZEROED: bool>(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                self.allocate_class::<false, ZEROED>(entry, size, align, exhausted)
            }
            None => self.allocate_large(size, align, exhausted),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_large(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let block = self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
            let slot = self.slot();
            match core.observer() {
                Some(observer) => {
                    let request = BlockRequest { size, align, zeroed: false };
                    core.allocate_observed(slot, observer, request)
                }
                None => core.allocate_large(slot, size, align),
            }
        });
        if block.is_null() { exhausted(size, align) } else { block }
    }
}
