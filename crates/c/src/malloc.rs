//! What the C standard has: `malloc`, `calloc`, `realloc`, `free`.
//!
//! The paths of a block whose class is cached are inlined into `malloc` and `free`: nothing is called on them.

use crate::heap::{allocate, allocate_zeroed, deallocate, reallocate};
use core::ffi::c_void;

/// A block of at least `size` bytes. Null with `ENOMEM` when memory has run out or `size` is beyond
/// `PTRDIFF_MAX`. A size of 0 is a block of its own. (C23 7.24.3.6)
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    allocate(size)
}

/// Takes a block back; null is none, and nothing happens. `errno` stays. (C23 7.24.3.3, POSIX 2024)
///
/// # Safety
///
/// `pointer` is null or a block that nobody uses any more.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(pointer: *mut c_void) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up with this call.
    unsafe { deallocate(pointer) };
}

/// A block for `count` objects of `size` bytes, all zero. Null with `ENOMEM` if the product is no size.
/// (C23 7.24.3.2)
#[unsafe(no_mangle)]
pub(crate) extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    allocate_zeroed(count, size)
}

/// The block with room for `size` bytes, moved if need be, with its content as far as both sizes reach. Null
/// with `ENOMEM` leaves the old block as it is. Of null it makes a new block; to 0 bytes it frees, and
/// answers null without an error, as glibc does (C23 leaves that undefined). (C23 7.24.3.7)
///
/// The new block is aligned as one of `malloc`'s, whatever the old one was.
///
/// # Safety
///
/// `pointer` is null or a block, which nobody uses any more unless the answer is null and `size` is not 0.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: null, or a block of `HEAP` that is its owner's alone while this runs.
    unsafe { reallocate(pointer, size) }
}
