//! How a block comes back: the common path of one whose class is known.
//!
//! The ways past it are in [`closed`], those of what may be no block in [`uncertain`].

use super::Heap;
use crate::{HeapConfig, mark, observer::Said};
use strata_cpu_cache::Pushed;
use strata_size_classes::{PageSize, SizeClass, SmallEntry};
use strata_span::Address;
use strata_sync::thread_block;

mod closed;
mod uncertain;

/// How much a free that knows the size looks at: nothing, as of a Rust program's layouts.
pub(crate) const TRUSTS: u8 = 0;
/// Whether the page map's window shows the size's class, and the block that was freed last.
const LOOKS_AT_SIZE: u8 = 1;
/// And whether an object can begin at the address: five instructions more, of which two load.
const LOOKS_AT_PLACE: u8 = 2;

impl<C: HeapConfig> Heap<C> {
    /// Takes a block back. Null is no block and nothing happens. A pointer that is no block of this heap ends
    /// the program with one line, at once or when it leaves the caches.
    ///
    /// # Safety
    ///
    /// `pointer` is null or a block of this heap that nobody uses any more.
    #[inline(always)]
    pub unsafe fn deallocate(&self, pointer: *mut u8) {
        let Some(class) = self.near.class_at(Address::of(pointer).value()) else {
            // SAFETY: the block is null or its owner gave it up; which of them is looked up there.
            return unsafe { self.deallocate_uncertain(pointer, SizeClass::NONE) };
        };
        let (is_no_beginning, bytes) =
            C::Pages::TABLE.is_no_beginning_of(class, Address::of(pointer).value());
        // Of no class nothing begins anywhere.
        if if mark::LOOKS { is_no_beginning } else { class.is_none() } {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_uncertain(pointer, class) };
        }
        // SAFETY: the owner gives the block up; the page map knows its class.
        unsafe {
            self.deallocate_class::<LOOKS_AT_PLACE, false>(class, bytes, pointer, Said::NOTHING)
        };
    }

    /// Takes a block back whose size and alignment are known, for an interface whose callers may be wrong: a block
    /// of another size, and what is no block, end the program with one line before a cache has them, as the block
    /// does that was freed last. Null is no block. Costs a load of the page map's window.
    ///
    /// # Safety
    ///
    /// `pointer` is null, or a block of this heap that nobody uses any more; it was asked for with this alignment,
    /// and with a size that is rounded to the same as `size`.
    #[inline(always)]
    pub unsafe fn deallocate_sized(&self, pointer: *mut u8, size: usize, align: usize) {
        if !mark::LOOKS && pointer.is_null() {
            return;
        }
        // SAFETY: null, which is looked for there, or a block that was handed out by this heap, and its owner gave it up.
        unsafe { self.deallocate_layout::<LOOKS_AT_SIZE>(pointer, size, align) };
    }

    /// The same; a pointer into a block of that size is told of as well, as far as [`deallocate`](Self::deallocate)
    /// sees it.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(always)]
    pub unsafe fn deallocate_compared(&self, pointer: *mut u8, size: usize, align: usize) {
        if !mark::LOOKS && pointer.is_null() {
            return;
        }
        // SAFETY: null, which is looked for there, or a block that was handed out by this heap, and its owner gave it up.
        unsafe { self.deallocate_layout::<LOOKS_AT_PLACE>(pointer, size, align) };
    }

    /// The same; `LOOKS` says how much is looked at. Who [trusts](TRUSTS) asks no page map, and has no null.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(always)]
    pub(crate) unsafe fn deallocate_layout<const LOOKS: u8>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::small_entry(size, align) {
            Some(entry) => {
                // SAFETY: the block was asked for with this layout, whose class this is, and its owner gave it up.
                unsafe { self.deallocate_as_said::<LOOKS>(entry, pointer, size, align) }
            }
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_uncommon::<LOOKS>(pointer, size, align) },
        }
    }

    /// The same where the class of the size is known.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`]; `entry` is of that size and alignment.
    #[inline(always)]
    unsafe fn deallocate_as_said<const LOOKS: u8>(
        &self,
        entry: SmallEntry,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        let class = entry.class();
        if LOOKS != TRUSTS && mark::LOOKS && !self.is_of::<LOOKS>(class, pointer) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_compared_at_leisure(pointer, size, align) };
        }
        let said = Said::layout(size, align);
        // SAFETY: its owner gave the block up; equal requests have equal classes.
        unsafe { self.deallocate_class::<LOOKS, true>(class, entry.size(), pointer, said) };
    }

    /// Whether the page map's window shows that class where the pointer leads, and, if that is looked at, an object
    /// of it may begin there.
    #[inline(always)]
    fn is_of<const LOOKS: u8>(&self, class: SizeClass, pointer: *mut u8) -> bool {
        let address = Address::of(pointer).value();
        self.near.class_at(address) == Some(class)
            && (LOOKS != LOOKS_AT_PLACE || !C::Pages::TABLE.is_no_beginning(class, address))
    }

    /// The common path: count, push. `SAYS`: the caller said something of the block.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller.
    #[inline(always)]
    unsafe fn deallocate_class<const LOOKS: u8, const SAYS: bool>(
        &self,
        class: SizeClass,
        bytes: usize,
        pointer: *mut u8,
        said: Said,
    ) {
        let slot = self.slot();
        let is_closed = if C::IS_ONLY_HEAP {
            thread_block::count_deallocated_in_first(bytes as u64)
        } else {
            thread_block::count_deallocated(slot, bytes as u64)
        };
        if is_closed {
            return if SAYS {
                // SAFETY: the block was handed out by this heap, and its owner gave it up.
                unsafe { self.deallocate_closed::<true>(pointer, slot, class, bytes, said) }
            } else {
                // SAFETY: the block was handed out by this heap, and its owner gave it up.
                unsafe {
                    self.deallocate_closed::<false>(pointer, slot, class, bytes, Said::NOTHING)
                }
            };
        }
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: the block is the caller's to give, until it is pushed.
            unsafe { mark::set(pointer) };
        }
        let pushed = if LOOKS != TRUSTS && mark::LOOKS {
            // SAFETY: the slot is open, so that the caches are set up and the thread is registered for them; and
            // the block is the caller's to give, or was given before.
            unsafe { self.cpu.push_unless_top(class, pointer) }
        // SAFETY: the slot is open, so that the caches are set up and the thread is registered for them; and the
        // block is the caller's.
        } else if unsafe { self.cpu.push(class, pointer) } {
            Pushed::Done
        } else {
            Pushed::Full
        };
        match pushed {
            Pushed::Done => {}
            // SAFETY: the block is of this class and given up, and no cache took it.
            Pushed::Full => unsafe { self.deallocate_overflowed(pointer, slot, class) },
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            Pushed::Again => unsafe { self.deallocate_again(pointer, slot, class, said) },
        }
    }

    /// The same for blocks that come back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_uncommon<const LOOKS: u8>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::entry_above_1k(size, align) {
            // SAFETY: the block was asked for with this layout, whose class this is, and its owner gave it up.
            Some(entry) => unsafe { self.deallocate_as_said::<LOOKS>(entry, pointer, size, align) },
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_rare::<LOOKS>(pointer, size, align) },
        }
    }

    /// The same for what [`Self::allocate_rare`] had.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_rare<const LOOKS: u8>(&self, pointer: *mut u8, size: usize, align: usize) {
        if LOOKS != TRUSTS && mark::LOOKS {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_compared_at_leisure(pointer, size, align) };
        }
        let said = Said::layout(size, align);
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                // SAFETY: its owner gave the block up; equal requests have equal classes.
                unsafe {
                    self.deallocate_class::<LOOKS, true>(entry.class(), entry.size(), pointer, said)
                }
            }
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            None => unsafe { self.deallocate_unlisted(pointer, said) },
        }
    }
}
