//! Frees that know the size, and the size that a request is rounded to.

use crate::heap::{ANY_ALIGN, deallocate_compared};
use core::ffi::c_void;

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
