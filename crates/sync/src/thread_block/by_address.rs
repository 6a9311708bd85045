//! The accessors of variants that know the block by its address.

use super::{Slot, SlotWords, ThreadBlock};

fn words<'a>(block: *const ThreadBlock, slot: Slot) -> &'a SlotWords {
    let words = block.wrapping_byte_add(slot.byte_offset()).cast::<SlotWords>();
    // SAFETY: callers pass the block of the calling thread, which outlives the accessor that asks;
    // a slot's 40 bytes are inside it and aligned to 8, and are read and written as atomics only.
    unsafe { &*words }
}

pub(super) fn count_allocated(block: *const ThreadBlock, slot: Slot, bytes: u64) -> bool {
    words(block, slot).allocated.count_and_ask(bytes)
}

pub(super) fn count_deallocated(block: *const ThreadBlock, slot: Slot, bytes: u64) -> bool {
    words(block, slot).deallocated.count_and_ask(bytes)
}
