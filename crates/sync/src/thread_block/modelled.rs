//! Under loom: a block to each thread of the system, kept for good.

use super::{Counter, Slot, ThreadBlock, by_address};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::boxed::Box;

std::thread_local! {
    static BLOCK: &'static ThreadBlock = Box::leak(Box::new(zeroed()));
}

fn zeroed() -> ThreadBlock {
    ThreadBlock {
        unbound: [const { Counter::new() }; 2],
        state: AtomicU32::new(0),
        reentry: AtomicU32::new(0),
        underway: AtomicU64::new(0),
        zero: 0,
        first: super::SlotWords {
            allocated: Counter::new(),
            deallocated: Counter::new(),
            spare: [const { AtomicU64::new(0) }; 2],
            record: AtomicPtr::new(core::ptr::null_mut()),
        },
        tail: [const { AtomicU64::new(0) }; 6],
        not_shared: PhantomData,
    }
}

pub(super) fn block() -> *const ThreadBlock {
    BLOCK.with(|block| core::ptr::from_ref(*block))
}

pub(super) fn count_allocated(slot: Slot, bytes: u64) -> bool {
    by_address::count_allocated(block(), slot, bytes)
}

pub(super) fn count_deallocated(slot: Slot, bytes: u64) -> bool {
    by_address::count_deallocated(block(), slot, bytes)
}

pub(super) fn count_allocated_in_first(bytes: u64) -> bool {
    count_allocated(Slot::FIRST, bytes)
}

pub(super) fn count_deallocated_in_first(bytes: u64) -> bool {
    count_deallocated(Slot::FIRST, bytes)
}
