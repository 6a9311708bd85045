//! `clone`, whose child may have its parent's memory and thread-local words and yet run beside it.
//!
//! `clone(…, CLONE_VM | …)` without `CLONE_SETTLS` makes such a child. Both would count in the same words, and the
//! kernel watches sequences of the parent alone: as after [`vfork`](crate::vfork), a push or pop of one could meet one
//! of the other halfway. So the calling thread's counters are closed from then on, which sends both lives to the slow path,
//! where locks are taken; with `CLONE_VFORK`, until the child is gone. A thread that was not known to the heap stays so.
//!
//! Threads of the C library, whose children have words of their own, are not made by this function, nor are children of
//! `posix_spawn`. A program that makes the system call by itself is not seen.

use crate::frame::{pop, push};
use crate::vfork::{ALLOCATED, DEALLOCATED, REENTRY, failed};
use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use strata_sync::{closed_far_below_zero, thread_block::Counter};

/// A child as `flags` say, which calls `function(argument)` on the stack that ends at `stack`, and ends with its
/// result; its number, or -1 with `errno`. (clone(2))
///
/// # Safety
///
/// The stack is the child's as long as it lives, and what the flags ask for is right for this process.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn clone(
    function: *const c_void,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent_thread_id: *mut c_void,
    thread_pointer: *mut c_void,
    child_thread_id: *mut c_void,
) -> c_int {
    naked_asm!(
        ".cfi_startproc",
        "mov r10, qword ptr [rsp + 8]", // the child's thread id: the kernel's fourth word
        "test rdi, rdi",
        "jz 5f",
        "and rsi, -16",
        "jz 5f",
        "mov qword ptr [rsi - 8], rcx",
        "mov qword ptr [rsi - 16], rdi",
        "sub rsi, 16",
        "mov edi, edx",
        "mov rdx, r8",
        "mov r8, r9",
        // Kept on this stack, which is not the child's: what the thread's counters are lifted by.
        "mov rax, qword ptr [rip + strata_thread_block@GOTTPOFF]",
        push!("qword ptr fs:[rax + {allocated}]"),
        push!("qword ptr fs:[rax + {deallocated}]"),
        "mov r9d, dword ptr fs:[rax + {reentry}]",
        "mov ecx, edi",
        "and ecx, {shares}",
        "cmp ecx, {vm}",
        "jne 2f",
        "movabs r11, {open}",
        closed_far_below_zero!("qword ptr [rsp + 8]", "fs:[rax + {allocated}]"),
        closed_far_below_zero!("qword ptr [rsp]", "fs:[rax + {deallocated}]"),
        "mov dword ptr fs:[rax + {reentry}], 1",
        "2:",
        "mov eax, {clone}",
        "syscall", // changes rax, rcx and r11 only
        "test eax, eax",
        "jz 6f",
        "js 3f",              // no child: all is as it was
        "test edi, {vfork}", // the child is gone
        "jnz 3f",
        "add rsp, 16",
        ".cfi_adjust_cfa_offset -16",
        "ret",
        ".cfi_adjust_cfa_offset 16",
        "3:",
        "mov ecx, edi",
        "and ecx, {shares}",
        pop!("rdx"),
        pop!("rsi"),
        "cmp ecx, {vm}",
        "jne 4f",
        "mov r11, qword ptr [rip + strata_thread_block@GOTTPOFF]",
        "add qword ptr fs:[r11 + {allocated}], rsi",
        "add qword ptr fs:[r11 + {deallocated}], rdx",
        "mov dword ptr fs:[r11 + {reentry}], r9d",
        "4:",
        "movsxd rdi, eax",
        "test edi, edi",
        "js {failed}",
        "ret",
        "5:",
        "mov rdi, {invalid}",
        "jmp {failed}",
        "6:", // the child, whose stack has the function and its argument
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "pop rax",
        "pop rdi",
        "call rax",
        "mov edi, eax",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        ".cfi_endproc",
        shares = const libc::CLONE_VM | libc::CLONE_SETTLS,
        vm = const libc::CLONE_VM,
        vfork = const libc::CLONE_VFORK,
        clone = const libc::SYS_clone,
        exit = const libc::SYS_exit,
        invalid = const -libc::EINVAL,
        allocated = const ALLOCATED,
        deallocated = const DEALLOCATED,
        open = const Counter::OPEN,
        reentry = const REENTRY,
        failed = sym failed,
    )
}
