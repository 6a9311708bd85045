//! Blocks of a size class, off the common path.

use crate::{
    Core, HeapConfig,
    background::Call,
    mark::{self, Marking, MarkingBack},
    own_cache::OwnCache,
    threads::Standing,
};
use core::ptr::NonNull;
use strata_size_classes::{ObjectSource, PageSize, SizeClass};
use strata_span::{Address, Function};
use strata_sync::thread_block::{Counter, Slot};

/// Blocks of this size and more that are outgrown go to their spans, where the cache at hand has enough of the
/// class. Shorter ones share their span with many others, and cost less to copy than to give back.
pub(crate) const OUTGROWN_FROM_BYTES: usize = 2 << 10;

/// So much is enough: one that grows alone finds a block of each size in the cache. At twice, `grow-many` has 0.1
/// MiB more at its peak.
const ENOUGH_OUTGROWN_BYTES: u64 = 8 << 10;

impl<C: HeapConfig> Core<C> {
    /// A block, for a thread whose common path is closed, or missed. Where memory has run out, what caches hold is
    /// given back before the answer is null, and room is made for metadata.
    pub(crate) fn allocate_uncounted(&self, slot: Slot, class: SizeClass) -> *mut u8 {
        let block = self.allocate_through_caches(slot, class);
        if !block.is_null() {
            return block;
        }
        let bytes = C::Pages::TABLE.size(class);
        let again = || NonNull::new(self.allocate_through_caches(slot, class));
        self.allocate_at_last(slot, bytes, again).map_or(block, NonNull::as_ptr)
    }

    fn allocate_through_caches(&self, slot: Slot, class: SizeClass) -> *mut u8 {
        let bytes = C::Pages::TABLE.size(class);
        match self.standing(slot) {
            Standing::PerCpu(words) => {
                // SAFETY: this standing says that the caches are set up and the thread is registered.
                let mut block = unsafe { self.cpu_cache().pop(class) };
                if block.is_null() {
                    let source = Marking::<C>(self.source_of_objects());
                    // SAFETY: set up and registered, as the standing says; only this thread runs here.
                    block = unsafe { self.cpu_cache().refill(&source, class) };
                    // SAFETY: set up and registered, as the standing says.
                    unsafe { self.note_cpu_miss(Call::Allocation) };
                }
                let block = counted(block, &words.allocated, bytes);
                if self.is_handed_out(class, block) {
                    block
                } else {
                    // What was told of stays as it is, for ever.
                    self.allocate_through_caches(slot, class)
                }
            }
            Standing::Cached(words, cache) => {
                let held = cache.held_bytes();
                // SAFETY: the cache is this thread's own.
                let mut block = unsafe { cache.pop(class, bytes) };
                if block.is_null() {
                    // A list that was written to is lost, and told of: what stood on it is nobody's.
                    let lost = held.saturating_sub(cache.held_bytes());
                    if lost > 0 {
                        self.take_back_deallocated(usize::try_from(lost).unwrap_or(0));
                    }
                }
                // What stood in the cache had a link written into it, and its page is there.
                let is_touched = !block.is_null();
                if block.is_null() {
                    // SAFETY: the cache is this thread's own, until it is dropped.
                    block = unsafe { cache.refill(&self.source_of_objects(), class) };
                    drop(cache);
                    self.note_miss(Call::Allocation);
                }
                if !is_touched && bytes > mark::LARGEST_CLEARED {
                    self.take_mark(block);
                } else if mark::LOOKS && !block.is_null() {
                    // SAFETY: the block is ours, and of a class; the word is a link, or the mark.
                    unsafe { mark::clear(block, mark::CLEARED) };
                }
                counted(block, &words.allocated, bytes)
            }
            Standing::Alone => {
                let block = self.take_past_caches(class);
                if !block.is_null() {
                    self.count_allocated_alone(bytes);
                }
                self.note_miss(Call::Allocation);
                block
            }
            Standing::Observed(words) => {
                let block = self.take_past_caches(class);
                self.note_miss(Call::Allocation);
                counted(block, &words.allocated, bytes)
            }
        }
    }

    /// A block, for a registered thread whose CPU has none of the class.
    pub(crate) fn allocate_missed(&self, slot: Slot, class: SizeClass) -> *mut u8 {
        // A registered thread has words; should its path have been closed since, it is served all the same.
        self.allocate_uncounted(slot, class)
    }

