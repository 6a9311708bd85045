//! How C is told that it gets no block.

use core::ffi::c_void;
use core::ptr;
use strata_os::set_errno;

/// Null, and `errno` is `ENOMEM`.
#[cold]
#[inline(never)]
pub(crate) fn fail_with_enomem() -> *mut c_void {
    set_errno(libc::ENOMEM);
    ptr::null_mut()
}

/// Null, and `errno` is `EINVAL`.
#[cold]
#[inline(never)]
pub(crate) fn fail_with_einval() -> *mut c_void {
    set_errno(libc::EINVAL);
    ptr::null_mut()
}
