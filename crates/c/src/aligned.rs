//! Blocks at multiples of a power of two.

use crate::exhausted::{fail_with_einval, fail_with_enomem};
use crate::heap::{HEAP, allocate_aligned, allocate_aligned_up};
use core::ffi::{c_int, c_void};
use strata_os::kernel_page_bytes;

/// Puts a block at a multiple of `align` into `out`: answers 0, or `EINVAL` if `align` is no power of two or not a
/// multiple of a pointer's size, or `ENOMEM`. On errors `out` stays as it is. `errno` is `ENOMEM` too where memory has run
/// out, as with glibc, whose callers look there; else it stays. (POSIX 2024)
///
/// # Safety
///
/// `out` points to a pointer that may be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    out: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let block = HEAP.allocate_aligned(size, align);
    if block.is_null() {
        fail_with_enomem();
        return libc::ENOMEM;
    }
    // SAFETY: `out` is the program's own pointer, which posix_memalign(3) has it pass.
    unsafe { out.write(block.cast()) };
    0
}

/// A block at a multiple of `align`, of any size. Null with `EINVAL` if `align` is no power of two, with `ENOMEM` when
/// memory has run out. (C23 7.24.3.1)
#[unsafe(no_mangle)]
pub(crate) extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return fail_with_einval();
    }
    allocate_aligned(align, size)
}

/// The same, older: an alignment that is no power of two is rounded up to one, as glibc does.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    allocate_aligned_up(align, size)
}

/// A block that starts with a page of the kernel's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn valloc(size: usize) -> *mut c_void {
    allocate_aligned(kernel_page_bytes(), size)
}

/// The same, of whole pages, at least one.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pvalloc(size: usize) -> *mut c_void {
    whole_pages(size)
}

/// [`pvalloc`].
#[inline(always)]
pub(crate) fn whole_pages(size: usize) -> *mut c_void {
    let page = kernel_page_bytes();
    match size.max(1).checked_next_multiple_of(page) {
        Some(bytes) => allocate_aligned(page, bytes),
        None => fail_with_enomem(),
    }
}
