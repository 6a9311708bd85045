//! Frees that know the size, and the size that a request is rounded to.

use crate::heap::{ANY_ALIGN, HEAP, deallocate_compared};
use core::ffi::{c_int, c_void};

/// The six bits of jemalloc's flags that hold the logarithm of the alignment (`MALLOCX_LG_ALIGN`).
const LG_ALIGN_BITS: c_int = 63;

/// Takes a block of `malloc`, `calloc` or `realloc` back that was asked for with `size` bytes; null is none.
/// A block of another size class ends the program with one line. (C23 7.24.3.4)
///
/// # Safety
///
/// `pointer` is null, or a block of that size which nobody uses any more and which was not asked for with an alignment.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(pointer: *mut c_void, size: usize) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { deallocate_compared(pointer, ANY_ALIGN, size) };
}

/// Takes a block of `aligned_alloc` back that was asked for with this alignment and size; null is none. (C23 7.24.3.5)
///
/// # Safety
///
/// `pointer` is null, or a block of that alignment and size which nobody uses any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(pointer: *mut c_void, align: usize, size: usize) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { deallocate_compared(pointer, align, size) };
}

/// Takes a block back as jemalloc's function of that name does: `size` and the alignment in `flags` are those
/// it was asked for, or anything up to the size that [`nallocx`] has for them.
///
/// # Safety
///
/// `pointer` is a block of that size and alignment which nobody uses any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn sdallocx(pointer: *mut c_void, size: usize, flags: c_int) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { deallocate_compared(pointer, align_of_flags(flags), size) };
}

/// How many bytes a block of such a request would have; 0 if there can be no such block. (jemalloc(3))
#[unsafe(no_mangle)]
extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    HEAP.rounded_size(size, align_of_flags(flags)).unwrap_or(0)
}

fn align_of_flags(flags: c_int) -> usize {
    1 << (flags & LG_ALIGN_BITS)
}
