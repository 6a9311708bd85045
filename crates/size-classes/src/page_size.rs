//! The page size, as a type.

use crate::{Bounds, SizeClassTable};

/// An allocator page size: the unit of spans, a power of two from 4 KiB to 256 KiB, chosen when the
/// heap's type is written and independent of the kernel's.
///
/// Smaller pages waste less per class and release memory in finer pieces; larger ones need fewer
/// spans and fewer calls of the page heap.
///
/// ```
/// use strata_size_classes::{PageSize, Pages8K, Pages32K};
///
/// fn pages_of<P: PageSize>(bytes: usize) -> usize {
///     bytes.div_ceil(P::BYTES)
/// }
/// assert_eq!(pages_of::<Pages8K>(100_000), 13);
/// assert_eq!(pages_of::<Pages32K>(100_000), 4);
/// ```
pub trait PageSize: Copy + Clone + core::fmt::Debug + Send + Sync + 'static {
    /// Binary logarithm of the page size in bytes.
    const SHIFT: u32;
    /// The page size in bytes.
    const BYTES: usize = 1 << Self::SHIFT;
    /// How it is written in options and file names.
    const NAME: &'static str;
    /// The size classes that belong to it.
    const TABLE: &'static SizeClassTable;
}

static TABLE_4K: SizeClassTable = SizeClassTable::proven(Pages4K::SHIFT, &Bounds::STANDARD);
static TABLE_8K: SizeClassTable = SizeClassTable::proven(Pages8K::SHIFT, &Bounds::STANDARD);
static TABLE_32K: SizeClassTable = SizeClassTable::proven(Pages32K::SHIFT, &Bounds::STANDARD);
static TABLE_256K: SizeClassTable = SizeClassTable::proven(Pages256K::SHIFT, &Bounds::STANDARD);

/// Pages of 4 KiB: least memory, for small heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages4K;

impl PageSize for Pages4K {
    const SHIFT: u32 = 12;
    const NAME: &'static str = "4k";
    const TABLE: &'static SizeClassTable = &TABLE_4K;
}

/// Pages of 8 KiB: the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages8K;

impl PageSize for Pages8K {
    const SHIFT: u32 = 13;
    const NAME: &'static str = "8k";
    const TABLE: &'static SizeClassTable = &TABLE_8K;
}

/// Pages of 32 KiB: fewer spans, for large heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages32K;

impl PageSize for Pages32K {
    const SHIFT: u32 = 15;
    const NAME: &'static str = "32k";
    const TABLE: &'static SizeClassTable = &TABLE_32K;
}

/// Pages of 256 KiB: every class in few spans, for heaps of many gigabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages256K;

impl PageSize for Pages256K {
    const SHIFT: u32 = 18;
    const NAME: &'static str = "256k";
    const TABLE: &'static SizeClassTable = &TABLE_256K;
}
