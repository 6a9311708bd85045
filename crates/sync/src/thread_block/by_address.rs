//! The accessors of variants that know the block by its address.

use super::{Slot, SlotWords, ThreadBlock};
use core::sync::atomic::Ordering;

fn words<'a>(block: *const ThreadBlock, slot: Slot) -> &'a SlotWords {
    let words = block.wrapping_byte_add(slot.byte_offset()).cast::<SlotWords>();
    // SAFETY: callers pass the block of the calling thread, which outlives the accessor that asks;
    // a slot's 40 bytes are inside it and aligned to 8, and are read and written as atomics only.
    unsafe { &*words }
}

pub(super) fn allocated_with(block: *const ThreadBlock, slot: Slot, bytes: u64) -> u64 {
    words(block, slot).allocated.load(Ordering::Relaxed).wrapping_add(bytes)
}

pub(super) fn is_above_allocated_limit(block: *const ThreadBlock, slot: Slot, sum: u64) -> bool {
    sum > words(block, slot).allocated_limit.load(Ordering::Relaxed)
}

pub(super) fn deallocated_with(block: *const ThreadBlock, slot: Slot, bytes: u64) -> u64 {
    words(block, slot).deallocated.load(Ordering::Relaxed).wrapping_add(bytes)
}

pub(super) fn is_above_deallocated_limit(block: *const ThreadBlock, slot: Slot, sum: u64) -> bool {
    sum > words(block, slot).deallocated_limit.load(Ordering::Relaxed)
}

pub(super) fn set_allocated(block: *const ThreadBlock, slot: Slot, bytes: u64) {
    words(block, slot).allocated.store(bytes, Ordering::Relaxed);
}

pub(super) fn set_deallocated(block: *const ThreadBlock, slot: Slot, bytes: u64) {
    words(block, slot).deallocated.store(bytes, Ordering::Relaxed);
}
