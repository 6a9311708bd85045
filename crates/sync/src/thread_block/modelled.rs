//! Under loom: a block to each thread of the system, kept for good.

use super::{Slot, ThreadBlock, by_address};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::boxed::Box;

std::thread_local! {
    static BLOCK: &'static ThreadBlock = Box::leak(Box::new(zeroed()));
}

fn zeroed() -> ThreadBlock {
    ThreadBlock {
        state: AtomicU32::new(0),
        reentry: AtomicU32::new(0),
        spare: AtomicU64::new(0),
        zero: [0; 3],
        first: super::SlotWords {
            allocated: AtomicU64::new(0),
            deallocated: AtomicU64::new(0),
            allocated_limit: AtomicU64::new(0),
            deallocated_limit: AtomicU64::new(0),
            record: AtomicPtr::new(core::ptr::null_mut()),
        },
        tail: [const { AtomicU64::new(0) }; 6],
        not_shared: PhantomData,
    }
}

pub(super) fn block() -> *const ThreadBlock {
    BLOCK.with(|block| core::ptr::from_ref(*block))
}

pub(super) fn allocated_with(slot: Slot, bytes: u64) -> u64 {
    by_address::allocated_with(block(), slot, bytes)
}

pub(super) fn deallocated_with(slot: Slot, bytes: u64) -> u64 {
    by_address::deallocated_with(block(), slot, bytes)
}

pub(super) fn is_above_allocated_limit(slot: Slot, sum: u64) -> bool {
    by_address::is_above_allocated_limit(block(), slot, sum)
}

pub(super) fn is_above_deallocated_limit(slot: Slot, sum: u64) -> bool {
    by_address::is_above_deallocated_limit(block(), slot, sum)
}

pub(super) fn set_allocated(slot: Slot, bytes: u64) {
    by_address::set_allocated(block(), slot, bytes);
}

pub(super) fn set_deallocated(slot: Slot, bytes: u64) {
    by_address::set_deallocated(block(), slot, bytes);
}
