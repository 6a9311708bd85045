//! Blocks that change their size.

use crate::{
    Core, Heap, HeapConfig, heap::own_words, mark, observer::BlockRequest,
    room_to_grow::COUNTED_ABOVE_BYTES, small::OUTGROWN_FROM_BYTES,
};
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
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
        match self.class_of_usual(pointer) {
            Some((_, bytes)) => bytes,
            // SAFETY: the contract is the same.
            None => unsafe { self.usable_size_at_leisure(pointer) },
        }
    }

    /// The same for what is not as usual.
    ///
    /// # Safety
    ///
    /// As for [`Self::usable_size`].
    #[inline(never)]
    unsafe fn usable_size_at_leisure(&self, pointer: *mut u8) -> usize {
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
        // SAFETY: the contract is the same.
        unsafe { self.reallocate_as::<false>(pointer, align, new_size) }
    }

    /// The same for a block that comes back to who looks what it is ([`deallocate`](Self::deallocate),
    /// [`deallocate_sized`](Self::deallocate_sized), [`deallocate_compared`](Self::deallocate_compared)), not by
    /// [`GlobalAlloc::dealloc`](core::alloc::GlobalAlloc::dealloc): one that blocks like it have grown on from gets
    /// room for that, and stays where it is until it has filled it. Its [usable size](Self::usable_size) is all of
    /// it.
    ///
    /// # Safety
    ///
    /// As for [`Self::reallocate`]; and no free of the block trusts its size.
    pub unsafe fn reallocate_with_room(
        &self,
        pointer: *mut u8,
        align: usize,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: the contract is the same. Where nothing is looked at, all frees trust the size.
        unsafe { self.reallocate_as::<{ mark::LOOKS }>(pointer, align, new_size) }
    }

    #[inline(always)]
    unsafe fn reallocate_as<const ROOM: bool>(
        &self,
        pointer: *mut u8,
        align: usize,
        new_size: usize,
    ) -> *mut u8 {
        let Some((class, _)) = self.class_of_usual(pointer) else {
            // SAFETY: the contract is the same.
            return unsafe { self.reallocate_at_leisure::<ROOM>(pointer, align, new_size) };
        };
        // Blocks of up to 1 KiB have no room: those stay whose size rounds to the same.
        if Self::small_entry(new_size, align).is_some_and(|entry| entry.class() == class) {
            return pointer;
        }
        // SAFETY: the contract is the same, and the page map has this class for it.
        unsafe { self.reallocate_object::<ROOM>(class, pointer, align, new_size) }
    }

    /// The same for a block that is not as usual.
    ///
    /// # Safety
    ///
    /// As for [`Self::reallocate`].
    #[unsafe(link_section = ".text_rarely")]
    #[inline(never)]
    unsafe fn reallocate_at_leisure<const ROOM: bool>(
        &self,
        pointer: *mut u8,
        align: usize,
        new_size: usize,
    ) -> *mut u8 {
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
        let class = self.map_words().class_at(Address::of(pointer).value());
        if class.is_none() {
            // SAFETY: the block is the caller's, of which nobody else knows; the page map has no class for it.
            return unsafe { self.reallocate_span(core, pointer, align, new_size) };
        }
        if !self.is_as_live(class, pointer, Function::Realloc) {
            return core::ptr::null_mut();
        }
        // SAFETY: the block is the caller's, of which nobody else knows; the page map has this class for it.
        unsafe { self.reallocate_object::<ROOM>(class, pointer, align, new_size) }
    }

    /// The same for an object of a class.
    ///
    /// # Safety
    ///
    /// As for [`Self::reallocate`].
    #[inline(never)]
    unsafe fn reallocate_object<const ROOM: bool>(
        &self,
        class: SizeClass,
        pointer: *mut u8,
        align: usize,
        new_size: usize,
    ) -> *mut u8 {
        let Some(core) = self.core() else { return core::ptr::null_mut() };
        let (address, old_size) = (Address::of(pointer), C::Pages::TABLE.size(class));
        let entry = Self::entry(new_size, align);
        let room = if ROOM { core.room_of(class, address) } else { None };
        let stays = match &room {
            None => entry.is_some_and(|entry| entry.size() == old_size),
            Some(room) => core.grows_within(room, entry),
        };
        if stays {
            return pointer;
        }
        let asked_bytes = room.map_or(old_size, |room| room.asked_bytes);
        let grows = new_size > old_size;
        let mut block = core::ptr::null_mut();
        if ROOM && new_size > old_size.max(COUNTED_ABOVE_BYTES) {
            block = self.allocate_with_room(core, asked_bytes, new_size, align, entry);
        }
        if block.is_null() {
            block = match entry {
                Some(_) => self.allocate_aligned(new_size, align),
                None => self.allocate_moved(new_size, align, new_size, grows),
            };
        }
        if block.is_null() {
            return block;
        }
        // SAFETY: both blocks are at least this long, and the new one is nobody else's.
        unsafe { block.copy_from_nonoverlapping(pointer, old_size.min(new_size)) };
        if grows && old_size >= OUTGROWN_FROM_BYTES {
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { core.deallocate_outgrown(self.slot(), class, pointer) };
        } else {
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate(pointer) };
        }
        block
    }

    /// A block for one that grows from what it was asked for, with room to grow on; null if it is to have none.
    #[inline(never)]
    fn allocate_with_room(
        &self,
        core: &Core<C>,
        asked_bytes: usize,
        new_size: usize,
        align: usize,
        exact: Option<ClassEntry>,
    ) -> *mut u8 {
        let Some(roomy) = core.class_with_room(asked_bytes, new_size, align, exact) else {
            return core::ptr::null_mut();
        };
        let block = self.allocate_aligned(roomy.size(), align);
        core.note_asked_for(roomy.class(), block, exact);
        block
    }

    /// The same for a block that is a span.
    ///
    /// # Safety
    ///
    /// As for [`Self::reallocate`].
    unsafe fn reallocate_span(
        &self,
        core: &Core<C>,
        pointer: *mut u8,
        align: usize,
        new_size: usize,
    ) -> *mut u8 {
        let address = Address::of(pointer);
        let Some(span) = core.large_span(address) else {
            core.report_no_block(Function::Realloc, address);
            return core::ptr::null_mut();
        };
        let old_size = span.bytes::<C::Pages>();
        let is_large = Self::entry(new_size, align).is_none();
        let mut wanted = new_size;
        if is_large && new_size > old_size {
            if core.extend_large(self.slot(), address, new_size) {
                return pointer;
            }
            wanted = new_size.max(old_size.saturating_add(old_size / 8));
        } else if is_large && new_size > old_size / 2 {
            return pointer;
        }
        let block = self.allocate_moved(wanted, align, new_size, new_size > old_size);
        if !block.is_null() {
            let bytes = old_size.min(new_size);
            let moved = if bytes >= RELOCATES_FROM_BYTES {
                // SAFETY: both blocks are large ones of at least so many bytes, and the caller's alone.
                unsafe { core.relocate(address, Address::of(block), bytes) }
            } else {
                0
            };
            let (from, to) = (pointer.wrapping_add(moved), block.wrapping_add(moved));
            // SAFETY: both blocks are at least this long, and the new one is nobody else's.
            unsafe { to.copy_from_nonoverlapping(from, bytes - moved) };
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate(pointer) };
        }
        block
    }

    /// A large block of `wanted` bytes, at the start of a hugepage if it is going to grow from there; or else as it
    /// was asked for.
    #[inline(never)]
    fn allocate_moved(&self, wanted: usize, align: usize, new_size: usize, grows: bool) -> *mut u8 {
        let to_grow = grows && new_size >= GROWS_FROM_BYTES;
        let wanted_align = if to_grow { align.max(HUGEPAGE_BYTES) } else { align };
        let block = self.allocate_aligned(wanted, wanted_align);
        if block.is_null() && (wanted, wanted_align) != (new_size, align) {
            return self.allocate_aligned(new_size, align);
        }
        block
    }

    /// The class of a block and its size, if the page map's window shows it, the block looks as if it were the
    /// program's, and this thread's common path is open: then nobody observes the heap, and no thread has a cache
    /// of its own.
    #[inline(always)]
    fn class_of_usual(&self, pointer: *mut u8) -> Option<(SizeClass, usize)> {
        let address = Address::of(pointer).value();
        let class = self.near().class_at(address)?;
        // Of no class nothing begins anywhere.
        let (is_no_beginning, bytes) = C::Pages::TABLE.is_no_beginning_of(class, address);
        if is_no_beginning || !own_words(self.slot()).allocated.is_open() {
            return None;
        }
        // SAFETY: an object of a class begins there: 8 bytes can be read.
        let is_marked = unsafe { mark::is_set(pointer) };
        (!is_marked).then_some((class, bytes))
    }

    /// Whether an object looks as if it were the program's: begins where objects do, has no mark, and is not what
    /// the thread put into a cache of its own last. One that does not is looked for, and told of if it is not the
    /// program's.
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
