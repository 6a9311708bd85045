//! What operator new does when there is no memory: ask the new-handler, try again, throw `std::bad_alloc`.
//!
//! [new.delete.single] wants a loop: while there is a new-handler, call it and try again; without one, throw, or answer
//! null in the nothrow forms, which also do so when the handler throws. The handler is the program's and may throw itself,
//! so that both exceptions pass through this code: it is assembly with unwind tables of its own, and Rust's functions jump
//! here instead of calling, which leaves no frame of theirs in between.
//!
//! The library needs no C++ runtime and no C++ compiler. What it takes from the runtime are weak references, which the
//! loader fills when the program or a library of it was linked with one (libstdc++ or libc++). Where the runtime came later, by
//! `dlopen`, say into an interpreter written in C, it is looked for once memory has run out. Without any runtime nobody can
//! have asked for an exception: one line, and abort.

use crate::heap::HEAP;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr;
use strata_os::{KeepErrno, crash};
use strata_sync::atomic::{AtomicPtr, Ordering};

#[cfg(target_arch = "x86_64")]
mod derived;
#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use derived::let_sized_delete_call_a_replaced_one;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::{
    allocate_or_null, allocate_or_throw, allocate_sized_or_throw, throw_bad_alloc,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{
    allocate_or_null, allocate_or_throw, allocate_sized_or_throw, throw_bad_alloc,
};

/// A word for each thing of the C++ runtime, null where it is not there. Filled by the loader, or else by [`find_runtime`],
/// which publishes nothing but the runtime's own code and constants: relaxed. The assembly knows the order of the fields.
#[repr(C)]
struct Runtime {
    /// `std::get_new_handler()`
    get_new_handler: AtomicPtr<c_void>,
    /// `__cxa_allocate_exception`
    allocate_exception: AtomicPtr<c_void>,
    /// `std::bad_alloc`'s table of virtual functions
    vtable: AtomicPtr<c_void>,
    /// `typeid(std::bad_alloc)`
    type_information: AtomicPtr<c_void>,
    /// `std::bad_alloc::~bad_alloc()`
    destructor: AtomicPtr<c_void>,
    /// `__cxa_begin_catch`
    begin_catch: AtomicPtr<c_void>,
    /// `__cxa_end_catch`
    end_catch: AtomicPtr<c_void>,
    /// `__gxx_personality_v0`, which reads the table of what is caught where
    personality: AtomicPtr<c_void>,
    /// `__cxa_throw`: stored last
    throw: AtomicPtr<c_void>,
    /// The loader's `dlopen`, which a static program has not
    dlopen: AtomicPtr<c_void>,
    /// The loader's `dlsym`
    dlsym: AtomicPtr<c_void>,
}

type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

/// The runtimes of C++ by their file names, each with all that is needed of it or of what it depends on.
const RUNTIMES: [&CStr; 2] = [c"libstdc++.so.6", c"libc++.so.1"];

/// Another try, for the assembly: null if there is still no memory.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only assembly calls it"))]
extern "C" fn allocate(size: usize, align: usize) -> *mut u8 {
    HEAP.allocate_aligned(size, align)
}

/// The size of a block, for the assembly.
extern "C" fn size_of_block(block: *mut u8) -> usize {
    // SAFETY: the assembly had the block a moment ago, and nobody else knows it.
    unsafe { HEAP.usable_size(block) }
}

/// Looks for a C++ runtime that was loaded after this library, unless the loader knew one. Memory has run out when this is
/// called, so that the loader may fail to look; then there is none.
extern "C" fn find_runtime() {
    let words = words();
    if !words.throw.load(Ordering::Relaxed).is_null() {
        return;
    }
    let (dlopen, dlsym) =
        (words.dlopen.load(Ordering::Relaxed), words.dlsym.load(Ordering::Relaxed));
    if dlopen.is_null() || dlsym.is_null() {
        return;
    }
    let _keep = KeepErrno::new();
    // SAFETY: the loader put the address of the C library's dlopen there, which has this type.
    let dlopen = unsafe { transmute::<*mut c_void, Dlopen>(dlopen) };
    // SAFETY: as above.
    let dlsym = unsafe { transmute::<*mut c_void, Dlsym>(dlsym) };
    for name in RUNTIMES {
        // SAFETY: a name that ends in zero. A library that is loaded already runs no code for that, and others are not loaded.
        let library = unsafe { dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if !library.is_null() && words.fill(|name| look_up(dlsym, library, name)) {
            return;
        }
    }
}

fn look_up(dlsym: Dlsym, library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a handle of dlopen's, never closed, and a name that ends in zero.
    unsafe { dlsym(library, name.as_ptr()) }
}

impl Runtime {
    /// Fills all words with what `look_up` knows; false, and nothing changes, if it does not know all of them.
    fn fill(&self, look_up: impl Fn(&CStr) -> *mut c_void) -> bool {
        let wanted = [
            (c"_ZSt15get_new_handlerv", &self.get_new_handler),
            (c"__cxa_allocate_exception", &self.allocate_exception),
            (c"_ZTVSt9bad_alloc", &self.vtable),
            (c"_ZTISt9bad_alloc", &self.type_information),
            (c"_ZNSt9bad_allocD1Ev", &self.destructor),
            (c"__cxa_begin_catch", &self.begin_catch),
            (c"__cxa_end_catch", &self.end_catch),
            (c"__gxx_personality_v0", &self.personality),
            (c"__cxa_throw", &self.throw),
        ];
        let found = wanted.map(|(name, _)| look_up(name));
        if found.contains(&ptr::null_mut()) {
            return false;
        }
        for ((_, word), address) in wanted.iter().zip(found) {
            word.store(address, Ordering::Relaxed);
        }
        true
    }
}

/// The end of a program without C++ runtime that called operator new in vain.
extern "C" fn cannot_throw(size: usize, align: usize) -> ! {
    crash!(
        "operator new: no memory for {size} bytes, aligned to {align}, and no C++ runtime that could throw std::bad_alloc"
    )
}

#[cfg(not(target_arch = "x86_64"))]
use portable::words;
#[cfg(target_arch = "x86_64")]
use x86_64::words;
