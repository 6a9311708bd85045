//! What a table knows of one class: its size, its spans, its batch, and how to divide by its size.

/// A span with more objects than this is *dense*, one with fewer or as many is *sparse*; dense
/// spans have one page.
///
/// 16: the bound that TCMalloc's page heap separates spans by. Dense spans live long, as some of
/// their many objects does. At half, spans that empty quickly are kept among those that do not; at
/// twice, the page heap loses what it knows of half the dense classes.
pub const DENSE_OBJECTS: u32 = 16;

/// What a table knows of one class.
///
/// ```
/// use strata_size_classes::{PageSize, Pages8K};
///
/// let table = Pages8K::TABLE;
/// for class in table.classes() {
///     let info = table.info(class);
///     assert!(info.objects * info.size <= u32::from(info.pages) << Pages8K::SHIFT);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClassInfo {
    /// The size of an object in bytes; 0 for a class that the table does not have.
    pub size: u32,
    /// Pages in a span.
    pub pages: u16,
    /// Objects that move between two layers at a time.
    pub batch: u16,
    /// Objects in a span.
    pub objects: u32,
    /// The reciprocal of the size, scaled so that it fills 32 bits; see
    /// [`object_index`](Self::object_index).
    pub reciprocal: u32,
}

impl ClassInfo {
    /// A class that a table does not have.
    pub const NONE: Self = Self { size: 0, pages: 0, batch: 0, objects: 0, reciprocal: 0 };

    /// The number of the object that holds the byte at `offset` from the start of the span.
    ///
    /// Exact for every byte of a span, interior ones included; an offset in the tail behind the
    /// last object yields [`objects`](Self::objects). The caller keeps the offset within the span; of
    /// one that is not, the low 32 bits are divided. Costs a multiplication, a bit scan beside it,
    /// and a shift.
    ///
    /// With `s` the size, `L = ⌈log₂ s⌉` and `r = ⌈2^(31+L) / s⌉`, the answer is
    /// `⌊offset · r / 2^(31+L)⌋`. As `r · s = 2^(31+L) + e` with `e < s ≤ 2^L`, it is exact while
    /// `offset · e < 2^(31+L)`, which the validator proves of each class's longest offset
    /// (T. Granlund and P. Montgomery, "Division by Invariant Integers using Multiplication", 1994,
    /// theorem 4.2).
    #[inline(always)]
    pub const fn object_index(&self, offset: usize) -> u32 {
        let scaled = (offset as u64 & u32::MAX as u64) * self.reciprocal as u64;
        (scaled >> 32 >> scale_bits(self.size)) as u32
    }

    /// Whether its spans are dense: more than [`DENSE_OBJECTS`] objects.
    #[inline(always)]
    pub const fn is_dense(&self) -> bool {
        self.objects > DENSE_OBJECTS
    }

    /// The class of objects of this size in spans of so many pages.
    pub(crate) const fn new(size: u32, pages: u16, objects: u32, batch: u16) -> Self {
        Self { size, pages, batch, objects, reciprocal: reciprocal(size) }
    }

    /// The power of two that the reciprocal is scaled by.
    pub(crate) const fn reciprocal_scale(&self) -> u64 {
        1 << (32 + scale_bits(self.size))
    }
}

/// `⌈log₂ size⌉ − 1`, one bit scan; 0 for sizes that no class has.
#[inline(always)]
const fn scale_bits(size: u32) -> u32 {
    (size.wrapping_sub(1) | 1).ilog2()
}

/// `⌈2^(31 + ⌈log₂ size⌉) / size⌉`, which fits 32 bits for each size above 1.
const fn reciprocal(size: u32) -> u32 {
    (1_u64 << (32 + scale_bits(size))).div_ceil(size as u64) as u32
}

static_assertions::assert_eq_size!(ClassInfo, [u32; 4]);

#[cfg(test)]
mod tests;
