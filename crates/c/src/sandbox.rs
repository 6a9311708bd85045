//! `prctl` and `syscall`, by which programs put themselves behind filters of system calls.
//!
//! A filter may say that a call ends the process, and who wrote it knew the calls of the C library's `malloc`. So before
//! the kernel gets one, the heap is told to keep to these. libseccomp and what programs write themselves
//! go through one of the two functions; a filter that comes by neither is not seen.

use crate::heap::HEAP;
use crate::vfork::failed;
use core::arch::naked_asm;
use core::ffi::{c_int, c_long};

/// The operations of seccomp(2) that change something are the first two: strict mode, and a filter.
const LAST_THAT_RESTRAINS: u32 = libc::SECCOMP_SET_MODE_FILTER;

/// What the process is about to be: in strict mode, which lets it read, write and end, or behind a filter.
extern "C" fn restrain(is_strict: bool) {
    if is_strict {
        HEAP.make_no_calls();
    } else {
        HEAP.keep_to_memory_calls();
    }
}

/// An operation on this process. (prctl(2))
///
/// # Safety
///
/// As for the C library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl() -> c_int {
    naked_asm!(
        ".cfi_startproc",
        "cmp edi, {set_seccomp}",
        "jne 2f",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        "push r8",
        ".cfi_adjust_cfa_offset 8",
        "cmp rsi, {strict}",
        "sete dil",
        "movzx edi, dil",
        "call {restrain}",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "2:",
        "mov r10, rcx",
        "mov eax, {prctl}",
        "syscall",
        "cmp rax, -4096",
        "ja 3f",
        "ret",
        "3:",
        "mov rdi, rax",
        "jmp {failed}",
        ".cfi_endproc",
        set_seccomp = const libc::PR_SET_SECCOMP,
        strict = const libc::SECCOMP_MODE_STRICT,
        prctl = const libc::SYS_prctl,
        restrain = sym restrain,
        failed = sym failed,
    )
}

/// The system call of that number. (syscall(2))
///
/// # Safety
///
/// As for the C library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall() -> c_long {
    naked_asm!(
        ".cfi_startproc",
        "cmp rdi, {seccomp}",
        "jne 2f",
        "cmp esi, {last_that_restrains}",
        "ja 2f",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "cmp esi, {strict}",
        "sete dil",
        "movzx edi, dil",
        "call {restrain}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "2:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]", // the sixth argument, if there is one
        "syscall",
        "cmp rax, -4096",
        "ja 3f",
        "ret",
        "3:",
        "mov rdi, rax",
        "jmp {failed}",
        ".cfi_endproc",
        seccomp = const libc::SYS_seccomp,
        strict = const libc::SECCOMP_SET_MODE_STRICT,
        last_that_restrains = const LAST_THAT_RESTRAINS,
        restrain = sym restrain,
        failed = sym failed,
    )
}
