//! `vfork`, whose child may not run restartable sequences.
//!
//! Between `vfork` and `exec` the child runs in its parent's memory, on its parent's stack and with its parent's
//! thread-local words, while the other threads go on. The kernel does not watch its sequences, and the CPU number
//! in the area that it shares with the suspended parent is stale: a push or pop in the child would meet one of
//! another thread halfway. POSIX forbids a child to call `malloc` there; runtimes do it all the same (`opendir`, to
//! close descriptors, is the usual case).
//!
//! So the thread's counters are closed while it has two lives, which sends both to the slow path, and that one takes blocks
//! from behind the caches, under locks that processes with one memory share. `reentry` keeps a thread that was not
//! known to the heap from being made known by the child.
//!
//! `posix_spawn`, `popen` and `system` make their children in the C library, which allocates nothing in them.

use core::arch::naked_asm;
use core::ffi::c_long;
use core::mem::offset_of;
use strata_os::set_errno;
use strata_sync::{
    closed_far_below_zero,
    thread_block::{Counter, Slot, SlotWords, ThreadBlock},
};

/// Where the words stand in the block. The only heap of the library has the first slot, if any.
pub(crate) const REENTRY: usize = offset_of!(ThreadBlock, reentry);
/// Where the counter of what was allocated does.
pub(crate) const ALLOCATED: usize = Slot::FIRST.byte_offset() + offset_of!(SlotWords, allocated);
/// Where the counter of what was freed does.
pub(crate) const DEALLOCATED: usize =
    Slot::FIRST.byte_offset() + offset_of!(SlotWords, deallocated);

/// -1, and `errno` says why.
pub(crate) extern "C" fn failed(result: c_long) -> c_long {
    set_errno(i32::try_from(-result).unwrap_or(libc::EAGAIN));
    -1
}

/// A child that shares this process's memory until it calls `exec` or `_exit`; the calling thread waits for that.
/// 0 in the child, the child's number in the parent, -1 with `errno` if there is none. (vfork(2))
///
/// # Safety
///
/// The caller does not return from its function in the child.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn vfork() -> libc::pid_t {
    naked_asm!(
        ".cfi_startproc",
        // The child returns first and goes on on this stack: what the parent needs afterwards is in
        // registers, which are two processes' own.
        "pop rdi",
        ".cfi_def_cfa_offset 0",
        ".cfi_register rip, rdi",
        "mov r8, qword ptr [rip + strata_thread_block@GOTTPOFF]",
        "mov rsi, qword ptr fs:[r8 + {allocated}]",
        "mov rdx, qword ptr fs:[r8 + {deallocated}]",
        "mov r9d, dword ptr fs:[r8 + {reentry}]",
        "movabs r11, {open}",
        closed_far_below_zero!("rsi", "fs:[r8 + {allocated}]"),
        closed_far_below_zero!("rdx", "fs:[r8 + {deallocated}]"),
        "mov dword ptr fs:[r8 + {reentry}], 1",
        "mov eax, {vfork}",
        "syscall", // changes rax, rcx and r11 only
        "push rdi",
        ".cfi_def_cfa_offset 8",
        ".cfi_offset rip, -8",
        "test rax, rax",
        "jz 2f", // the child
        "add qword ptr fs:[r8 + {allocated}], rsi",
        "add qword ptr fs:[r8 + {deallocated}], rdx",
        "mov dword ptr fs:[r8 + {reentry}], r9d",
        "cmp rax, -4096",
        "ja 3f",
        "2:",
        "ret",
        "3:",
        "mov rdi, rax",
        "jmp {failed}",
        ".cfi_endproc",
        allocated = const ALLOCATED,
        deallocated = const DEALLOCATED,
        open = const Counter::OPEN,
        reentry = const REENTRY,
        vfork = const libc::SYS_vfork,
        failed = sym failed,
    )
}