    /// Takes a block back from a thread whose common path is closed, or missed.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of `class` that nobody uses any more.
    pub(crate) unsafe fn deallocate_uncounted(
        &self,
        slot: Slot,
        class: SizeClass,
        pointer: *mut u8,
    ) {
        let bytes = C::Pages::TABLE.size(class);
        match self.standing(slot) {
            Standing::PerCpu(words) => {
                self.mark_freed(pointer);
                // SAFETY: this standing says that the caches are set up and the thread is registered; the block is
                // the caller's to give.
                if !unsafe { self.cpu_cache().push(class, pointer) } {
                    // SAFETY: no cache took the block, which is still ours to give; set up and registered, as the
                    // standing says.
                    unsafe { self.cpu_cache().overflow(&self.source_of_objects(), class, pointer) };
                    // SAFETY: set up and registered, as the standing says.
                    unsafe { self.note_cpu_miss(Call::Deallocation) };
                }
                words.deallocated.count(bytes as u64);
            }
            Standing::Cached(words, cache) => {
                // SAFETY: the cache is this thread's own; the block is the caller's to give.
                match unsafe { cache.push_sound(class, bytes, pointer) } {
                    // SAFETY: the cache is this thread's own, and of this heap.
                    Some(true) => unsafe { self.flush_cache(cache, class) },
                    Some(false) => {}
                    None => {
                        let function = self.freeing_function(class, pointer);
                        return self.report_freed_last(function, Address::of(pointer));
                    }
                }
                words.deallocated.count(bytes as u64);
            }
            Standing::Alone => {
                self.mark_freed(pointer);
                // SAFETY: the block is the caller's to give.
                unsafe { self.source_of_objects().give(class, &mut [pointer]) };
                self.count_deallocated_alone(bytes);
                self.note_miss(Call::Deallocation);
            }
            Standing::Observed(words) => {
                // SAFETY: the block is the caller's to give.
                unsafe { self.source_of_objects().give(class, &mut [pointer]) };
                words.deallocated.count(bytes as u64);
                self.note_miss(Call::Deallocation);
            }
        }
    }

    /// Takes back a block whose contents moved on to a longer one. Where the cache at hand has some of the class,
    /// the block goes to its span: what grows, grows on, so that nobody asks for this size again, and the pages may
    /// serve the next. Without that 64 vectors that grow in turn leave a mebibyte of blocks of all sizes in caches.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_uncounted`].
    #[inline(never)]
    pub(crate) unsafe fn deallocate_outgrown(
        &self,
        slot: Slot,
        class: SizeClass,
        pointer: *mut u8,
    ) {
        let bytes = C::Pages::TABLE.size(class);
        let are_enough =
            |objects: u64| objects.saturating_mul(bytes as u64) >= ENOUGH_OUTGROWN_BYTES;
        let source = || self.source_of_objects().past_transfers();
        match self.standing(slot) {
            Standing::PerCpu(words) => {
                self.mark_freed(pointer);
                let cpu = self.cpu_cache();
                // SAFETY: this standing says that the caches are set up and the thread is registered.
                if are_enough(unsafe { cpu.objects_here(class) }) {
                    // SAFETY: set up and registered, as the standing says; the block is the caller's to give.
                    unsafe { cpu.pass_on(&source(), class, pointer) };
                    // SAFETY: set up and registered, as the standing says.
                    unsafe { self.note_cpu_miss(Call::Deallocation) };
                // SAFETY: set up and registered, as the standing says; the block is the caller's to give.
                } else if !unsafe { cpu.push(class, pointer) } {
                    // SAFETY: no cache took the block, which is still ours to give; set up and registered, as the
                    // standing says.
                    unsafe { cpu.overflow(&self.source_of_objects(), class, pointer) };
                    // SAFETY: set up and registered, as the standing says.
                    unsafe { self.note_cpu_miss(Call::Deallocation) };
                }
                words.deallocated.count(bytes as u64);
            }
            Standing::Cached(words, cache) => {
                let are_enough = are_enough(cache.length(class).into());
                // Who is inside of its cache does not come in a second time.
                drop(cache);
                if !are_enough {
                    // SAFETY: the caller gives the block up, which is of this class; nothing was done with it yet.
                    return unsafe { self.deallocate_uncounted(slot, class, pointer) };
                }
                self.mark_freed(pointer);
                // SAFETY: the block is the caller's to give.
                unsafe { source().give(class, &mut [pointer]) };
                self.note_miss(Call::Deallocation);
                words.deallocated.count(bytes as u64);
            }
            // SAFETY: the caller gives the block up, which is of this class; nothing was done with it yet.
            _ => unsafe { self.deallocate_uncounted(slot, class, pointer) },
        }
    }

    /// Gives back what this thread's own cache has too much of, after a push of `class`, if the thread still has one.
    pub(crate) fn flush_own(&self, slot: Slot, class: SizeClass) {
        if let Standing::Cached(_, cache) = self.standing(slot) {
            // SAFETY: the cache is this thread's, of this heap.
            unsafe { self.flush_cache(cache, class) };
        }
    }

