//! The dynamic loader, which a static program has not.

use crate::weak;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr::NonNull;

type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
pub(crate) type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

/// The loader's functions by which names are looked up at run time: dlopen(3) and dlsym(3). They may allocate, and
/// take locks of the loader's.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    dlsym: Dlsym,
}

/// A library that is loaded, and stays so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadedLibrary(NonNull<c_void>);

impl Loader {
    /// The process's; none in a program that was linked statically.
    pub fn find() -> Option<Self> {
        Some(Self { dlsym: weak::dlsym()? })
    }

    /// What a program finds first under a name; null if nothing has it.
    pub fn first(self, name: &CStr) -> *mut c_void {
        // SAFETY: a name that ends in zero, and a handle that the loader defines.
        unsafe { (self.dlsym)(libc::RTLD_DEFAULT, name.as_ptr()) }
    }

    /// What stands under a name behind the object that this code is in; null if nothing does.
    pub fn next(self, name: &CStr) -> *mut c_void {
        // SAFETY: a name that ends in zero, and a handle that the loader defines; the object is one of those that
        // it loaded.
        unsafe { (self.dlsym)(libc::RTLD_NEXT, name.as_ptr()) }
    }

    /// What stands under a name in a library or those that it needs; null if nothing does.
    pub fn in_library(self, library: LoadedLibrary, name: &CStr) -> *mut c_void {
        // SAFETY: a name that ends in zero, and a library's handle, which is never closed.
        unsafe { (self.dlsym)(library.0.as_ptr(), name.as_ptr()) }
    }

    /// The library of that file name, if the process has it already. It is never unloaded after this.
    pub fn loaded(self, name: &CStr) -> Option<LoadedLibrary> {
        // Not by a weak reference: where the name is defined beside this code, that would make the definition weak.
        let dlopen = NonNull::new(self.first(c"dlopen"))?;
        // SAFETY: who has the name has a function of this type (dlopen(3)).
        let dlopen = unsafe { transmute::<NonNull<c_void>, Dlopen>(dlopen) };
        // SAFETY: a name that ends in zero. Nothing is loaded, and so nothing of anybody's is run.
        let handle = unsafe { dlopen(name.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        NonNull::new(handle).map(LoadedLibrary)
    }
}

#[cfg(test)]
mod tests;
