//! Numbers of pages and hugepages, each a type of its own.

use crate::Address;
use core::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops::{Add, AddAssign, Sub, SubAssign},
};
use strata_os::AddressRange;
use strata_size_classes::PageSize;

/// Binary logarithm of [`HUGEPAGE_BYTES`].
pub const HUGEPAGE_SHIFT: u32 = 21;

/// The size of a hugepage: 2 MiB, what x86-64 and aarch64 with 4 KiB pages have.
pub const HUGEPAGE_BYTES: usize = 1 << HUGEPAGE_SHIFT;

/// The number of a page of size `P`: its address divided by the page size.
#[repr(transparent)]
pub struct PageId<P: PageSize>(usize, PhantomData<P>);

/// A number of pages of size `P`.
#[repr(transparent)]
pub struct PageCount<P: PageSize>(usize, PhantomData<P>);

/// The number of a hugepage: its address divided by [`HUGEPAGE_BYTES`].
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Hugepage(usize);

/// A number of hugepages.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct HugepageCount(usize);

impl<P: PageSize> PageId<P> {
    /// The page with this number.
    #[inline(always)]
    pub const fn new(number: usize) -> Self {
        Self(number, PhantomData)
    }

    /// The page that holds `address`.
    #[inline(always)]
    pub const fn from_address(address: usize) -> Self {
        Self(address >> P::SHIFT, PhantomData)
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> usize {
        self.0
    }

    /// Its first address.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address::new(self.0 << P::SHIFT)
    }

    /// The hugepage that it lies in.
    #[inline(always)]
    pub const fn hugepage(self) -> Hugepage {
        Hugepage(self.0 >> (HUGEPAGE_SHIFT - P::SHIFT))
    }

    /// Its index among the pages of its hugepage.
    #[inline(always)]
    pub const fn index_in_hugepage(self) -> usize {
        self.0 & (PageCount::<P>::PER_HUGEPAGE.0 - 1)
    }
}

impl<P: PageSize> PageCount<P> {
    /// No pages.
    pub const ZERO: Self = Self(0, PhantomData);
    /// One page.
    pub const ONE: Self = Self(1, PhantomData);
    /// The pages of a hugepage.
    pub const PER_HUGEPAGE: Self = Self(HUGEPAGE_BYTES >> P::SHIFT, PhantomData);

    /// So many pages.
    #[inline(always)]
    pub const fn new(count: usize) -> Self {
        Self(count, PhantomData)
    }

    /// As many pages as hold `bytes`; none where that number does not exist.
    #[inline(always)]
    pub const fn holding(bytes: usize) -> Option<Self> {
        match bytes.checked_add(P::BYTES - 1) {
            Some(top) => Some(Self(top >> P::SHIFT, PhantomData)),
            None => None,
        }
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0
    }

    /// The size in bytes.
    #[inline(always)]
    pub const fn bytes(self) -> usize {
        self.0 << P::SHIFT
    }

    /// As many hugepages as hold these pages.
    #[inline(always)]
    pub const fn hugepages_up(self) -> HugepageCount {
        HugepageCount(self.0.div_ceil(Self::PER_HUGEPAGE.0))
    }

    /// The lesser of two counts.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }

    /// The greater of two counts.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.0 > other.0 { self } else { other }
    }

    /// The difference, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0), PhantomData)
    }

    /// The range of these pages from `first`.
    pub const fn range_from(self, first: PageId<P>) -> AddressRange {
        AddressRange::new(first.address().value(), self.bytes())
    }
}

impl Hugepage {
    /// The hugepage with this number.
    pub const fn new(number: usize) -> Self {
        Self(number)
    }

    /// The hugepage that holds `address`.
    pub const fn from_address(address: usize) -> Self {
        Self(address >> HUGEPAGE_SHIFT)
    }

    /// Its number.
    pub const fn number(self) -> usize {
        self.0
    }

    /// Its first address.
    pub const fn address(self) -> Address {
        Address::new(self.0 << HUGEPAGE_SHIFT)
    }

    /// Its first page.
    pub const fn first_page<P: PageSize>(self) -> PageId<P> {
        PageId::new(self.0 << (HUGEPAGE_SHIFT - P::SHIFT))
    }

    /// The range of `count` hugepages from this one.
    pub const fn range(self, count: HugepageCount) -> AddressRange {
        AddressRange::new(self.address().value(), count.bytes())
    }
}

impl HugepageCount {
    /// None.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(1);

    /// So many hugepages.
    pub const fn new(count: usize) -> Self {
        Self(count)
    }

    /// As many hugepages as hold `bytes`; none where that number does not exist.
    pub const fn holding(bytes: usize) -> Option<Self> {
        match bytes.checked_add(HUGEPAGE_BYTES - 1) {
            Some(top) => Some(Self(top >> HUGEPAGE_SHIFT)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.0 << HUGEPAGE_SHIFT
    }

    /// The size in pages.
    pub const fn pages<P: PageSize>(self) -> PageCount<P> {
        PageCount::new(self.0 << (HUGEPAGE_SHIFT - P::SHIFT))
    }

    /// The lesser of two counts.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }

    /// The greater of two counts.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.0 > other.0 { self } else { other }
    }

    /// The difference, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// id − id = count, id ± count = id, count ± count = count; id + id does not exist.
macro_rules! arithmetic {
    ([$($generics:tt)*] $id:ty, $count:ty, $id_new:expr, $count_new:expr) => {
        impl<$($generics)*> Sub for $id {
            type Output = $count;
            #[inline(always)]
            fn sub(self, start: Self) -> $count {
                debug_assert!(start.0 <= self.0, "pages run upwards");
                $count_new(self.0.wrapping_sub(start.0))
            }
        }
        impl<$($generics)*> Add<$count> for $id {
            type Output = Self;
            #[inline(always)]
            fn add(self, count: $count) -> Self {
                $id_new(self.0.wrapping_add(count.0))
            }
        }
        impl<$($generics)*> Sub<$count> for $id {
            type Output = Self;
            #[inline(always)]
            fn sub(self, count: $count) -> Self {
                $id_new(self.0.wrapping_sub(count.0))
            }
        }
        impl<$($generics)*> Add for $count {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                $count_new(self.0.wrapping_add(other.0))
            }
        }
        impl<$($generics)*> Sub for $count {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                debug_assert!(other.0 <= self.0, "a count is never negative");
                $count_new(self.0.wrapping_sub(other.0))
            }
        }
        impl<$($generics)*> AddAssign for $count {
            #[inline(always)]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl<$($generics)*> SubAssign for $count {
            #[inline(always)]
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }
    };
}

arithmetic!([P: PageSize] PageId<P>, PageCount<P>, PageId::new, PageCount::new);
arithmetic!([] Hugepage, HugepageCount, Hugepage::new, HugepageCount::new);

/// What `derive` would ask of `P`, without asking it of `P`.
macro_rules! plain_number {
    ($name:ident) => {
        impl<P: PageSize> Clone for $name<P> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<P: PageSize> Copy for $name<P> {}
        impl<P: PageSize> PartialEq for $name<P> {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        impl<P: PageSize> Eq for $name<P> {}
        impl<P: PageSize> PartialOrd for $name<P> {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<P: PageSize> Ord for $name<P> {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.0.cmp(&other.0)
            }
        }
        impl<P: PageSize> Hash for $name<P> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }
        impl<P: PageSize> fmt::Debug for $name<P> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
        impl<P: PageSize> Default for $name<P> {
            fn default() -> Self {
                Self(0, PhantomData)
            }
        }
    };
}

plain_number!(PageId);
plain_number!(PageCount);
