//! The twelve forms of C++'s operator delete.
//!
//! Those that are given the size look nothing up. Null is no object, and nothing happens. ([new.delete.single],
//! [new.delete.array])
//!
//! Ten of them are by default what C++ derives from the other two, and so call a program's, if it replaced one:
//! `throw::derived` has the entries of nine, which come here only where it did not, and sends
//! `operator delete(void*, std::size_t)` elsewhere when the library is loaded, if it did.

use crate::heap::{ANY_ALIGN, deallocate, deallocate_sized};
use core::ffi::c_void;

/// `operator delete(void*)`
///
/// # Safety
///
/// Here and below: `pointer` is null or came from the matching form of operator new, and nobody uses it any more; size and
/// alignment are those that it was asked for with.
#[unsafe(export_name = "_ZdlPv")]
unsafe extern "C" fn delete(pointer: *mut c_void) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete[](void*)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPv")]
unsafe extern "C" fn delete_array(pointer: *mut c_void) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete(void*, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdlPvRKSt9nothrow_t")]
unsafe extern "C" fn delete_nothrow(pointer: *mut c_void, _: *const c_void) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete[](void*, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPvRKSt9nothrow_t")]
unsafe extern "C" fn delete_array_nothrow(pointer: *mut c_void, _: *const c_void) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete(void*, std::size_t)`
#[unsafe(export_name = "_ZdlPvm")]
unsafe extern "C" fn delete_sized(pointer: *mut c_void, size: usize) {
    // SAFETY: null, or what the matching operator new answered, given up with this call; the compiler passes the
    // size that it passed there.
    unsafe { deallocate_sized(pointer, ANY_ALIGN, size) };
}

/// `operator delete[](void*, std::size_t)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPvm")]
unsafe extern "C" fn delete_array_sized(pointer: *mut c_void, size: usize) {
    // SAFETY: null, or what the matching operator new answered, given up with this call; the compiler passes the
    // size that it passed there.
    unsafe { deallocate_sized(pointer, ANY_ALIGN, size) };
}

/// `operator delete(void*, std::align_val_t)`
#[unsafe(export_name = "_ZdlPvSt11align_val_t")]
unsafe extern "C" fn delete_aligned(pointer: *mut c_void, _align: usize) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete[](void*, std::align_val_t)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPvSt11align_val_t")]
unsafe extern "C" fn delete_array_aligned(pointer: *mut c_void, _align: usize) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete(void*, std::align_val_t, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdlPvSt11align_val_tRKSt9nothrow_t")]
unsafe extern "C" fn delete_aligned_nothrow(pointer: *mut c_void, _align: usize, _: *const c_void) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete[](void*, std::align_val_t, const std::nothrow_t&)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPvSt11align_val_tRKSt9nothrow_t")]
unsafe extern "C" fn delete_array_aligned_nothrow(
    pointer: *mut c_void,
    _align: usize,
    _: *const c_void,
) {
    // SAFETY: null, or what the matching operator new answered, given up with this call.
    unsafe { deallocate(pointer) };
}

/// `operator delete(void*, std::size_t, std::align_val_t)`
#[cfg_attr(not(target_arch = "x86_64"), unsafe(export_name = "_ZdlPvmSt11align_val_t"))]
pub(crate) unsafe extern "C" fn delete_sized_aligned(
    pointer: *mut c_void,
    size: usize,
    align: usize,
) {
    // SAFETY: null, or what the matching operator new answered, given up with this call; the compiler passes the
    // size and the alignment that it passed there.
    unsafe { deallocate_sized(pointer, align, size) };
}

/// `operator delete[](void*, std::size_t, std::align_val_t)`
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(export_name = "_ZdaPvmSt11align_val_t")]
unsafe extern "C" fn delete_array_sized_aligned(pointer: *mut c_void, size: usize, align: usize) {
    // SAFETY: null, or what the matching operator new answered, given up with this call; the compiler passes the
    // size and the alignment that it passed there.
    unsafe { deallocate_sized(pointer, align, size) };
}
