//! The forms of new and delete that C++ derives from others.
//!
//! "Default behavior: calls operator new(size)", says [new.delete.array], and so on: a program that replaces one form is
//! called for the others that it did not replace, also where it has its own idea of what stands before an object. Where a
//! form may be another library's or the program's, the loader says which it is: its entry in the global offset table.
//!
//! | form | calls |
//! |---|---|
//! | `new[]`, plain or aligned | `new` of that kind |
//! | nothrow `new`, `new[]` of each kind | the form that throws, and catches |
//! | `delete[]`, nothrow `delete`, of each kind | `delete` of that kind |
//! | nothrow `delete[]` of each kind | `delete[]` of that kind |
//! | sized `delete[]`, sized and aligned `delete`, `delete[]` | the same without the size |
//!
//! Where nobody replaced what a form would call, it goes to the heap directly: with the size, and without an
//! exception. Jumps leave no frame: a C++ exception passes.
//!
//! `operator delete(void*, std::size_t)`, which compilers call for nearly every object, does not ask. Whether the
//! form without a size was replaced is known when the library is loaded, and in a program that did so a jump to
//! that is written over its first instructions: [`let_sized_delete_call_a_replaced_one`].

use crate::operator_delete::delete_sized_aligned;
use crate::operator_new::{new_aligned_nothrow, new_nothrow};
use core::arch::{asm, global_asm, naked_asm};
use core::ffi::c_void;
use strata_os::replace_code;

/// `jmp` to a place that is so many bytes from the instruction's end.
const JUMP: u8 = 0xe9;

/// Where the program replaced `operator delete(void*)`: lets the form that has the size call the program's. (Where
/// that was replaced, too, nobody comes here. What the loader says of it is no answer: in a program at a fixed
/// place that takes the function's address it is one of the program's linkage table.) By the constructor, before
/// anybody can have come here with an object of the program's.
pub(crate) fn let_sized_delete_call_a_replaced_one() {
    let (delete, own_delete, jumps_to_delete): (usize, usize, usize);
    let own_sized: *mut u8;
    // SAFETY: loads entries of this object's own offset table, which the loader has filled, and addresses of its code.
    unsafe {
        asm!(
            "mov {delete}, qword ptr [rip + _ZdlPv@GOTPCREL]",
            "lea {own_delete}, [rip + strata_c_own_delete]",
            "lea {own_sized}, [rip + strata_c_own_delete_sized]",
            "lea {jumps_to_delete}, [rip + strata_c_own_delete_array]",
            delete = out(reg) delete,
            own_delete = out(reg) own_delete,
            own_sized = out(reg) own_sized,
            jumps_to_delete = out(reg) jumps_to_delete,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    if delete == own_delete {
        return;
    }
    let mut code = [JUMP; 5];
    let distance = jumps_to_delete.wrapping_sub(own_sized.addr() + code.len());
    if let (Some(rest), Ok(distance)) = (code.get_mut(1..), i32::try_from(distance.cast_signed())) {
        rest.copy_from_slice(&distance.to_le_bytes());
        // SAFETY: the function is longer than that, and has no loop: nobody jumps between its first instructions.
        // The library is just being loaded, and who called it before this has come back.
        unsafe { replace_code(own_sized, &code) };
    }
}

/// `operator new[](std::size_t)`
#[unsafe(naked)]
#[unsafe(export_name = "_Znam")]
extern "C" fn new_array(size: usize) -> *mut c_void {
    naked_asm!("jmp qword ptr [rip + _Znwm@GOTPCREL]")
}

/// `operator new[](std::size_t, std::align_val_t)`
#[unsafe(naked)]
#[unsafe(export_name = "_ZnamSt11align_val_t")]
extern "C" fn new_array_aligned(size: usize, align: usize) -> *mut c_void {
    naked_asm!("jmp qword ptr [rip + _ZnwmSt11align_val_t@GOTPCREL]")
}

/// `operator new(std::size_t, const std::nothrow_t&)`
#[unsafe(naked)]
#[unsafe(export_name = "_ZnwmRKSt9nothrow_t")]
extern "C" fn entry_of_new_nothrow(size: usize, _: *const c_void) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + _Znwm@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "jmp strata_c_call_or_null",
        own = sym new_nothrow,
    )
}

/// `operator new[](std::size_t, const std::nothrow_t&)`
#[unsafe(naked)]
#[unsafe(export_name = "_ZnamRKSt9nothrow_t")]
extern "C" fn new_array_nothrow(size: usize, _: *const c_void) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + _Znam@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new_array@GOTPCREL]",
        "jne 2f",
        "mov rax, qword ptr [rip + _Znwm@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "jmp strata_c_call_or_null",
        own = sym new_nothrow,
    )
}

