//! The loop, the throw and the catch, in assembly.
//!
//! The tables after the code say what a C++ compiler would say: in `strata_c_allocate_or_null` everything that is
//! thrown between the two marks is caught (an action that catches all), and the other two functions let pass what
//! is thrown under them.

use super::runtime::{Runtime, find_runtime};
use super::{allocate, cannot_throw, size_of_block};
use crate::frame::{begin_function, end_function, keep_two_registers, restore_two_registers};
use crate::size_returning_new::SizedPointer;
use core::arch::global_asm;
use core::mem::offset_of;

unsafe extern "C" {
    /// [`Runtime`]'s words, declared below.
    #[link_name = "strata_c_runtime"]
    static RUNTIME: Runtime;

    /// Tries until there is a block or no new-handler; then throws `std::bad_alloc`.
    ///
    /// # Safety
    ///
    /// `align` is a power of two. The caller needs nothing of its frame any more: an exception may take it away.
    #[link_name = "strata_c_allocate_or_throw"]
    pub(crate) fn allocate_or_throw(size: usize, align: usize) -> *mut u8;

    /// Tries until there is a block or no new-handler; then, or when the handler throws, answers null.
    ///
    /// # Safety
    ///
    /// `align` is a power of two.
    #[link_name = "strata_c_allocate_or_null"]
    pub(crate) fn allocate_or_null(size: usize, align: usize) -> *mut u8;

    /// A block and its size, tried for as [`allocate_or_throw`] does; an alignment that is no power of two throws.
    ///
    /// # Safety
    ///
    /// The caller needs nothing of its frame any more.
    #[link_name = "strata_c_allocate_sized_or_throw"]
    pub(crate) fn allocate_sized_or_throw(size: usize, align: usize) -> SizedPointer;

    /// Throws `std::bad_alloc`. Size and alignment are for the message where nothing can be thrown.
    ///
    /// # Safety
    ///
    /// The caller needs nothing of its frame any more.
    #[link_name = "strata_c_throw_bad_alloc"]
    pub(crate) fn throw_bad_alloc(size: usize, align: usize) -> *mut u8;
}

pub(super) fn words() -> &'static Runtime {
    // SAFETY: atomics all through, in memory that the assembly below declares with that layout.
    unsafe { &RUNTIME }
}

const _: () = {
    assert!(offset_of!(Runtime, get_new_handler) == 0);
    assert!(offset_of!(Runtime, allocate_exception) == 8);
    assert!(offset_of!(Runtime, vtable) == 16);
    assert!(offset_of!(Runtime, type_information) == 24);
    assert!(offset_of!(Runtime, destructor) == 32);
    assert!(offset_of!(Runtime, begin_catch) == 40);
    assert!(offset_of!(Runtime, end_catch) == 48);
    assert!(offset_of!(Runtime, personality) == 56);
    assert!(offset_of!(Runtime, throw) == 64);
    assert!(size_of::<Runtime>() == 72);
};