    /// # Safety
    ///
    /// The cache is the calling thread's, of this heap.
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn flush_cache(&self, cache: OwnCache<'_, C::Pages>, class: SizeClass) {
        // SAFETY: the cache is this thread's, as the caller promises, and the source that of its heap.
        unsafe {
            cache.flush(self.thread_caches(), &MarkingBack::<C>(self.source_of_objects()), class)
        };
        drop(cache);
        self.note_miss(Call::Deallocation);
    }

    /// Takes the mark of a block that came from a CPU's cache, if it has it or may be without; if it is not as it
    /// was freed, that is told. Null is no block, and handed out as that.
    fn is_handed_out(&self, class: SizeClass, block: *mut u8) -> bool {
        if !C::MARKS_FREE_BLOCKS || !mark::LOOKS || block.is_null() {
            return true;
        }
        let bytes = C::Pages::TABLE.size(class);
        if (mark::LARGEST_MARKED + 1..=mark::LARGEST_CLEARED).contains(&bytes) {
            // SAFETY: the block came from the cache or the middle tier, is of a class, and nobody else knows it.
            unsafe { mark::set_if_new(block, bytes, false) };
        }
        // SAFETY: the block is of a class, and nobody else knows it.
        if unsafe { mark::is_set(block) } {
            // SAFETY: the block is ours, and has a first word.
            unsafe { mark::clear(block, mark::word_of_taken(bytes)) };
            return true;
        }
        // SAFETY: the block is of a class, and nobody else knows it.
        let is_new = unsafe { mark::may_be_new::<C::Pages>(class, block) };
        if !is_new {
            self.report_unmarked(class, Address::of(block));
        }
        is_new
    }

    /// Takes the mark of a block, if it has one, that is handed out without having been in a CPU's cache. Null is no block.
    fn take_mark(&self, block: *mut u8) {
        if C::MARKS_FREE_BLOCKS && mark::LOOKS && !block.is_null() {
            // SAFETY: callers took the block, and it is of a class.
            unsafe { mark::clear_if_set(block) };
        }
    }

    /// Writes the mark into a block that is being freed past the common path, in a heap that marks.
    fn mark_freed(&self, block: *mut u8) {
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: callers were given the block, and it is of a class.
            unsafe { mark::set(block) };
        }
    }

    /// An object from the middle tier; null if that has no more.
    fn take_past_caches(&self, class: SizeClass) -> *mut u8 {
        let mut object = [core::ptr::null_mut()];
        self.source_of_objects().take(class, &mut object);
        let [object] = object;
        self.take_mark(object);
        object
    }

    /// What freed an object as one of a class: its size said so, if the page map says another one.
    fn freeing_function(&self, class: SizeClass, pointer: *mut u8) -> Function {
        match self.map_ref().class_at(Address::of(pointer).value()) == class {
            true => Function::Free,
            false => Function::SizedFree,
        }
    }

    /// Takes a block back from a registered thread whose CPU has no room for it.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_uncounted`].
    pub(crate) unsafe fn deallocate_overflowed(
        &self,
        slot: Slot,
        class: SizeClass,
        pointer: *mut u8,
    ) {
        if C::MARKS_FREE_BLOCKS && mark::LOOKS && C::Pages::TABLE.size(class) >= mark::LONG {
            // SAFETY: the caches are set up, since one of them had no room, and this thread is registered.
            let id = unsafe { self.cpu_cache().current_id() };
            let function = self.freeing_function(class, pointer);
            // A span of long objects goes when they are back, and one that is freed twice would be in a cache and
            // in no span.
            if !self.is_live_near(id, class, Address::of(pointer), function) {
                return;
            }
        }
        // SAFETY: the block is of this class and given up, and no cache took it.
        unsafe { self.deallocate_uncounted(slot, class, pointer) };
    }
}

impl<C: HeapConfig> Core<C> {
    /// Notes a miss of this CPU's cache, and gives the CPU a longer region if too many were for want of slots.
    ///
    /// # Safety
    ///
    /// The per-CPU caches are set up and this thread is registered.
    unsafe fn note_cpu_miss(&self, call: Call) {
        self.note_miss(call);
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        let id = unsafe { self.cpu_cache().current_id() };
        if self.cpu_cache().is_short(id) {
            self.with_cpu_cache_stops(|cpu| cpu.lengthen(C::source(), id));
        }
        if self.cpu_cache().is_poor(id) {
            self.with_cpu_cache_stops(|cpu| cpu.recall(&self.source_of_objects(), id));
        }
    }
}

/// The block, counted unless it is null.
fn counted(block: *mut u8, counter: &Counter, bytes: usize) -> *mut u8 {
    if !block.is_null() {
        counter.count(bytes as u64);
    }
    block
}
