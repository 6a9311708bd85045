//! What glibc has beyond the standards, and its second names.
//!
//! A function of the family that were left to glibc would hand out blocks of another heap, and a program that
//! frees one would end. So all names are here by which glibc's allocator can be reached.

use crate::aligned::whole_pages;
use crate::heap::{
    HEAP, allocate, allocate_aligned, allocate_aligned_up, allocate_zeroed, deallocate, reallocate,
};
use core::ffi::{c_int, c_void};
use strata_os::kernel_page_bytes;

/// How many bytes of the block may be used, all of them to be written; 0 for null.
///
/// # Safety
///
/// `pointer` is null or a block in use.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_usable_size(pointer: *mut c_void) -> usize {
    if pointer.is_null() {
        return 0;
    }
    // SAFETY: the caller's block, which is in use; the pointer is not null.
    unsafe { HEAP.usable_size(pointer.cast()) }
}

/// Gives what is free back to the kernel, but for `keep_bytes` bytes: 1 if anything went back, else 0. (malloc_trim(3))
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc_trim(keep_bytes: usize) -> c_int {
    c_int::from(HEAP.release_all_but(keep_bytes) != 0)
}

/// `free` by the name that it had in SunOS; glibc has it for old programs.
///
/// # Safety
///
/// As for `free`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cfree(pointer: *mut c_void) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up with this call.
    unsafe { deallocate(pointer) };
}

/// `malloc`.
#[unsafe(no_mangle)]
extern "C" fn __libc_malloc(size: usize) -> *mut c_void {
    allocate(size)
}

/// `free`.
///
/// # Safety
///
/// As for `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_free(pointer: *mut c_void) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up with this call.
    unsafe { deallocate(pointer) };
}

/// `calloc`.
#[unsafe(no_mangle)]
extern "C" fn __libc_calloc(count: usize, size: usize) -> *mut c_void {
    allocate_zeroed(count, size)
}

/// `realloc`.
///
/// # Safety
///
/// As for `realloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: null, or a block of `HEAP` that is its owner's alone while this runs.
    unsafe { reallocate(pointer, size) }
}

/// `memalign`.
#[unsafe(no_mangle)]
extern "C" fn __libc_memalign(align: usize, size: usize) -> *mut c_void {
    allocate_aligned_up(align, size)
}

/// `valloc`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __libc_valloc(size: usize) -> *mut c_void {
    allocate_aligned(kernel_page_bytes(), size)
}

/// `pvalloc`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __libc_pvalloc(size: usize) -> *mut c_void {
    whole_pages(size)
}
