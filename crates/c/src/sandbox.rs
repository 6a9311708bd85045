//! `prctl` and `syscall`, by which programs put themselves behind filters of system calls, and begin to give up
//! their rights.
//!
//! A filter may say that a call ends the process, and who wrote it knew the calls of the C library's `malloc`. So before
//! the kernel gets one, the heap is told to keep to these. libseccomp and what programs write themselves
//! go through one of the two functions; a filter that comes by neither is not seen.
//!
//! Rights are a thread's own. The C library has all threads follow where one changes its user (setresuid(2)), and ends the
//! program if one cannot; `PR_SET_KEEPCAPS` and `PR_SET_SECUREBITS`, which say what is kept then, concern the calling
//! thread alone. So a heap's thread would lose what the caller keeps, and fail at the next step: it goes before.

use crate::frame::{pop, push};
use crate::heap::HEAP;
use crate::reports;
use crate::vfork::failed;
use core::arch::naked_asm;
use core::ffi::{c_int, c_long, c_ulong};
use core::sync::atomic::{AtomicBool, Ordering};
use strata_sync::thread_block;

/// A filter was asked for: what the kernel refuses from then on is strict mode.
static MAY_BE_FILTERED: AtomicBool = AtomicBool::new(false);

/// `prctl` was asked to restrain the process, or to keep rights of this thread. Without a filter the former is a
/// question whether the kernel knows filters.
extern "C" fn restrain_by_option(option: c_int, mode: c_ulong, filter: usize) {
    if option != libc::PR_SET_SECCOMP {
        return keep_rights_of_one_thread(mode);
    }
    match u32::try_from(mode) {
        Ok(libc::SECCOMP_MODE_STRICT) => become_still(),
        Ok(libc::SECCOMP_MODE_FILTER) if filter != 0 => keep_to_memory(),
        _ => {}
    }
}

/// `syscall` was asked for seccomp(2). Libraries ask with wrong flags and without a filter, too, to learn what the
/// kernel knows: then it refuses, and nothing changes.
extern "C" fn restrain_by_call(_number: c_long, operation: u32, flags: u32, arguments: usize) {
    match operation {
        libc::SECCOMP_SET_MODE_STRICT if flags == 0 && arguments == 0 => become_still(),
        libc::SECCOMP_SET_MODE_FILTER if arguments != 0 => keep_to_memory(),
        _ => {}
    }
}

/// The calling thread is about to have other rights than the heap's could have. (0 is how things are at first.)
fn keep_rights_of_one_thread(what: c_ulong) {
    if what != 0 && is_on_its_own() && HEAP.give_up_background_thread() {
        reports::note_no_thread();
    }
}

/// The process is about to be behind a filter.
fn keep_to_memory() {
    if is_on_its_own() {
        MAY_BE_FILTERED.store(true, Ordering::Relaxed);
        HEAP.keep_to_memory_calls();
    }
}

/// The process is about to be in strict mode, which lets it read, write and end.
fn become_still() {
    if is_on_its_own() && !MAY_BE_FILTERED.load(Ordering::Relaxed) {
        HEAP.make_no_calls();
    }
}

/// Whether the memory is this process's alone: what a child between `vfork` and `exec` does concerns that child.
fn is_on_its_own() -> bool {
    thread_block::block().reentry.load(Ordering::Relaxed) == 0
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
        "je 4f",
        "cmp edi, {set_keepcaps}",
        "je 4f",
        "cmp edi, {set_securebits}",
        "jne 2f",
        "4:",
        push!("rdi"),
        push!("rsi"),
        push!("rdx"),
        push!("rcx"),
        push!("r8"),
        "call {restrain}",
        pop!("r8"),
        pop!("rcx"),
        pop!("rdx"),
        pop!("rsi"),
        pop!("rdi"),
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
        set_keepcaps = const libc::PR_SET_KEEPCAPS,
        set_securebits = const libc::PR_SET_SECUREBITS,
        prctl = const libc::SYS_prctl,
        restrain = sym restrain_by_option,
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
        push!("rdi"),
        push!("rsi"),
        push!("rdx"),
        push!("rcx"),
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {restrain}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        pop!("rcx"),
        pop!("rdx"),
        pop!("rsi"),
        pop!("rdi"),
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
        restrain = sym restrain_by_call,
        failed = sym failed,
    )
}
