//! What jemalloc has beyond the standards: requests with flags. (jemalloc(3))
//!
//! A program that is linked with jemalloc and calls some of these (BIND's named does) finds this library's in front
//! of it, so all of them are here: a block of one heap must not meet a free of the other. What speaks of jemalloc's
//! heap itself (`mallctl` and its kin, `malloc_stats_print`) stays jemalloc's. Of the flags the alignment counts,
//! and that the block shall be zero; arenas and thread caches are not there to be chosen from.

use crate::heap::{HEAP, deallocate, deallocate_compared, or_enomem};
use core::ffi::{c_int, c_void};

/// The six bits of the flags that hold the logarithm of the alignment (`MALLOCX_LG_ALIGN`).
const LG_ALIGN_BITS: c_int = 63;
/// The block shall be zero (`MALLOCX_ZERO`).
const ZERO: c_int = 64;

/// A block of at least `size` bytes with this alignment; null with `ENOMEM`. If it shall be zero, all of it is that
/// may be used.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
extern "C" fn mallocx(size: usize, flags: c_int) -> *mut c_void {
    let align = align_of_flags(flags);
    if flags & ZERO == 0 {
        return or_enomem(HEAP.allocate_aligned(size, align));
    }
    let bytes = HEAP.rounded_size(size, align).unwrap_or(size);
    or_enomem(HEAP.allocate_zeroed(bytes, align))
}

/// The block with room for `size` bytes, moved if need be, with its content as far as both reach. Null with
/// `ENOMEM` leaves the old one as it is. If it shall be zero, what may be used of the new one beyond what could be
/// of the old one is.
///
/// # Safety
///
/// `pointer` is a block, which nobody uses any more unless the answer is null.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn rallocx(pointer: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    let zero_from = if flags & ZERO == 0 {
        usize::MAX
    } else {
        // SAFETY: the caller's block, before anything is done with it.
        unsafe { sallocx(pointer, flags) }
    };
    let align = align_of_flags(flags);
    // All that may be used of both is kept, whatever was asked for: it may have been zero so far.
    let bytes = HEAP.rounded_size(size, align).unwrap_or(size);
    let block = if pointer.addr().is_multiple_of(align) {
        // SAFETY: the caller's block, which nobody uses meanwhile. Whether it stays or moves, it has the alignment.
        unsafe { HEAP.reallocate(pointer.cast(), align, bytes) }
    } else {
        // SAFETY: the caller's block, which nobody uses meanwhile.
        unsafe { move_to_alignment(pointer.cast(), align, bytes) }
    };
    if !block.is_null() && zero_from != usize::MAX {
        // SAFETY: the block that was just made, the caller's alone.
        let bytes = unsafe { sallocx(block.cast(), flags) };
        // SAFETY: a place in the block, or its end.
        let new_bytes = unsafe { block.add(zero_from.min(bytes)) };
        // SAFETY: its usable bytes from there on; none if there are fewer.
        unsafe { new_bytes.write_bytes(0, bytes.saturating_sub(zero_from)) };
    }
    or_enomem(block)
}

/// The contents of a block in another one of that size and alignment; null if there is none, and then the block stays.
///
/// # Safety
///
/// `pointer` is a block, which nobody uses any more unless the answer is null.
#[unsafe(link_section = ".text_rarely")]
unsafe fn move_to_alignment(pointer: *mut u8, align: usize, size: usize) -> *mut u8 {
    let block = HEAP.allocate_aligned(size, align);
    if block.is_null() {
        return block;
    }
    // SAFETY: the caller's block.
    let old_size = unsafe { HEAP.usable_size(pointer) };
    // SAFETY: both have as many bytes, and the new block is another one.
    unsafe { pointer.copy_to_nonoverlapping(block, old_size.min(size)) };
    // SAFETY: the caller gave it up.
    unsafe { deallocate(pointer.cast()) };
    block
}

/// How many bytes of the block may be used once it was tried to have it grow or shrink where it is, to `size` bytes
/// at least. Here it stays as it is: what a block can grow to without moving may be used from its beginning.
///
/// # Safety
///
/// `pointer` is a block in use.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn xallocx(
    pointer: *mut c_void,
    _size: usize,
    _extra: usize,
    flags: c_int,
) -> usize {
    // SAFETY: the caller's block, which is in use.
    unsafe { sallocx(pointer, flags) }
}

/// How many bytes of the block may be used.
///
/// # Safety
///
/// `pointer` is a block in use.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn sallocx(pointer: *mut c_void, _flags: c_int) -> usize {
    // SAFETY: the caller's block, which is in use.
    unsafe { HEAP.usable_size(pointer.cast()) }
}

/// Takes a block back.
///
/// # Safety
///
/// `pointer` is a block that nobody uses any more.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn dallocx(pointer: *mut c_void, _flags: c_int) {
    // SAFETY: a block of `HEAP` that its owner gave up with this call.
    unsafe { deallocate(pointer) };
}

/// Takes a block back whose `size` and alignment are those it was asked for, or anything up to the size that
/// [`nallocx`] has for them.
///
/// # Safety
///
/// `pointer` is a block of that size and alignment which nobody uses any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn sdallocx(pointer: *mut c_void, size: usize, flags: c_int) {
    // SAFETY: null, or a block of `HEAP` that its owner gave up; what is said of it is compared.
    unsafe { deallocate_compared(pointer, align_of_flags(flags), size) };
}

/// How many bytes a block of such a request would have; 0 if there can be no such block.
#[unsafe(no_mangle)]
extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    HEAP.rounded_size(size, align_of_flags(flags)).unwrap_or(0)
}

fn align_of_flags(flags: c_int) -> usize {
    1 << (flags & LG_ALIGN_BITS)
}
