//! Which slots of a region belong to which class.

use strata_size_classes::{CLASS_SLOTS, SizeClass, SizeClassTable};
use strata_sync::atomic::{AtomicU16, Ordering};

/// Binary logarithm of the distance between two regions: that of the greatest region. An index of a slot has 16 bits, so
/// that none can be longer.
pub(crate) const REGION_SHIFT: u32 = 19;

/// Address space of one CPU's region, in bytes: as much as the greatest region needs.
pub const REGION_BYTES: usize = 1 << REGION_SHIFT;

/// Slots of 8 bytes in one CPU's region at its greatest, headers included.
pub const REGION_SLOTS: usize = REGION_BYTES / 8;

/// The first slot behind the headers and the CPU's own state.
pub(crate) const FIRST_SLOT: usize = 384;

/// How many classes there may be: few where a model has to make a word for each.
pub(crate) const CLASSES: usize = if cfg!(strata_loom) { 4 } else { CLASS_SLOTS };

/// How much of its address space a CPU's region uses: one of a few sizes, each four times the one before, the last
/// one twice.
///
/// All CPUs begin with the least. Slots are memory as soon as they are used, and those of each class lie together:
/// in a longer region the same objects lie on more pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RegionSize(u8);

impl RegionSize {
    /// What every CPU begins with: 16 KiB, some 70 objects of each small size. At half, a batch does not fit; at
    /// four times, a program of four threads has 0.25 MiB more for its first objects of a few dozen classes
    /// (`threads` of the benchmarks).
    pub const LEAST: Self = Self(0);
    /// The greatest: as long as a region can be.
    pub const GREATEST: Self = Self(Self::COUNT as u8 - 1);

    /// How many there are.
    #[cfg(not(strata_loom))]
    pub const COUNT: usize = 4;
    /// How many there are: fewer, so that models stay small.
    #[cfg(strata_loom)]
    pub const COUNT: usize = 2;

    /// The size with this number; the greatest for what is none.
    pub(crate) const fn from_number(number: u8) -> Self {
        if number < Self::GREATEST.0 { Self(number) } else { Self::GREATEST }
    }

    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// How often the greatest is halved to get each.
    #[cfg(not(strata_loom))]
    const HALVINGS: [u32; Self::COUNT] = [5, 3, 1, 0];
    /// How often the greatest is halved to get each.
    #[cfg(strata_loom)]
    const HALVINGS: [u32; Self::COUNT] = [1, 0];

    const fn halvings(self) -> u32 {
        let last = Self::COUNT - 1;
        Self::HALVINGS[if (self.0 as usize) < last { self.0 as usize } else { last }]
    }

    /// Bytes that it has.
    pub const fn bytes(self) -> usize {
        REGION_BYTES >> self.halvings()
    }

    /// Slots of 8 bytes that it has, headers included.
    pub const fn slots(self) -> usize {
        self.bytes() / 8
    }

    /// The next size up; none for the greatest.
    pub fn larger(self) -> Option<Self> {
        (self < Self::GREATEST).then(|| Self(self.0 + 1))
    }

    /// The next size down; none for the least.
    pub fn smaller(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

/// Greatest number of objects of one class on one CPU in the greatest region, by size: twice what the fleet's
/// tables of TCMalloc give at half this region size, rounded; in each smaller size as many fewer as it is shorter.
/// The standard tables wish for an eighth more slots than a region has, so each class gets 89 % of this: in all but
/// the two least sizes a batch of a thousand small objects fits.
///
/// A static, so that it has a name by which it stands with what each start reads.
#[cfg(not(strata_loom))]
static GREATEST_CAPACITY: [(usize, u16); 5] =
    [(256, 3072), (1 << 10, 1280), (8 << 10, 320), (64 << 10, 96), (usize::MAX, 48)];
/// Greatest number of objects of one class on one CPU in the greatest region of a model.
#[cfg(strata_loom)]
static GREATEST_CAPACITY: [(usize, u16); 1] = [(usize::MAX, 4)];

/// The layouts of all sizes of a region.
#[derive(Debug)]
pub(crate) struct Layouts([Layout; RegionSize::COUNT]);

impl Layouts {
    strata_sync::const_fn! {
        pub(crate) const fn new() -> Self {
            Self(strata_sync::const_array![Layout::new(); RegionSize::COUNT])
        }
    }

    /// The layout of regions of this size, which was prepared before the first region got that size.
    pub(crate) fn of(&self, size: RegionSize) -> &Layout {
        self.0.get(usize::from(size.number())).unwrap_or(&self.0[0])
    }

    /// Computes a layout, before a region gets that size. Who does it again stores the same.
    pub(crate) fn prepare(&self, size: RegionSize, table: &SizeClassTable) -> &Layout {
        let layout = self.of(size);
        layout.set_up(size, table);
        layout
    }
}

/// For each class where its slots begin and how many it may have; the same on all CPUs with regions of one size.
///
/// Written before the first section runs in a region of this size.
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

    /// Lays out the classes of `table` in a region of this size. Each gets a marker and its greatest capacity; where the
    /// region is too short for all, all get the same share less.
    pub(crate) fn set_up(&self, size: RegionSize, table: &SizeClassTable) {
        let wish = |class: SizeClass| greatest_capacity(size, table.size(class)) as usize + 1;
        let wished: usize = table.classes().map(wish).sum();
        let room = size.slots() - FIRST_SLOT;
        let mut next = FIRST_SLOT;
        for class in table.classes() {
            let slots =
                if wished <= room { wish(class) } else { (wish(class) * room / wished).max(2) };
            let slots = slots.min(size.slots().saturating_sub(next));
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

fn greatest_capacity(size: RegionSize, object_bytes: usize) -> u16 {
    let greatest = GREATEST_CAPACITY.iter().find(|(limit, _)| object_bytes <= *limit);
    greatest.map_or(1, |(_, count)| *count) >> size.halvings()
}

fn as_slot(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
