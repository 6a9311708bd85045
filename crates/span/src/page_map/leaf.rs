//! What a page map has for 32 768 pages.

#[cfg(strata_loom)]
use super::modelled::LEAF_HUGEPAGES;
#[cfg(strata_loom)]
pub(super) use super::modelled::{GRANULE_SHIFT, LEAF_SHIFT};
use crate::{PublishOnce, Span};
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// Pages of one leaf, as a power of two.
#[cfg(not(strata_loom))]
pub(super) const LEAF_SHIFT: u32 = 15;
pub(super) const LEAF_PAGES: usize = 1 << LEAF_SHIFT;
/// Hugepages of one leaf, at most: that many pages of 256 KiB cover 4 096 of them.
#[cfg(not(strata_loom))]
const LEAF_HUGEPAGES: usize = 4096;
/// What is touched by the first write is counted in granules of this size.
#[cfg(not(strata_loom))]
pub(super) const GRANULE_SHIFT: u32 = 12;

/// What stands for 32 768 pages.
#[repr(C)]
pub(super) struct Leaf {
    /// The size class of each page; 0 where the span must be asked.
    pub(super) classes: [AtomicU8; LEAF_PAGES],
    /// The span of each page.
    pub(super) spans: [AtomicPtr<Span>; LEAF_PAGES],
    /// Granules of this leaf that were written, a bit each: on one kernel page with the first trackers.
    pub(super) touched: [AtomicU64; TOUCHED_WORDS],
    /// What a page heap notes of each hugepage.
    pub(super) trackers: [AtomicPtr<()>; LEAF_HUGEPAGES],
}

const LEAF_BODY: usize = LEAF_PAGES + (LEAF_PAGES + LEAF_HUGEPAGES) * size_of::<usize>();
/// One granule more than the rest has: by the notes the last tracker may lie in the next one.
const TOUCHED_WORDS: usize = ((LEAF_BODY >> GRANULE_SHIFT) + 1).div_ceil(64);

impl Leaf {
    /// What a leaf takes, in whole granules.
    pub(super) const BYTES: usize = size_of::<Self>().next_multiple_of(1 << GRANULE_SHIFT);

    /// The class of a page, whose number is cut to the leaf's length, so that no check remains.
    #[inline(always)]
    pub(super) fn class(&self, page: usize) -> SizeClass {
        let raw = self.classes[page & (LEAF_PAGES - 1)].load(Ordering::Relaxed);
        // SAFETY: a leaf begins as zeros, and what is entered is a class's byte.
        unsafe { SizeClass::from_raw_unchecked(raw) }
    }
}

/// The leaf at `index` of a root.
///
/// # Safety
///
/// `root` has `length` entries, and stays, as its leaves do.
#[inline(always)]
pub(super) unsafe fn leaf_of<'a>(
    root: *mut PublishOnce<Leaf>,
    length: usize,
    index: usize,
) -> Option<&'a Leaf> {
    if index >= length {
        return None;
    }
    // SAFETY: the index is below the length.
    let entry = unsafe { root.add(index) };
    // SAFETY: zeroed or published entries are valid places, and shared only through atomics.
    let leaf = unsafe { &*entry }.get()?;
    // SAFETY: leaves are zeroed memory from the arena, valid as arrays of atomics, never unmapped.
    Some(unsafe { leaf.as_ref() })
}
