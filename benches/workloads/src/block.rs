//! One block from the global allocator, with its size.

use core::alloc::Layout;
use core::hint::black_box;
use core::ptr::NonNull;
use std::alloc::{alloc, dealloc, handle_alloc_error};

/// A block of the global allocator's; freed with its size when dropped, as Rust's collections do.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory that its owner alone points to.
unsafe impl Send for Block {}

impl Block {
    /// Allocates `bytes` bytes (at least 1) aligned to 8, and writes the first.
    ///
    /// The compiler does not see what becomes of the block, so that it cannot leave the pair of
    /// calls out.
    #[inline]
    pub fn new(bytes: usize) -> Self {
        let (start, layout) = allocate(bytes);
        // SAFETY: the block is at least one byte long, and nobody else has it yet.
        unsafe { start.write(1) };
        Self { start, layout }
    }

    /// Its length in bytes.
    #[inline]
    pub const fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> usize {
        self.start.addr().get()
    }

    /// Writes one byte of every 4 KiB, so that all of the block becomes resident.
    pub fn touch(&mut self) {
        for offset in (0..self.bytes()).step_by(4096) {
            // SAFETY: the offset is less than the block's length.
            let byte = unsafe { self.start.add(offset) };
            // SAFETY: the byte lies in the block, which we own.
            unsafe { byte.write_volatile(1) };
        }
    }

    /// Reads its first byte.
    #[inline]
    pub fn read(&self) -> u8 {
        // SAFETY: `new` wrote the first byte (`Untouched` does not show its own), and the block is ours
        // until it is dropped.
        unsafe { self.start.read_volatile() }
    }
}

/// A block that nobody has written to, and nobody may read.
#[derive(Debug)]
pub struct Untouched(#[expect(dead_code, reason = "it is there to be dropped")] Block);

impl Untouched {
    /// Allocates `bytes` bytes (at least 1) aligned to 8.
    pub fn new(bytes: usize) -> Self {
        let (start, layout) = allocate(bytes);
        Self(Block { start, layout })
    }
}

#[inline]
fn allocate(bytes: usize) -> (NonNull<u8>, Layout) {
    let Ok(layout) = Layout::from_size_align(bytes.max(1), 8) else {
        handle_alloc_error(Layout::new::<u8>())
    };
    // SAFETY: the layout's size is not 0: `max` above.
    let start = unsafe { alloc(layout) };
    let Some(start) = NonNull::new(black_box(start)) else { handle_alloc_error(layout) };
    (start, layout)
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `allocate` got the block with this layout, and it is freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