/// `operator new(std::size_t, std::align_val_t, const std::nothrow_t&)`
#[unsafe(naked)]
#[unsafe(export_name = "_ZnwmSt11align_val_tRKSt9nothrow_t")]
extern "C" fn entry_of_new_aligned_nothrow(
    size: usize,
    align: usize,
    _: *const c_void,
) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + _ZnwmSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new_aligned@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "jmp strata_c_call_or_null",
        own = sym new_aligned_nothrow,
    )
}

/// `operator new[](std::size_t, std::align_val_t, const std::nothrow_t&)`
#[unsafe(naked)]
#[unsafe(export_name = "_ZnamSt11align_val_tRKSt9nothrow_t")]
extern "C" fn new_array_aligned_nothrow(
    size: usize,
    align: usize,
    _: *const c_void,
) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + _ZnamSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new_array_aligned@GOTPCREL]",
        "jne 2f",
        "mov rax, qword ptr [rip + _ZnwmSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_new_aligned@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "jmp strata_c_call_or_null",
        own = sym new_aligned_nothrow,
    )
}

/// `operator delete[](void*)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPv")]
unsafe extern "C" fn delete_array(pointer: *mut c_void) {
    naked_asm!("jmp qword ptr [rip + _ZdlPv@GOTPCREL]")
}

/// `operator delete(void*, const std::nothrow_t&)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdlPvRKSt9nothrow_t")]
unsafe extern "C" fn delete_nothrow(pointer: *mut c_void, _: *const c_void) {
    naked_asm!("jmp qword ptr [rip + _ZdlPv@GOTPCREL]")
}

/// `operator delete[](void*, const std::nothrow_t&)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPvRKSt9nothrow_t")]
unsafe extern "C" fn delete_array_nothrow(pointer: *mut c_void, _: *const c_void) {
    naked_asm!("jmp qword ptr [rip + _ZdaPv@GOTPCREL]")
}

/// `operator delete[](void*, std::align_val_t)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPvSt11align_val_t")]
unsafe extern "C" fn delete_array_aligned(pointer: *mut c_void, align: usize) {
    naked_asm!("jmp qword ptr [rip + _ZdlPvSt11align_val_t@GOTPCREL]")
}

/// `operator delete(void*, std::align_val_t, const std::nothrow_t&)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdlPvSt11align_val_tRKSt9nothrow_t")]
unsafe extern "C" fn delete_aligned_nothrow(pointer: *mut c_void, align: usize, _: *const c_void) {
    naked_asm!("jmp qword ptr [rip + _ZdlPvSt11align_val_t@GOTPCREL]")
}

/// `operator delete[](void*, std::align_val_t, const std::nothrow_t&)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPvSt11align_val_tRKSt9nothrow_t")]
unsafe extern "C" fn delete_array_aligned_nothrow(
    pointer: *mut c_void,
    align: usize,
    _: *const c_void,
) {
    naked_asm!("jmp qword ptr [rip + _ZdaPvSt11align_val_t@GOTPCREL]")
}

/// `operator delete[](void*, std::size_t)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPvm")]
unsafe extern "C" fn delete_array_sized(pointer: *mut c_void, size: usize) {
    naked_asm!(
        "mov rax, qword ptr [rip + _ZdaPv@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_delete_array@GOTPCREL]",
        "jne 2f",
        "mov rax, qword ptr [rip + _ZdlPv@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_delete@GOTPCREL]",
        "jne 2f",
        "jmp strata_c_own_delete_sized",
        "2:",
        "jmp rax",
    )
}

/// `operator delete(void*, std::size_t, std::align_val_t)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdlPvmSt11align_val_t")]
unsafe extern "C" fn entry_of_delete_sized_aligned(
    pointer: *mut c_void,
    size: usize,
    align: usize,
) {
    naked_asm!(
        "mov rax, qword ptr [rip + _ZdlPvSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_delete_aligned@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "mov rsi, rdx",
        "jmp rax",
        own = sym delete_sized_aligned,
    )
}

/// `operator delete[](void*, std::size_t, std::align_val_t)`
///
/// # Safety
///
/// As for the form that it calls.
#[unsafe(naked)]
#[unsafe(export_name = "_ZdaPvmSt11align_val_t")]
unsafe extern "C" fn delete_array_sized_aligned(pointer: *mut c_void, size: usize, align: usize) {
    naked_asm!(
        "mov rax, qword ptr [rip + _ZdaPvSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_delete_array_aligned@GOTPCREL]",
        "jne 2f",
        "mov rax, qword ptr [rip + _ZdlPvSt11align_val_t@GOTPCREL]",
        "cmp rax, qword ptr [rip + strata_c_own_delete_aligned@GOTPCREL]",
        "jne 2f",
        "jmp {own}",
        "2:",
        "mov rsi, rdx",
        "jmp rax",
        own = sym delete_sized_aligned,
    )
}

