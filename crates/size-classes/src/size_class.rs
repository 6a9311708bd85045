//! A size class, as an index; and what the lookup yields: the class together with its size.

use core::num::NonZeroU32;

/// How many classes a table has room for, class 0 (none) included; a power of two.
pub const CLASS_SLOTS: usize = 128;

/// The index of a size class; 0 is no class.
///
/// [`index`](Self::index) is below [`CLASS_SLOTS`] whatever the value, by a mask that the compiler
/// sees: indexing an array of `CLASS_SLOTS` elements by it needs no check and cannot panic.
///
/// ```
/// use strata_size_classes::{CLASS_SLOTS, PageSize, Pages8K, SizeClass};
///
/// let mut in_use = [0_usize; CLASS_SLOTS];
/// let class = Pages8K::TABLE.entry(24).map_or(SizeClass::NONE, |entry| entry.class());
/// in_use[class.index()] += 1;
/// assert_eq!(SizeClass::from_index(class.index()), Some(class));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SizeClass(u8);

impl SizeClass {
    /// No class: what a page that holds no small objects has.
    pub const NONE: Self = Self(0);

    /// The class with this index, [`NONE`](Self::NONE) for 0; `None` from [`CLASS_SLOTS`] upwards.
    #[inline(always)]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < CLASS_SLOTS { Some(Self((index & (CLASS_SLOTS - 1)) as u8)) } else { None }
    }

    /// The class whose [`raw`](Self::raw) was this. The top bit, which no class has, is dropped, so
    /// that reading a class back from a byte needs no branch.
    #[inline(always)]
    pub const fn from_raw(raw: u8) -> Self {
        Self(raw & (CLASS_SLOTS - 1) as u8)
    }

    /// The same without the mask.
    ///
    /// # Safety
    ///
    /// `raw` is what [`raw`](Self::raw) said of a class.
    #[inline(always)]
    pub const unsafe fn from_raw_unchecked(raw: u8) -> Self {
        Self(raw)
    }

    /// The index, always below [`CLASS_SLOTS`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize & (CLASS_SLOTS - 1)
    }

    /// The index as the byte that the page map stores.
    #[inline(always)]
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// Whether this is [`NONE`](Self::NONE).
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What the lookup yields: a class and the size of its objects, in one word.
///
/// The class is in the low 8 bits, the size in the upper 24. It is never zero, so
/// `Option<ClassEntry>` is one word too, and testing it for `None` is a test for zero.
///
/// ```
/// use strata_size_classes::{PageSize, Pages8K};
///
/// let entry = Pages8K::TABLE.entry(1000).expect("small enough for a class");
/// assert_eq!(entry.size(), 1024);
/// assert_eq!(Pages8K::TABLE.size(entry.class()), 1024);
/// assert_eq!(size_of::<Option<strata_size_classes::ClassEntry>>(), 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ClassEntry(NonZeroU32);

impl ClassEntry {
    /// The entry for a class of this size in bytes, which is below 2^24; `None` for
    /// the size 0 of classes that do not exist.
    #[inline(always)]
    pub(crate) const fn of(class: SizeClass, size: u32) -> Option<Self> {
        debug_assert!(size < 1 << 24, "a size fits 24 bits");
        if size == 0 {
            return None;
        }
        match NonZeroU32::new(size << 8 | class.raw() as u32) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The class.
    #[inline(always)]
    pub const fn class(self) -> SizeClass {
        SizeClass::from_raw((self.0.get() & 0xff) as u8)
    }

    /// The size of the class's objects in bytes: what the request really gets.
    #[inline(always)]
    pub const fn size(self) -> usize {
        (self.0.get() >> 8) as usize
    }
}

/// What the lookup of small sizes yields: a [`ClassEntry`], or nothing, without a word that asks which.
///
/// Class and size are a shift and a mask away; of nothing they are [`SizeClass::NONE`] and 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SmallEntry(u32);

impl SmallEntry {
    /// Nothing: what a table has for sizes of which it knows no class.
    pub const NONE: Self = Self(0);

    /// The class of this size in bytes, which is below 2^24.
    pub(crate) const fn of(class: SizeClass, size: u32) -> Self {
        Self(size << 8 | class.raw() as u32)
    }

    /// The same for a class of any size.
    #[inline(always)]
    pub const fn of_entry(entry: ClassEntry) -> Self {
        Self(entry.0.get())
    }

    /// The class.
    #[inline(always)]
    pub const fn class(self) -> SizeClass {
        SizeClass((self.0 & 0xff) as u8)
    }

    /// The size of the class's objects in bytes: what the request really gets.
    #[inline(always)]
    pub const fn size(self) -> usize {
        (self.0 >> 8) as usize
    }
}

static_assertions::const_assert!(CLASS_SLOTS.is_power_of_two());
static_assertions::const_assert!(CLASS_SLOTS - 1 <= u8::MAX as usize);
static_assertions::assert_eq_size!(SizeClass, u8);
static_assertions::assert_eq_size!(Option<ClassEntry>, u32);

#[cfg(test)]
mod tests;
