//! x86-64: a symbol in static thread-local storage, initial-exec and hidden.

use super::{Slot, ThreadBlock};
use core::arch::{asm, global_asm};

global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".globl strata_thread_block",
    ".hidden strata_thread_block",
    ".type strata_thread_block, @tls_object",
    ".size strata_thread_block, {bytes}",
    ".balign 64",
    "strata_thread_block:",
    ".zero {bytes}",
    ".popsection",
    bytes = const super::BLOCK_BYTES,
);

/// How far the block stands from the thread pointer, in every thread of the process.
///
/// One load from the global offset table; in an executable the linker makes it a constant.
#[inline(always)]
fn distance() -> usize {
    let distance;
    // SAFETY: reads the entry of the global offset table that the loader filled before any code
    // of this object ran, and that nobody changes: it is the same at every call and in every
    // thread, hence `pure` and `nomem`.
    unsafe {
        asm!(
            "mov {distance}, qword ptr [rip + strata_thread_block@GOTTPOFF]",
            distance = lateout(reg) distance,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    distance
}

#[inline(always)]
pub(super) fn block() -> *const ThreadBlock {
    let block;
    // SAFETY: the word at the thread pointer is the thread pointer itself (System V ABI for
    // x86-64, variant II of thread-local storage). It is read anew at every call, not `pure`, so
    // that code which changes its thread between two calls gets the block of each.
    unsafe {
        asm!(
            "mov {block}, qword ptr fs:[0]",
            "lea {block}, [{block} + {distance}]",
            distance = in(reg) distance(),
            block = out(reg) block,
            options(readonly, nostack, preserves_flags),
        );
    }
    block
}

#[inline(always)]
fn position(slot: Slot) -> usize {
    distance().wrapping_add(slot.byte_offset())
}

#[inline(always)]
pub(super) fn allocated_with(slot: Slot, bytes: u64) -> u64 {
    let mut sum = bytes;
    // SAFETY: a slot's word 0 is inside the block whatever the slot, aligned, and
    // written by this thread alone. Not `pure`: it changes between calls.
    unsafe {
        asm!(
            "add {sum}, qword ptr fs:[{position}]",
            position = in(reg) position(slot),
            sum = inout(reg) sum,
            options(readonly, nostack),
        );
    }
    sum
}

#[inline(always)]
pub(super) fn is_above_allocated_limit(slot: Slot, sum: u64) -> bool {
    // SAFETY: as in `allocated_with`, of word 2.
    unsafe {
        asm!(
            "cmp {sum}, qword ptr fs:[{position} + 16]",
            "ja {above}",
            position = in(reg) position(slot),
            sum = in(reg) sum,
            above = label { return true },
            options(readonly, nostack),
        );
    }
    false
}

#[inline(always)]
pub(super) fn deallocated_with(slot: Slot, bytes: u64) -> u64 {
    let mut sum = bytes;
    // SAFETY: as in `allocated_with`, of word 1.
    unsafe {
        asm!(
            "add {sum}, qword ptr fs:[{position} + 8]",
            position = in(reg) position(slot),
            sum = inout(reg) sum,
            options(readonly, nostack),
        );
    }
    sum
}

#[inline(always)]
pub(super) fn is_above_deallocated_limit(slot: Slot, sum: u64) -> bool {
    // SAFETY: as in `allocated_with`, of word 3.
    unsafe {
        asm!(
            "cmp {sum}, qword ptr fs:[{position} + 24]",
            "ja {above}",
            position = in(reg) position(slot),
            sum = in(reg) sum,
            above = label { return true },
            options(readonly, nostack),
        );
    }
    false
}

#[inline(always)]
pub(super) fn set_allocated(slot: Slot, bytes: u64) {
    // SAFETY: word 0 of a slot is inside the block, aligned, and written by this thread alone; a
    // store of eight aligned bytes is whole for whoever reads it meanwhile.
    unsafe {
        asm!(
            "mov qword ptr fs:[{position}], {bytes}",
            position = in(reg) position(slot),
            bytes = in(reg) bytes,
            options(nostack, preserves_flags),
        );
    }
}

#[inline(always)]
pub(super) fn set_deallocated(slot: Slot, bytes: u64) {
    // SAFETY: as in `set_allocated`, of word 1.
    unsafe {
        asm!(
            "mov qword ptr fs:[{position} + 8], {bytes}",
            position = in(reg) position(slot),
            bytes = in(reg) bytes,
            options(nostack, preserves_flags),
        );
    }
}
