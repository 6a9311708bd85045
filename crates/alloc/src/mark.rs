//! The mark in a freed block, by which a second free is known at once.
//!
//! A free that looks the block's class up writes it into the block's first word, and an allocation through the same functions
//! clears that. So a block that comes with the mark was most likely freed before: only then, off the common path, is
//! it looked for in caches and spans. Three instructions for a free, one for an allocation; a sized free of
//! Rust's has neither.
//!
//! Where a heap [asks for it](crate::HeapConfig::MARKS_NEW_OBJECTS), objects that nobody had yet have the mark, too.
//!
//! A live block may hold the same word, if the program writes it, or if it was allocated by Rust's way: then it is found
//! nowhere, and is freed as any other. The word leads to the kernel's half of the address space, so that a program
//! which follows it as a pointer faults.

use core::ptr::NonNull;

/// A word that fits an instruction, as a negative number of 32 bits.
pub(crate) const MARK: u64 = 0xc9e3_56d3_u32.cast_signed() as i64 as u64;

/// Whether frees look at blocks and addresses at all. `--cfg strata_unchecked` builds a library that does not, for those who
/// measure what it costs.
pub(crate) const LOOKS: bool = !cfg!(strata_unchecked);

/// Blocks of a class above this are looked at before their first word is cleared: a write would take memory, under hugepages
/// 2 MiB, for a page that the program may never touch; a read takes none, and only what was touched has the mark.
pub(crate) const LARGEST_CLEARED: usize = 4096;

/// Whether a block has the mark.
///
/// # Safety
///
/// `block` is in memory of a heap's class: 8 bytes can be read there.
#[inline(always)]
pub(crate) unsafe fn is_set(block: *mut u8) -> bool {
    // SAFETY: the caller's promise; a block of 8 bytes may be anywhere if the pointer is not a block.
    LOOKS && unsafe { block.cast::<u64>().read_unaligned() == MARK }
}

/// Marks a block that is being freed.
///
/// # Safety
///
/// The block is the caller's, to its end, and of a class: so 8 bytes long.
#[inline(always)]
pub(crate) unsafe fn set(block: *mut u8) {
    if LOOKS {
        // SAFETY: the caller's promise.
        unsafe { block.cast::<u64>().write_unaligned(MARK) };
    }
}

/// Clears the first word of a block that is going to be handed out; null is none.
///
/// # Safety
///
/// The block is the caller's, and of a class: so 8 bytes long.
#[inline(always)]
pub(crate) unsafe fn clear(block: *mut u8) {
    if LOOKS && let Some(block) = NonNull::new(block) {
        // SAFETY: the caller's promise.
        unsafe { block.cast::<u64>().write_unaligned(0) };
    }
}

/// Clears the mark of a block that is going to be handed out, and writes nothing where there is none; null is no block.
///
/// # Safety
///
/// As for [`clear`].
#[inline(always)]
pub(crate) unsafe fn clear_if_set(block: *mut u8) {
    // SAFETY: the caller's promise.
    if !block.is_null() && unsafe { is_set(block) } {
        // SAFETY: the caller's promise.
        unsafe { clear(block) };
    }
}
