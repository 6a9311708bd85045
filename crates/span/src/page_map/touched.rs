//! The size of a map, and what of it was ever written.

use super::{
    PageMap,
    leaf::{GRANULE_SHIFT, Leaf},
};
use crate::Address;
use strata_size_classes::PageSize;
use strata_sync::atomic::Ordering;

/// The size of the page map, in bytes unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PageMapStats {
    /// Address space of the root, and of the window.
    pub root_reserved_bytes: u64,
    /// Of these, written at least once (in granules of 4 KiB).
    pub root_touched_bytes: u64,
    /// Number of leaves.
    pub leaves: u64,
    /// Address space of the leaves.
    pub leaf_reserved_bytes: u64,
    /// Of the leaves, written at least once (in granules of 4 KiB).
    pub leaf_touched_bytes: u64,
}

impl<P: PageSize> PageMap<P> {
    /// The size of the map.
    pub fn stats(&self) -> PageMapStats {
        let leaves = self.leaves.load(Ordering::Relaxed);
        PageMapStats {
            root_reserved_bytes: (self.root_length.load(Ordering::Relaxed) * size_of::<usize>())
                .next_multiple_of(1 << GRANULE_SHIFT) as u64
                + self.window.reserved_bytes(),
            root_touched_bytes: self.root_touched_bytes.load(Ordering::Relaxed)
                + self.window.touched_bytes(),
            leaves,
            leaf_reserved_bytes: leaves * Leaf::BYTES as u64,
            leaf_touched_bytes: self.leaf_touched_bytes.load(Ordering::Relaxed),
        }
    }

    /// Bytes of the map that nobody has written yet, and that cost no memory. A few loads.
    pub fn untouched_bytes(&self) -> u64 {
        let PageMapStats {
            root_reserved_bytes,
            root_touched_bytes,
            leaf_reserved_bytes,
            leaf_touched_bytes,
            ..
        } = self.stats();
        let reserved = root_reserved_bytes + leaf_reserved_bytes;
        // A leaf may be counted as touched a moment before it is counted as reserved.
        reserved.saturating_sub(root_touched_bytes + leaf_touched_bytes)
    }

    /// Counts the granules of a leaf that entries in a row lie in, which are two at most, at their first write.
    #[inline]
    pub(super) fn touch_ends<T>(&self, leaf: &Leaf, entries: &[T]) {
        for entry in [entries.last(), entries.first()].into_iter().flatten() {
            self.touch(leaf, entry);
        }
    }

    /// Counts the granule of a leaf that `entry` lies in, at its first write.
    #[inline]
    pub(super) fn touch<T>(&self, leaf: &Leaf, entry: &T) {
        let granule = Self::granule_of(leaf, entry);
        let Some(word) = leaf.touched.get(granule / 64) else { return };
        if word.load(Ordering::Relaxed) & (1 << (granule % 64)) == 0 {
            self.count_granule(leaf, granule);
        }
    }

    /// The granule of a leaf that a part of it begins in.
    #[inline]
    pub(super) fn granule_of<T>(leaf: &Leaf, part: &T) -> usize {
        let leaf = Address::of(core::ptr::from_ref(leaf));
        Address::of(core::ptr::from_ref(part)).offset_from(leaf) >> GRANULE_SHIFT
    }

    /// Counts a granule of a leaf, unless it is counted already.
    pub(super) fn count_granule(&self, leaf: &Leaf, granule: usize) {
        let bit = 1u64 << (granule % 64);
        let Some(word) = leaf.touched.get(granule / 64) else { return };
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.leaf_touched_bytes.fetch_add(1 << GRANULE_SHIFT, Ordering::Relaxed);
        }
    }
}
