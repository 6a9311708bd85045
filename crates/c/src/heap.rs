//! The heap that all functions of the library share, as C sees it.
//!
//! The exported functions are made of these, which are inlined: an exported function that called another one would
//! go through the loader's tables, and might find another library's.

use crate::exhausted::{fail_with_einval, fail_with_enomem};
use core::ffi::c_void;
use core::ptr;
use strata_alloc::{Config, Heap, HeapConfig, Standard};

#[cfg(strata_page_size = "4k")]
type Pages = strata_size_classes::Pages4K;
#[cfg(not(any(strata_page_size = "4k", strata_page_size = "32k", strata_page_size = "256k")))]
type Pages = strata_size_classes::Pages8K;
#[cfg(strata_page_size = "32k")]
type Pages = strata_size_classes::Pages32K;
#[cfg(strata_page_size = "256k")]
type Pages = strata_size_classes::Pages256K;

/// What the program's heap is made of: what is standard, and that it is the only one.
#[derive(Debug)]
pub(crate) enum Program {}

impl HeapConfig for Program {
    type Pages = Pages;
    type Source = <Standard<Pages> as HeapConfig>::Source;
    type PageHeap = <Standard<Pages> as HeapConfig>::PageHeap;
    type Clock = <Standard<Pages> as HeapConfig>::Clock;

    const MARKS_FREE_BLOCKS: bool = true;

    const IS_ONLY_HEAP: bool = true;

    fn source() -> &'static Self::Source {
        Standard::<Pages>::source()
    }

    fn clock() -> &'static Self::Clock {
        Standard::<Pages>::clock()
    }

    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        Standard::<Pages>::configure(page_heap, config);
    }
}

/// Configured by `STRATA_CONF`. Costs nothing before the first block.
pub(crate) static HEAP: Heap<Program> = Heap::with_background_thread();

/// The alignment to name for a block that needs none beyond what its size gives it.
pub(crate) const ANY_ALIGN: usize = 1;

/// A block; null with `ENOMEM`.
#[inline(always)]
pub(crate) fn allocate(size: usize) -> *mut c_void {
    HEAP.allocate_or(size, |_, _| fail_with_enomem().cast()).cast()
}

/// A block at a multiple of `align`, which is a power of two; null with `ENOMEM`.
#[inline(always)]
pub(crate) fn allocate_aligned(align: usize, size: usize) -> *mut c_void {
    HEAP.allocate_aligned_or(size, align, |_, _| fail_with_enomem().cast()).cast()
}

/// A block at a multiple of the power of two that `align` is, or is rounded up to; null with `ENOMEM`, or `EINVAL` if there
/// is no such power.
#[inline(always)]
pub(crate) fn allocate_aligned_up(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => allocate_aligned(align, size),
        None => fail_with_einval(),
    }
}

/// A block of zeroes for `count` objects of `size` bytes; null with `ENOMEM`.
#[inline(always)]
pub(crate) fn allocate_zeroed(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) => or_enomem(HEAP.allocate_zeroed(bytes, ANY_ALIGN)),
        None => fail_with_enomem(),
    }
}

/// The block with another size, as `realloc` has it.
///
/// # Safety
///
/// `pointer` is null or a block, which nobody uses any more unless the answer is null and `size` is not 0.
#[inline(always)]
pub(crate) unsafe fn reallocate(pointer: *mut c_void, size: usize) -> *mut c_void {
    if pointer.is_null() {
        return allocate(size);
    }
    if size == 0 {
        // SAFETY: a block of `HEAP`, which realloc(3) frees where the new size is 0.
        unsafe { deallocate(pointer) };
        return ptr::null_mut();
    }
    // SAFETY: the caller's block, which nobody uses meanwhile; the pointer is not null.
    or_enomem(unsafe { HEAP.reallocate_with_room(pointer.cast(), ANY_ALIGN, size) })
}

/// Takes a block back, or null.
///
/// # Safety
///
/// `pointer` is null or a block that nobody uses any more.
#[inline(always)]
pub(crate) unsafe fn deallocate(pointer: *mut c_void) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up with this call.
    unsafe { HEAP.deallocate(pointer.cast()) };
}

/// Takes a block back whose size and alignment are known, or null. What the page map knows of the block is compared
/// with what is said.
///
/// # Safety
///
/// `pointer` is null or a block that nobody uses any more; it was asked for with this alignment, and with a size that is
/// rounded to the same as `size`.
#[inline(always)]
pub(crate) unsafe fn deallocate_sized(pointer: *mut c_void, align: usize, size: usize) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { HEAP.deallocate_sized(pointer.cast(), size, align) };
}

/// The same; a pointer into a block is told of as well.
///
/// # Safety
///
/// As for [`deallocate_sized`].
#[inline(never)]
pub(crate) unsafe fn deallocate_compared(pointer: *mut c_void, align: usize, size: usize) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { HEAP.deallocate_compared(pointer.cast(), size, align) };
}

/// The block; if it is null, `errno` says why.
#[inline(always)]
pub(crate) fn or_enomem(block: *mut u8) -> *mut c_void {
    if block.is_null() { fail_with_enomem() } else { block.cast() }
}
