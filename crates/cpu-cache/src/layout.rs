//! Which slots of a region belong to which class.

use strata_size_classes::{CLASS_SLOTS, SizeClass, SizeClassTable};
use strata_sync::atomic::{AtomicU16, Ordering};

/// Binary logarithm of the distance between two regions.
pub(crate) const REGION_SHIFT: u32 = 18;

/// Bytes of one CPU's region.
pub const REGION_BYTES: usize = 1 << REGION_SHIFT;

/// Slots of 8 bytes in one CPU's region, headers included.
pub const REGION_SLOTS: usize = REGION_BYTES / 8;

/// The first slot behind the headers and the CPU's own state.
pub(crate) const FIRST_SLOT: usize = 256;

/// How many classes there may be: few where a model has to make a word for each.
pub(crate) const CLASSES: usize = if cfg!(strata_loom) { 4 } else { CLASS_SLOTS };

/// Greatest number of objects of one class on one CPU, by size: what the fleet's tables of TCMalloc give
/// at this region size, rounded. The standard tables wish for an eighth more slots than a region has, so each class gets
/// 89 % of this: a batch of a thousand small objects fits. Untouched slots cost address space only, so twice as
/// many in a region twice as long would cost nothing until used; half as many sends batches of a thousand to the transfer cache.
#[cfg(not(strata_loom))]
const GREATEST_CAPACITY: [(usize, u16); 5] =
    [(256, 1536), (1 << 10, 640), (8 << 10, 160), (64 << 10, 48), (usize::MAX, 24)];
/// Greatest number of objects of one class on one CPU in a model.
#[cfg(strata_loom)]
const GREATEST_CAPACITY: [(usize, u16); 1] = [(usize::MAX, 4)];

/// For each class where its slots begin and how many it may have; the same on all CPUs.
///
/// Written once, before the first section runs.
#[derive(Debug)]
pub(crate) struct Layout {
    begins: [AtomicU16; CLASSES],
    greatest: [AtomicU16; CLASSES],
}

impl Layout {
    strata_sync::const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                begins: strata_sync::const_array![AtomicU16::new(0); CLASSES],
                greatest: strata_sync::const_array![AtomicU16::new(0); CLASSES],
            }
        }
    }

    /// Lays out the classes of `table`. Each gets a marker and its greatest capacity; where the region is too
    /// short for all, all get the same share less.
    pub(crate) fn set_up(&self, table: &SizeClassTable) {
        let wish = |class: SizeClass| greatest_capacity(table.size(class)) as usize + 1;
        let wished: usize = table.classes().map(wish).sum();
        let room = REGION_SLOTS - FIRST_SLOT;
        let mut next = FIRST_SLOT;
        for class in table.classes() {
            let slots =
                if wished <= room { wish(class) } else { (wish(class) * room / wished).max(2) };
            let slots = slots.min(REGION_SLOTS.saturating_sub(next));
            self.begins[class.index()].store(as_slot(next), Ordering::Relaxed);
            self.greatest[class.index()].store(as_slot(slots.saturating_sub(1)), Ordering::Relaxed);
            next += slots;
        }
    }

    /// The marker of `class`: the slot below its first object.
    pub(crate) fn begin(&self, class: SizeClass) -> u16 {
        self.begins[class.index()].load(Ordering::Relaxed)
    }

    /// The greatest capacity of `class`, in objects.
    pub(crate) fn greatest(&self, class: SizeClass) -> u16 {
        self.greatest[class.index()].load(Ordering::Relaxed)
    }
}

fn greatest_capacity(size: usize) -> u16 {
    GREATEST_CAPACITY.iter().find(|(limit, _)| size <= *limit).map_or(1, |(_, count)| *count)
}

fn as_slot(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
