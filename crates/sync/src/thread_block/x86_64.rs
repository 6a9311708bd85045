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

/// Assembly that closes a [`Counter`](crate::thread_block::Counter) of a thread that is about to have two lives, as
/// after `vfork`: for functions that may not call any. The counter's word is also in `kept` (a register, or
/// memory), where it leaves by how much to lift the counter when one life is over: a multiple of
/// [`Counter::OPEN`](crate::thread_block::Counter::OPEN), which is in r11. Changes rcx and flags.
///
/// The word comes to stand half a count or less from -`OPEN`, wherever it stood: two lives that count in it lose of
/// both counts, upwards and downwards, and neither 0 nor the least number there is, below which words are positive
/// again, is near. What was counted stays.
#[macro_export]
macro_rules! closed_far_below_zero {
    ($kept:literal, $counter:literal) => {
        concat!(
            "mov rcx, ",
            $kept,
            "\n",
            // What was counted, the upper bits as the highest of it.
            "shl rcx, 2\n",
            "sar rcx, 2\n",
            "sub rcx, r11\n",
            "sub ",
            $kept,
            ", rcx\n",
            "mov rcx, ",
            $kept,
            "\n",
            // One instruction: who interrupts it and counts is counted.
            "sub qword ptr ",
            $counter,
            ", rcx",
        )
    };
}

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

/// Takes `bytes` off a word of a slot, and answers with whether it is closed: negative then. `slot` is how far the
/// slot stands from the block, in a register or as a constant; `word` is behind it.
macro_rules! count {
    ($bytes:ident, $word:literal, $($slot:tt)+) => {{
        // SAFETY: both words of a slot are inside the block whatever the slot, aligned, and written by this thread
        // alone; a store of eight aligned bytes is whole for whoever reads it meanwhile.
        unsafe {
            asm!(
                concat!("sub qword ptr fs:[{distance} + {slot} + ", $word, "], {bytes}"),
                "js {closed}",
                distance = in(reg) distance(),
                slot = $($slot)+,
                bytes = in(reg) $bytes,
                closed = label { return true },
                options(nostack),
            );
        }
        false
    }};
}

#[inline(always)]
pub(super) fn count_allocated(slot: Slot, bytes: u64) -> bool {
    count!(bytes, 0, in(reg) slot.byte_offset())
}

#[inline(always)]
pub(super) fn count_deallocated(slot: Slot, bytes: u64) -> bool {
    count!(bytes, 8, in(reg) slot.byte_offset())
}

#[inline(always)]
pub(super) fn count_allocated_in_first(bytes: u64) -> bool {
    count!(bytes, 0, const Slot::FIRST.byte_offset())
}

#[inline(always)]
pub(super) fn count_deallocated_in_first(bytes: u64) -> bool {
    count!(bytes, 8, const Slot::FIRST.byte_offset())
}
