//! The heap as a Rust program's allocator.

use crate::{Heap, HeapConfig, heap::TRUSTS};
use core::alloc::{GlobalAlloc, Layout};

// SAFETY: blocks are as long and as aligned as their layout asks (the class or span is chosen for both), belong to
// nobody else until they are given back, and nothing here unwinds: what cannot be had is null.
unsafe impl<C: HeapConfig> GlobalAlloc for Heap<C> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocate_aligned(layout.size(), layout.align())
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives the layout that the block was asked for with.
        unsafe { self.deallocate_layout::<TRUSTS>(block, layout.size(), layout.align()) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocate_zeroed(layout.size(), layout.align())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller gives the layout that the block was asked for with.
        unsafe { self.reallocate(block, layout.align(), new_size) }
    }
}
