//! A program whose blocks come from Strata, for `cargo xtask hotpath` to look at: what the compiler makes of a Rust
//! allocation and of a free where the layout is known.

use core::alloc::Layout;
use core::hint::black_box;
use std::alloc::{alloc, dealloc, handle_alloc_error};

use strata_alloc::Heap;

#[global_allocator]
static HEAP: Heap = Heap::new();

/// A size that the caches hold.
const LAYOUT: Layout = Layout::new::<[u64; 8]>();

/// `GlobalAlloc::alloc`, as a program reaches it.
// SAFETY: no library that the program links has a function of this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hotpath_alloc() -> *mut u8 {
    // SAFETY: the layout's size is not 0.
    unsafe { alloc(LAYOUT) }
}

/// `GlobalAlloc::dealloc`, as a program reaches it.
///
/// # Safety
///
/// `block` is from `hotpath_alloc`, and the caller gives it up.
// SAFETY: no library that the program links has a function of this name.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn hotpath_dealloc(block: *mut u8) {
    // SAFETY: by the caller's promise the block is one of that layout.
    unsafe { dealloc(block, LAYOUT) }
}

fn main() {
    let block = black_box(hotpath_alloc());
    if block.is_null() {
        handle_alloc_error(LAYOUT);
    }
    // SAFETY: the block is ours, at least one byte long, and aligned to any byte.
    unsafe { block.write(1) };
    // SAFETY: the block is from `hotpath_alloc`, and nobody looks at it any more.
    unsafe { hotpath_dealloc(black_box(block)) };
}
