//! The next definition of a function that this library defines, too: the C library's, as a rule.

use core::arch::asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr;

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// glibc's, which is loaded in every program that the loader starts.
const C_LIBRARY: &CStr = c"libc.so.6";

/// A function of the loader's, which a static program has not: null there.
macro_rules! of_the_loader {
    ($name:literal) => {{
        let found: *const c_void;
        // SAFETY: loads an entry of this object's own offset table, which the loader has filled; touches nothing else.
        unsafe {
            asm!(
                concat!(".weak ", $name),
                concat!("mov {found}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                found = out(reg) found,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        found
    }};
}

/// The definition of `name` that a program finds first; null if there is none.
pub(crate) fn first_definition(name: &CStr) -> *mut c_void {
    look_up(libc::RTLD_DEFAULT, name)
}

/// The definition of `name` behind this library's own, which is `ours`; null if there is none.
///
/// The loader looks behind the library that calls `dlsym`. Where that is one that stands before this one and has a `dlsym` of its own, it
/// finds ours: then the C library is asked.
pub(crate) fn next_definition(name: &CStr, ours: *const ()) -> *mut c_void {
    let is_another = |found: &*mut c_void| !ptr::eq(found.cast_const(), ours.cast());
    Some(look_up(libc::RTLD_NEXT, name))
        .filter(is_another)
        .or_else(|| Some(look_up(c_library()?, name)).filter(is_another))
        .unwrap_or(ptr::null_mut())
}

fn look_up(library: *mut c_void, name: &CStr) -> *mut c_void {
    let dlsym = of_the_loader!("dlsym");
    // SAFETY: null, or the C library's function, which has this type.
    let dlsym = unsafe { transmute::<*const c_void, Option<Dlsym>>(dlsym) };
    // SAFETY: a name that ends in zero. This library is one of those that the loader knows.
    dlsym.map_or(ptr::null_mut(), |dlsym| unsafe { dlsym(library, name.as_ptr()) })
}

/// The loader's handle of the C library, kept for ever: it is never unloaded.
fn c_library() -> Option<*mut c_void> {
    let dlopen = of_the_loader!("dlopen");
    // SAFETY: null, or the C library's function, which has this type.
    let dlopen = unsafe { transmute::<*const c_void, Option<Dlopen>>(dlopen) }?;
    // SAFETY: a name that ends in zero. Nothing is loaded, and so nothing of anybody's is run.
    let handle = unsafe { dlopen(C_LIBRARY.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
    (!handle.is_null()).then_some(handle)
}
