//! The measures of a page map under loom, and how its memory comes to hold loom's atomics.
//!
//! The map itself is the one that programs use. loom explores only what few atomics stand in, so its
//! leaves and its root are short; and zeroed memory is no atomic of loom's, so they are constructed.

use super::Leaf;
use crate::PublishOnce;
use core::ptr::NonNull;
use strata_sync::atomic::{AtomicPtr, AtomicU8, AtomicU64};

pub(super) const LEAF_SHIFT: u32 = 2;
/// A leaf is shorter than a hugepage: nothing can be noted of one.
pub(super) const LEAF_HUGEPAGES: usize = 0;
/// A leaf is shorter than a granule, so first touches are not counted.
pub(super) const GRANULE_SHIFT: u32 = 6;
/// Eight leaves of pages of 4 KiB.
pub(super) const WIDEST_ADDRESS: u32 = 17;

/// Makes a root of zeroed memory.
///
/// # Safety
///
/// `root` has room for `length` entries, and nobody else knows it yet.
pub(super) unsafe fn start_root(root: NonNull<PublishOnce<Leaf>>, length: usize) {
    for index in 0..length {
        // SAFETY: the root has room for `length`.
        let entry = unsafe { root.add(index) };
        // SAFETY: nobody else knows the entry.
        unsafe { entry.write(PublishOnce::new()) };
    }
}

/// Makes a leaf of zeroed memory.
///
/// # Safety
///
/// `leaf` has room for a leaf, and nobody else knows it yet.
pub(super) unsafe fn start_leaf(leaf: NonNull<Leaf>) {
    let fresh = Leaf {
        classes: core::array::from_fn(|_| AtomicU8::new(0)),
        spans: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
        trackers: [],
        touched: core::array::from_fn(|_| AtomicU64::new(0)),
    };
    // SAFETY: nobody else knows the leaf.
    unsafe { leaf.write(fresh) };
}
