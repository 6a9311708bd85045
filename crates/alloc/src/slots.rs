//! Which heap has which of the words that every thread keeps.

use core::ffi::c_void;
use core::ptr::NonNull;
use strata_os::rseq;
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    thread_block::Slot,
};

/// The heap that has a slot, by slot. Written by `acquire` and `release` alone.
static OWNERS: [(Slot, AtomicPtr<c_void>); 2] = [
    (Slot::FIRST, AtomicPtr::new(core::ptr::null_mut())),
    (Slot::SECOND, AtomicPtr::new(core::ptr::null_mut())),
];

/// Gives `heap` a free slot; [`Slot::UNBOUND`] if two heaps have both.
pub(crate) fn acquire(heap: NonNull<c_void>) -> Slot {
    let free = |(slot, owner): &&(Slot, AtomicPtr<c_void>)| {
        // Our own rseq areas lie where the second slot would be.
        (*slot == Slot::FIRST || rseq::glibc_area().is_some())
            && owner
                .compare_exchange(
                    core::ptr::null_mut(),
                    heap.as_ptr(),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    };
    OWNERS.iter().find(free).map_or(Slot::UNBOUND, |(slot, _)| *slot)
}

/// Takes the slot of `heap` back, if it has one. No thread's words belong to it any more.
pub(crate) fn release(heap: NonNull<c_void>) {
    for (_, owner) in &OWNERS {
        // Release pairs with the acquire of the next heap's `acquire`.
        let _ = owner.compare_exchange(
            heap.as_ptr(),
            core::ptr::null_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
}
