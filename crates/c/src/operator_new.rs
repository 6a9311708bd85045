//! The eight forms of C++'s operator new.
//!
//! A block that is cached is handed out without a call, as in `malloc`. Where there is none, the rest is a jump to
//! [`throw`](crate::throw), which leaves no frame of Rust's under a C++ exception. ([new.delete.single],
//! [new.delete.array])
//!
//! Two of them stand on their own. The others are by default what C++ derives from those, and so call a program's,
//! if it replaced one: `throw::derived` has their entries, which come here only where it did not.

use crate::heap::HEAP;
use crate::throw::{allocate_or_null, allocate_or_throw, throw_bad_alloc};
use core::ffi::c_void;
use core::ptr;

/// `operator new(std::size_t)`
#[unsafe(export_name = "_Znwm")]
extern "C" fn new(size: usize) -> *mut c_void {
    or_throw(size)
}

/// `operator new[](std::size_t)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_Znam")]
extern "C" fn new_array(size: usize) -> *mut c_void {
    or_throw(size)
}

/// `operator new(std::size_t, const std::nothrow_t&)`
#[cfg_attr(not(target_arch = "x86_64"), unsafe(export_name = "_ZnwmRKSt9nothrow_t"))]
pub(crate) extern "C" fn new_nothrow(size: usize, _: *const c_void) -> *mut c_void {
    or_null(size)
}

/// `operator new[](std::size_t, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZnamRKSt9nothrow_t")]
extern "C" fn new_array_nothrow(size: usize, _: *const c_void) -> *mut c_void {
    or_null(size)
}

/// `operator new(std::size_t, std::align_val_t)`
#[unsafe(export_name = "_ZnwmSt11align_val_t")]
extern "C" fn new_aligned(size: usize, align: usize) -> *mut c_void {
    aligned_or_throw(size, align)
}

/// `operator new[](std::size_t, std::align_val_t)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZnamSt11align_val_t")]
extern "C" fn new_array_aligned(size: usize, align: usize) -> *mut c_void {
    aligned_or_throw(size, align)
}

/// `operator new(std::size_t, std::align_val_t, const std::nothrow_t&)`
#[cfg_attr(not(target_arch = "x86_64"), unsafe(export_name = "_ZnwmSt11align_val_tRKSt9nothrow_t"))]
pub(crate) extern "C" fn new_aligned_nothrow(
    size: usize,
    align: usize,
    _: *const c_void,
) -> *mut c_void {
    aligned_or_null(size, align)
}

/// `operator new[](std::size_t, std::align_val_t, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZnamSt11align_val_tRKSt9nothrow_t")]
extern "C" fn new_array_aligned_nothrow(
    size: usize,
    align: usize,
    _: *const c_void,
) -> *mut c_void {
    aligned_or_null(size, align)
}

#[inline(always)]
fn or_throw(size: usize) -> *mut c_void {
    // SAFETY: the heap asks as the last thing that it does, and holds nothing that is dropped: a jump.
    HEAP.allocate_or(size, |size, align| unsafe { allocate_or_throw(size, align) }).cast()
}

#[inline(always)]
fn or_null(size: usize) -> *mut c_void {
    // SAFETY: the heap's sizes and alignments are valid ones.
    HEAP.allocate_or(size, |size, align| unsafe { allocate_or_null(size, align) }).cast()
}

#[inline(always)]
fn aligned_or_throw(size: usize, align: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        // No handler could help: there is no such block.
        // SAFETY: nothing of this frame is needed any more, and it has nothing to drop: a jump.
        return unsafe { throw_bad_alloc(size, align) }.cast();
    }
    let exhausted = |size, align| {
        // SAFETY: the heap asks as the last thing that it does, and holds nothing that is dropped: a jump.
        unsafe { allocate_or_throw(size, align) }
    };
    HEAP.allocate_aligned_or(size, align, exhausted).cast()
}

#[inline(always)]
fn aligned_or_null(size: usize, align: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return ptr::null_mut();
    }
    let exhausted = |size, align| {
        // SAFETY: the heap's sizes and alignments are valid ones.
        unsafe { allocate_or_null(size, align) }
    };
    HEAP.allocate_aligned_or(size, align, exhausted).cast()
}
