//! Blocks that change their size.

use crate::{Heap, HeapConfig, mark, observer::BlockRequest};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{Address, Function, HUGEPAGE_BYTES};

/// A block that grows to this size or more is moved to the start of a hugepage, from where it can grow further in place: a
/// vector that doubles copies itself for the last time here. At half, small vectors keep hugepages of their own half
/// empty; at twice, 1 MiB is copied and stays behind.
const GROWS_FROM_BYTES: usize = 512 << 10;

/// A block of this size or more that has to move takes its pages along, if it can: its page tables change instead of its
/// contents. Below, the few system calls weigh as much as a copy to warm memory.
const RELOCATES_FROM_BYTES: usize = 4 << 20;

impl<C: HeapConfig> Heap<C> {
    /// How many bytes of a block may be used: at least what was asked for. 0 for what is no block of this heap.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that is not freed meanwhile; any other pointer is answered, too, as long as
    /// it is not part of this heap's blocks.
    pub unsafe fn usable_size(&self, pointer: *mut u8) -> usize {
        let address = Address::of(pointer);
        if let Some(core) = self.core()
            && let Some(observer) = core.observer()
        {
            return core.usable_size_observed(observer, pointer);
        }
        let class = self.map_words().class_at(address.value());
        if !class.is_none() {
            let is_live = self.is_as_live(class, pointer, Function::UsableSize);
            return if is_live { C::Pages::TABLE.size(class) } else { 0 };
        }
        self.core()
            .and_then(|core| core.large_span(address))
            .map_or(0, |span| span.bytes::<C::Pages>())
    }

    /// The block with `new_size` bytes, the same or another one with the same contents as far as both reach;
    /// null if memory is exhausted, and then the old block stays as it is.
    ///
    /// A block stays where it is while its size rounds to the same; a large block also while at least half
    /// of it is used, or while the pages behind it are free. One that has to move gets an eighth more than it had, so
    /// that growth in small steps moves it rarely.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap, asked for with this alignment; nobody else uses it, and if the answer is
    /// another block, nobody uses it any more.
    pub unsafe fn reallocate(&self, pointer: *mut u8, align: usize, new_size: usize) -> *mut u8 {
        let slot = self.slot();
        let Some(core) = self.core() else {
            crate::misuse::before_the_first_block(Function::Realloc, pointer);
            return core::ptr::null_mut();
        };
        if let Some(observer) = core.observer() {
            let request = BlockRequest { size: new_size, align, zeroed: false };
            // SAFETY: the block is its owner's alone; whether it is one is looked up there.
            return unsafe { core.reallocate_observed(slot, observer, pointer, request) };
        }
        let address = Address::of(pointer);
        let class = self.map_words().class_at(address.value());
        let old_is_large = class.is_none();
        let old_size = if !old_is_large {
            if !self.is_as_live(class, pointer, Function::Realloc) {
                return core::ptr::null_mut();
            }
            C::Pages::TABLE.size(class)
        } else if let Some(span) = core.large_span(address) {
            span.bytes::<C::Pages>()
        } else {
            core.report_no_block(Function::Realloc, address);
            return core::ptr::null_mut();
        };
        let (mut wanted, mut wanted_align) = (new_size, align);
        match Self::entry(new_size, align) {
            Some(entry) if !old_is_large && entry.size() == old_size => return pointer,
            None if old_is_large && new_size <= old_size && new_size > old_size / 2 => {
                return pointer;
            }
            None if old_is_large && new_size > old_size => {
                if core.extend_large(slot, address, new_size) {
                    return pointer;
                }
                wanted = new_size.max(old_size.saturating_add(old_size / 8));
            }
            _ => {}
        }
        if new_size > old_size && new_size >= GROWS_FROM_BYTES {
            wanted_align = align.max(HUGEPAGE_BYTES);
        }
        let mut block = self.allocate_aligned(wanted, wanted_align);
        if block.is_null() && (wanted, wanted_align) != (new_size, align) {
            block = self.allocate_aligned(new_size, align);
        }
        if !block.is_null() {
            let bytes = old_size.min(new_size);
            let moved = match self.core() {
                Some(core) if bytes >= RELOCATES_FROM_BYTES => {
                    // SAFETY: as below.
                    unsafe { core.relocate(Address::of(pointer), Address::of(block), bytes) }
                }
                _ => 0,
            };
            let (from, to) = (pointer.wrapping_add(moved), block.wrapping_add(moved));
            // SAFETY: both blocks are at least this long, and the new one is nobody else's.
            unsafe { to.copy_from_nonoverlapping(from, bytes - moved) };
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate(pointer) };
        }
        block
    }

    /// Whether an object looks as if it were the program's: begins where objects do, has no mark, and is not what the thread put
    /// into a cache of its own last. One that does not is looked for, and told of if it is not the program's.
    #[inline]
    fn is_as_live(&self, class: SizeClass, pointer: *mut u8, function: Function) -> bool {
        let address = Address::of(pointer).value();
        let is_no_beginning = C::Pages::TABLE.is_no_beginning(class, address);
        // SAFETY: the page is one of a class's, and followed by the rest of its span or another page of the source's.
        let is_marked = unsafe { mark::is_set(pointer) };
        let is_suspect = is_no_beginning
            || is_marked
            || mark::LOOKS && self.core().is_some_and(|core| core.has_own_last(class, pointer));
        !is_suspect || self.is_live(class, pointer, function)
    }
}
