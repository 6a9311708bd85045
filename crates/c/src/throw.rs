//! What operator new does when there is no memory: ask the new-handler, try again, throw `std::bad_alloc`.
//!
//! [new.delete.single] wants a loop: while there is a new-handler, call it and try again; without one, throw, or answer
//! null in the nothrow forms, which also do so when the handler throws. The handler is the program's and may throw itself,
//! so that both exceptions pass through this code: it is assembly with unwind tables of its own, and Rust's functions jump
//! here instead of calling, which leaves no frame of theirs in between.
//!
//! The library needs no C++ runtime and no C++ compiler. What it takes from the runtime are weak references, which
//! the loader fills when the program or a library of it was linked with one (libstdc++ or libc++). Where the
//! runtime came later, by `dlopen`, say into an interpreter written in C, it is looked for once memory has run out.
//! Without any runtime nobody can have asked for an exception: one line, and abort.

use crate::heap::HEAP;
use strata_os::crash;

#[cfg(target_arch = "x86_64")]
mod derived;
#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod runtime;
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

/// Another try: null if there is still no memory.
extern "C" fn allocate(size: usize, align: usize) -> *mut u8 {
    HEAP.allocate_aligned(size, align)
}

/// The size of a block.
extern "C" fn size_of_block(block: *mut u8) -> usize {
    // SAFETY: it was allocated a moment ago, and nobody else knows it.
    unsafe { HEAP.usable_size(block) }
}

/// The end of a program without C++ runtime that called operator new in vain.
extern "C" fn cannot_throw(size: usize, align: usize) -> ! {
    crash!(
        "operator new: no memory for {size} bytes, aligned to {align}, and no C++ runtime that could throw std::bad_alloc"
    )
}
