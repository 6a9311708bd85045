//! When main begins: before that the heap makes no thread.
//!
//! Constructors of a program's libraries, and its own, run in a process that they believe to have one thread, and
//! the loader may be in the middle of its work. Nothing in the C library tells a library when they are through; but
//! the program's first instructions call `__libc_start_main`, which runs the program's constructors and then main,
//! and find this one if the library is preloaded or linked as a shared one. It hands main's stand-in to the C
//! library's own and is gone: neither function leaves a frame.
//!
//! In `libstrata.a` the name is made local (`cargo xtask dist`): a static program has no second one to call.

use crate::next::{first_definition, next_definition};
use crate::reports;
use core::arch::naked_asm;
use core::ffi::{CStr, c_int, c_void};
use strata_sync::atomic::{AtomicPtr, Ordering};

/// The program's main. Written by `find_start`, in the only thread, before it is called.
static MAIN: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

const START: &CStr = c"__libc_start_main";
const OURS: *const () = __libc_start_main as *const ();

/// Whether the program is going to begin by our `__libc_start_main`; then the heap waits with threads until main begins. By
/// the constructor; one that runs because the library was loaded late finds the C library's.
pub(crate) fn expect_main() -> bool {
    let is_ours = core::ptr::eq(first_definition(START).cast_const(), OURS.cast());
    if is_ours {
        strata_alloc::wait_with_threads();
    }
    is_ours
}

/// Remembers main, and finds the C library's `__libc_start_main`.
extern "C" fn find_start(main: *mut c_void) -> *mut c_void {
    MAIN.store(main, Ordering::Relaxed);
    let found = next_definition(START, OURS);
    if found.is_null() {
        strata_os::crash!("the C library has no __libc_start_main");
    }
    found
}

extern "C" fn note_main() {
    strata_alloc::threads_may_start();
    reports::begin();
}

/// What the program's first instructions call: the C library's function of this name, with a stand-in for main.
///
/// # Safety
///
/// Called by `_start`, once.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main() -> c_int {
    naked_asm!(
        // Six arguments in registers, and one on the stack, which stays where it is.
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 8",
        "call {find_start}",
        "add rsp, 8",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "lea rdi, [rip + {main_begins}]",
        "jmp rax",
        find_start = sym find_start,
        main_begins = sym main_begins,
    )
}

/// The stand-in: main itself follows at once, with its arguments, on the same stack.
///
/// # Safety
///
/// Called by the C library in place of main, once.
#[unsafe(naked)]
unsafe extern "C" fn main_begins() -> c_int {
    naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "call {note_main}",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp qword ptr [rip + {main}]",
        note_main = sym note_main,
        main = sym MAIN,
    )
}