global_asm!(
    // Second names, which nobody replaces. They must stand in one object with the first ones, as in the library,
    // which is made in one piece; elsewhere they would be the same names.
    ".globl strata_c_own_new",
    ".hidden strata_c_own_new",
    ".set strata_c_own_new, _Znwm",
    ".globl strata_c_own_new_array",
    ".hidden strata_c_own_new_array",
    ".set strata_c_own_new_array, _Znam",
    ".globl strata_c_own_new_aligned",
    ".hidden strata_c_own_new_aligned",
    ".set strata_c_own_new_aligned, _ZnwmSt11align_val_t",
    ".globl strata_c_own_new_array_aligned",
    ".hidden strata_c_own_new_array_aligned",
    ".set strata_c_own_new_array_aligned, _ZnamSt11align_val_t",
    ".globl strata_c_own_delete",
    ".hidden strata_c_own_delete",
    ".set strata_c_own_delete, _ZdlPv",
    ".globl strata_c_own_delete_sized",
    ".hidden strata_c_own_delete_sized",
    ".set strata_c_own_delete_sized, _ZdlPvm",
    ".globl strata_c_own_delete_array",
    ".hidden strata_c_own_delete_array",
    ".set strata_c_own_delete_array, _ZdaPv",
    ".globl strata_c_own_delete_aligned",
    ".hidden strata_c_own_delete_aligned",
    ".set strata_c_own_delete_aligned, _ZdlPvSt11align_val_t",
    ".globl strata_c_own_delete_array_aligned",
    ".hidden strata_c_own_delete_array_aligned",
    ".set strata_c_own_delete_array_aligned, _ZdaPvSt11align_val_t",
    // The form in rax, called with rdi and rsi as they are; null if it throws. What is caught where is told as in the
    // neighbour's tables.
    ".pushsection .text.strata_c_throw, \"ax\", @progbits",
    ".balign 16",
    ".globl strata_c_call_or_null",
    ".hidden strata_c_call_or_null",
    ".type strata_c_call_or_null, @function",
    "strata_c_call_or_null:",
    ".cfi_startproc",
    ".cfi_personality 0x9b, strata_c_personality",
    ".cfi_lsda 0x1b, .Lstrata_c_call_catches",
    "sub rsp, 8",
    ".cfi_def_cfa_offset 16",
    ".Lstrata_c_call_from:",
    "call rax",
    ".Lstrata_c_call_to:",
    "2:",
    ".cfi_remember_state",
    "add rsp, 8",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_restore_state",
    ".Lstrata_c_call_catch:",
    "mov rdi, rax",
    "call qword ptr [rip + strata_c_runtime + 40]", // __cxa_begin_catch
    "call qword ptr [rip + strata_c_runtime + 48]", // __cxa_end_catch
    "xor eax, eax",
    "jmp 2b",
    ".Lstrata_c_call_end:",
    ".cfi_endproc",
    ".size strata_c_call_or_null, . - strata_c_call_or_null",
    ".popsection",
    ".pushsection .gcc_except_table.strata_c_throw, \"a\", @progbits",
    ".balign 4",
    ".Lstrata_c_call_catches:",
    ".byte 0xff",
    ".byte 0x9b",
    ".uleb128 .Lstrata_c_call_types - .Lstrata_c_call_types_from",
    ".Lstrata_c_call_types_from:",
    ".byte 0x01",
    ".uleb128 .Lstrata_c_call_places_to - .Lstrata_c_call_places_from",
    ".Lstrata_c_call_places_from:",
    ".uleb128 .Lstrata_c_call_from - strata_c_call_or_null",
    ".uleb128 .Lstrata_c_call_to - .Lstrata_c_call_from",
    ".uleb128 .Lstrata_c_call_catch - strata_c_call_or_null",
    ".uleb128 1",
    ".uleb128 .Lstrata_c_call_to - strata_c_call_or_null",
    ".uleb128 .Lstrata_c_call_end - .Lstrata_c_call_to",
    ".uleb128 0",
    ".uleb128 0",
    ".Lstrata_c_call_places_to:",
    ".byte 0x01",
    ".byte 0x00",
    ".balign 4",
    ".long 0",
    ".Lstrata_c_call_types:",
    ".popsection",
);