global_asm!(
    // The runtime's words. Weak: null where nobody defines the symbol.
    ".weak _ZSt15get_new_handlerv",
    ".weak __cxa_allocate_exception",
    ".weak _ZTVSt9bad_alloc",
    ".weak _ZTISt9bad_alloc",
    ".weak _ZNSt9bad_allocD1Ev",
    ".weak __cxa_begin_catch",
    ".weak __cxa_end_catch",
    ".weak __gxx_personality_v0",
    ".weak __cxa_throw",
    ".pushsection .data.strata_c_runtime, \"aw\", @progbits",
    ".balign 8",
    ".globl strata_c_runtime",
    ".hidden strata_c_runtime",
    ".type strata_c_runtime, @object",
    "strata_c_runtime:",
    ".quad _ZSt15get_new_handlerv",
    ".quad __cxa_allocate_exception",
    ".quad _ZTVSt9bad_alloc",
    ".quad _ZTISt9bad_alloc",
    ".quad _ZNSt9bad_allocD1Ev",
    ".quad __cxa_begin_catch",
    ".quad __cxa_end_catch",
    // By its own name too: the unwind tables point here.
    ".hidden strata_c_personality",
    "strata_c_personality:",
    ".quad __gxx_personality_v0",
    ".quad __cxa_throw",
    ".size strata_c_runtime, . - strata_c_runtime",
    ".popsection",
    // allocate_or_throw(size in rdi, align in rsi)
    ".pushsection .text.strata_c_throw, \"ax\", @progbits",
    begin_function!("strata_c_allocate_or_throw"),
    keep_two_registers!(),
    "mov rbx, rdi",
    "mov rbp, rsi",
    "call {find_runtime}",
    "2:",
    "mov rdi, rbx",
    "mov rsi, rbp",
    "call {allocate}",
    "test rax, rax",
    "jnz 3f",
    "mov rax, qword ptr [rip + strata_c_runtime]",
    "test rax, rax",
    "jz 4f",
    "call rax", // the handler, or null
    "test rax, rax",
    "jz 4f",
    "call rax", // may throw
    "jmp 2b",
    "3:",
    ".cfi_remember_state",
    restore_two_registers!(),
    "ret",
    ".cfi_restore_state",
    "4:",
    "mov rdi, rbx",
    "mov rsi, rbp",
    "call strata_c_throw_bad_alloc",
    "ud2",
    end_function!("strata_c_allocate_or_throw"),
    // allocate_sized_or_throw(size in rdi, align in rsi): the block in rax, its size in rdx
    begin_function!("strata_c_allocate_sized_or_throw"),
    "lea rax, [rsi - 1]",
    "cmp rax, rsi",
    "jae strata_c_throw_bad_alloc", // 0
    "test rax, rsi",
    "jnz strata_c_throw_bad_alloc", // more than one bit
    keep_two_registers!(),
    "mov rbx, rdi",
    "mov rbp, rsi",
    "call {allocate}",
    "test rax, rax",
    "jnz 2f",
    "mov rdi, rbx",
    "mov rsi, rbp",
    "call strata_c_allocate_or_throw",
    "2:",
    "mov rbx, rax",
    "mov rdi, rax",
    "call {size_of_block}",
    "mov rdx, rax",
    "mov rax, rbx",
    restore_two_registers!(),
    "ret",
    end_function!("strata_c_allocate_sized_or_throw"),
    // throw_bad_alloc(size in rdi, align in rsi)
    begin_function!("strata_c_throw_bad_alloc"),
    keep_two_registers!(),
    "mov rbx, rdi",
    "mov rbp, rsi",
    "call {find_runtime}",
    "cmp qword ptr [rip + strata_c_runtime + 64], 0",
    "je 2f",
    "mov edi, 8", // sizeof(std::bad_alloc)
    "call qword ptr [rip + strata_c_runtime + 8]",
    "mov rcx, qword ptr [rip + strata_c_runtime + 16]",
    "add rcx, 16", // where the virtual functions begin
    "mov qword ptr [rax], rcx",
    "mov rdi, rax",
    "mov rsi, qword ptr [rip + strata_c_runtime + 24]",
    "mov rdx, qword ptr [rip + strata_c_runtime + 32]",
    "call qword ptr [rip + strata_c_runtime + 64]",
    "ud2",
    "2:",
    "mov rdi, rbx",
    "mov rsi, rbp",
    "call {cannot_throw}",
    "ud2",
    end_function!("strata_c_throw_bad_alloc"),
    // allocate_or_null(size in rdi, align in rsi)
    begin_function!("strata_c_allocate_or_null"),
    ".cfi_personality 0x9b, strata_c_personality", // indirect, relative, 4 bytes
    ".cfi_lsda 0x1b, .Lstrata_c_catches",          // relative, 4 bytes
    keep_two_registers!(),
    "mov rbx, rdi",
    "mov rbp, rsi",
    "call {find_runtime}",
    "2:",
    "mov rdi, rbx",
    "mov rsi, rbp",
    "call {allocate}",
    "test rax, rax",
    "jnz 3f",
    "mov rax, qword ptr [rip + strata_c_runtime]",
    "test rax, rax",
    "jz 3f",
    "call rax",
    "test rax, rax",
    "jz 3f",
    ".Lstrata_c_catch_from:",
    "call rax", // what it throws is caught
    ".Lstrata_c_catch_to:",
    "jmp 2b",
    "3:",
    ".cfi_remember_state",
    restore_two_registers!(),
    "ret",
    ".cfi_restore_state",
    ".Lstrata_c_catch:",
    "mov rdi, rax",
    "call qword ptr [rip + strata_c_runtime + 40]",
    "call qword ptr [rip + strata_c_runtime + 48]",
    "xor eax, eax",
    "jmp 3b",
    ".Lstrata_c_allocate_or_null_end:",
    end_function!("strata_c_allocate_or_null"),
    ".popsection",
    // What is caught where, as the Itanium C++ ABI for exceptions has it.
    ".pushsection .gcc_except_table.strata_c_throw, \"a\", @progbits",
    ".balign 4",
    ".Lstrata_c_catches:",
    ".byte 0xff", // landing pads count from the function's beginning
    ".byte 0x9b", // types: indirect, relative, 4 bytes
    ".uleb128 .Lstrata_c_types - .Lstrata_c_types_from",
    ".Lstrata_c_types_from:",
    ".byte 0x01", // places: uleb128
    ".uleb128 .Lstrata_c_places_to - .Lstrata_c_places_from",
    ".Lstrata_c_places_from:",
    ".uleb128 0", // up to the handler: nothing is caught
    ".uleb128 .Lstrata_c_catch_from - strata_c_allocate_or_null",
    ".uleb128 0",
    ".uleb128 0",
    ".uleb128 .Lstrata_c_catch_from - strata_c_allocate_or_null",
    ".uleb128 .Lstrata_c_catch_to - .Lstrata_c_catch_from",
    ".uleb128 .Lstrata_c_catch - strata_c_allocate_or_null",
    ".uleb128 1", // the first action
    ".uleb128 .Lstrata_c_catch_to - strata_c_allocate_or_null",
    ".uleb128 .Lstrata_c_allocate_or_null_end - .Lstrata_c_catch_to",
    ".uleb128 0",
    ".uleb128 0",
    ".Lstrata_c_places_to:",
    ".byte 0x01", // the first action: the first type,
    ".byte 0x00", // and no further action
    ".balign 4",
    ".long 0", // the first type: all
    ".Lstrata_c_types:",
    ".popsection",
    find_runtime = sym find_runtime,
    allocate = sym allocate,
    size_of_block = sym size_of_block,
    cannot_throw = sym cannot_throw,
);
