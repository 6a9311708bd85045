//! The next definition of a function that this library defines, too: the C library's, as a rule.

use core::ffi::{CStr, c_void};
use core::ptr;
use strata_os::Loader;

/// glibc's, which is loaded in every program that the loader starts.
const C_LIBRARY: &CStr = c"libc.so.6";

/// The definition of `name` that a program finds first; null if there is none.
pub(crate) fn first_definition(name: &CStr) -> *mut c_void {
    Loader::find().map_or(ptr::null_mut(), |loader| loader.first(name))
}

/// The definition of `name` behind this library's own, which is `ours`; null if there is none.
///
/// The loader looks behind the library that calls `dlsym`. Where that is one that stands before this one and has a
/// `dlsym` of its own, it finds ours: then the C library is asked.
pub(crate) fn next_definition(name: &CStr, ours: *const ()) -> *mut c_void {
    let is_another = |found: &*mut c_void| !ptr::eq(found.cast_const(), ours.cast());
    let Some(loader) = Loader::find() else { return ptr::null_mut() };
    let of_c_library = || Some(loader.in_library(loader.loaded(C_LIBRARY)?, name));
    Some(loader.next(name))
        .filter(is_another)
        .or_else(|| of_c_library().filter(is_another))
        .unwrap_or(ptr::null_mut())
}
