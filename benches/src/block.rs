//! One block of a given allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::NonNull;
use std::alloc::handle_alloc_error;

/// A block of `A`'s; freed with its size when dropped.
#[derive(Debug)]
pub struct Block<'a, A: GlobalAlloc> {
    allocator: &'a A,
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory that its owner alone points to, and the allocator may be called
// from every thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Block<'_, A> {}

impl<'a, A: GlobalAlloc> Block<'a, A> {
    /// Allocates `bytes` bytes (at least 1) aligned to 8, and writes the first.
    #[inline]
    pub fn new(allocator: &'a A, bytes: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(bytes.max(1), 8) else {
            handle_alloc_error(Layout::new::<u8>())
        };
        // SAFETY: the layout's size is not 0: `max` above.
        let start = unsafe { allocator.alloc(layout) };
        let Some(start) = NonNull::new(black_box(start)) else { handle_alloc_error(layout) };
        // SAFETY: the block is at least one byte long, and nobody else has it yet.
        unsafe { start.write(1) };
        Self { allocator, start, layout }
    }

    /// Its length in bytes.
    #[inline]
    pub const fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// Grows or shrinks it to `bytes` bytes (at least 1), moving it if need be.
    #[inline]
    pub fn resize(&mut self, bytes: usize) {
        let Ok(layout) = Layout::from_size_align(bytes.max(1), 8) else {
            handle_alloc_error(self.layout)
        };
        // SAFETY: the block came from this allocator with this layout, and the new size is neither
        // 0 nor too large for a layout.
        let start =
            unsafe { self.allocator.realloc(self.start.as_ptr(), self.layout, layout.size()) };
        let Some(start) = NonNull::new(black_box(start)) else { handle_alloc_error(layout) };
        self.start = start;
        self.layout = layout;
    }

    /// Writes the bytes from `from` to the end, as one who has grown it would.
    pub fn fill_from(&mut self, from: usize) {
        let Some(length) = self.bytes().checked_sub(from) else { return };
        // SAFETY: `from` is at most the block's length.
        let tail = unsafe { self.start.add(from) };
        // SAFETY: `length` bytes lie between the tail's start and the block's end.
        unsafe { tail.write_bytes(7, length) };
    }
}

impl<A: GlobalAlloc> Drop for Block<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `new` or `resize` got the block with this layout from this allocator, and it is
        // freed only here.
        unsafe { self.allocator.dealloc(self.start.as_ptr(), self.layout) };
    }
}
