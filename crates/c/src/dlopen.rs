//! `dlopen`, behind which libraries look for `malloc` where the C library's own is.
//!
//! A library that is loaded with `RTLD_DEEPBIND` looks names up in itself and in what it needs first, and behind
//! that where the program does. The C library is among what it needs: so it allocates from the C library's heap,
//! the program from this one, and the first block that one of them makes and the other frees ends the program. PHP
//! loads all its modules so. A program that asks for the C library itself, and looks `free` or `malloc_trim` up
//! there, as is done from Python (`ctypes.CDLL("libc.so.6")`) and other languages, gets those of a heap that nobody
//! uses.
//!
//! So before the loader is asked for one of these, the names of the allocator's functions in the C library are led
//! here, in this process: see [`DynamicSymbols::redirect`]. All other names such libraries find as before. Who runs
//! neither pays nothing.
//!
//! In `libstrata.a` the name is made local (`cargo xtask dist`): a static program has no second one to call.

use crate::{aligned, glibc, introspection, malloc, mallopt, vfork};
use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use strata_os::{DynamicSymbols, Loader};
use strata_sync::atomic::{AtomicBool, AtomicPtr, Ordering};

const DLOPEN: &CStr = c"dlopen";
const MALLOC: &CStr = c"malloc";

/// Files that have the loader's functions: glibc's C library from 2.34 on, and what had them before.
const C_LIBRARY: &CStr = c"libc.so.6";
const LOADERS: [&CStr; 2] = [C_LIBRARY, c"libdl.so.2"];

/// The functions by which glibc's heap can be reached, and `vfork`, whose child may reach it.
const FUNCTIONS: [(&CStr, *const ()); 28] = [
    (MALLOC, malloc::malloc as *const ()),
    (c"free", malloc::free as *const ()),
    (c"calloc", malloc::calloc as *const ()),
    (c"realloc", malloc::realloc as *const ()),
    (c"posix_memalign", aligned::posix_memalign as *const ()),
    (c"aligned_alloc", aligned::aligned_alloc as *const ()),
    (c"memalign", aligned::memalign as *const ()),
    (c"valloc", aligned::valloc as *const ()),
    (c"pvalloc", aligned::pvalloc as *const ()),
    (c"cfree", glibc::cfree as *const ()),
    (c"malloc_usable_size", glibc::malloc_usable_size as *const ()),
    (c"malloc_trim", glibc::malloc_trim as *const ()),
    (c"mallopt", mallopt::mallopt as *const ()),
    (c"mallinfo", introspection::mallinfo as *const ()),
    (c"mallinfo2", introspection::mallinfo2 as *const ()),
    (c"malloc_stats", introspection::malloc_stats as *const ()),
    (c"malloc_info", introspection::malloc_info as *const ()),
    (c"__libc_malloc", malloc::malloc as *const ()),
    (c"__libc_free", malloc::free as *const ()),
    (c"__libc_calloc", malloc::calloc as *const ()),
    (c"__libc_realloc", malloc::realloc as *const ()),
    (c"__libc_memalign", aligned::memalign as *const ()),
    (c"__libc_valloc", glibc::__libc_valloc as *const ()),
    (c"__libc_pvalloc", glibc::__libc_pvalloc as *const ()),
    (c"__libc_mallopt", mallopt::__libc_mallopt as *const ()),
    (c"__libc_mallinfo", introspection::__libc_mallinfo as *const ()),
    (c"vfork", vfork::vfork as *const ()),
    (c"__vfork", vfork::vfork as *const ()),
];

/// The next library's `dlopen`, the C library's as a rule. Written by who calls it first.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Whether the C library's names were led here, or cannot be. Written and read by who holds off forks.
static IS_DONE: AtomicBool = AtomicBool::new(false);

/// Loads a library, or finds one that is loaded; null where that fails. (dlopen(3))
///
/// The next definition returns to the caller at once, since it looks where that is: a library's caller says where
/// to look for libraries.
///
/// # Safety
///
/// As for the C library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        crate::frame::push!("rdi"),
        crate::frame::push!("rsi"),
        crate::frame::push!("rsi"), // for the stack's alignment
        "call {prepare}",
        crate::frame::pop!("rsi"),
        crate::frame::pop!("rsi"),
        crate::frame::pop!("rdi"),
        "test rax, rax",
        "jz 2f",
        "jmp rax",
        "2:",
        "ret",
        ".cfi_endproc",
        prepare = sym prepare,
    )
}

/// What is to be called with the same arguments; null if there is nothing.
///
/// # Safety
///
/// `file` is null or ends in a zero byte.
#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn prepare(file: *const c_char, mode: c_int) -> *mut c_void {
    // SAFETY: the name is null or ends in a zero byte, as the caller promises.
    if mode & libc::RTLD_DEEPBIND != 0 || unsafe { is_c_library(file) } {
        lead_names_here();
    }
    if NEXT.load(Ordering::Relaxed).is_null() {
        NEXT.store(find_next(), Ordering::Relaxed);
    }
    NEXT.load(Ordering::Relaxed)
}

/// Not by [`next_definition`](crate::next::next_definition), which may load.
#[unsafe(link_section = ".text_rarely")]
fn find_next() -> *mut c_void {
    let Some(loader) = Loader::find() else { return ptr::null_mut() };
    let is_another =
        |found: &*mut c_void| !found.is_null() && !ptr::eq(*found, dlopen as *mut c_void);
    let in_files = || {
        let mut found =
            LOADERS.iter().filter_map(|file| DynamicSymbols::of(file)?.function(DLOPEN));
        found.next().map(<*const c_void>::cast_mut)
    };
    Some(loader.next(DLOPEN)).filter(is_another).or_else(in_files).unwrap_or(ptr::null_mut())
}

/// # Safety
///
/// `file` is null or ends in a zero byte.
#[unsafe(link_section = ".text_rarely")]
unsafe fn is_c_library(file: *const c_char) -> bool {
    if file.is_null() {
        return false;
    }
    // SAFETY: the name is not null, and ends in a zero byte, as the caller promises.
    let path = unsafe { CStr::from_ptr(file) };
    path.to_bytes().rsplit(|&byte| byte == b'/').next() == Some(C_LIBRARY.to_bytes())
}

/// Leads the C library's names to the functions here, if these are the program's own. One library that stands
/// before this one and wraps its functions may be looking for those of the C library; and where this one came late,
/// the program has blocks of the C library's.
#[unsafe(link_section = ".text_rarely")]
fn lead_names_here() {
    // Forks wait, so that no child finds it half done, and so does every other thread.
    let _held_off = strata_alloc::hold_off_forks();
    if IS_DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    let is_ours = DynamicSymbols::first_function(MALLOC) == Some(malloc::malloc as *const c_void);
    if is_ours && let Some(symbols) = DynamicSymbols::of(C_LIBRARY) {
        // SAFETY: each is what the C library has under that name, by its type and what it does; this library is
        // never unloaded; and one thread at a time is here. A block of the C library's own heap is nobody's: its
        // names led here before anybody could look them up.
        unsafe { symbols.redirect(&FUNCTIONS) };
    }
}
