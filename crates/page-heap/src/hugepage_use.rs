//! What a page heap keeps in a hugepage.

use strata_span::Hugepage;

/// Which kind of spans share a hugepage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HugepageUse {
    /// None share it: it is part of a large span, or free as a whole, or the page heap does not look at hugepages.
    #[default]
    Whole,
    /// Spans of few objects, or of one.
    Sparse,
    /// Spans of many small objects.
    Dense,
    /// The tail of a large span that ends in it, which nobody has used yet.
    Donated,
    /// Spans of awkward length that cross its borders.
    Region,
}

/// One hugepage, as its page heap sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HugepageFigures {
    /// Which kind of spans share it.
    pub shared_by: HugepageUse,
    /// Pages in spans, where it is shared.
    pub used_pages: u64,
    /// Free pages that are not backed, where it is shared: given back to the kernel, or never touched.
    pub unbacked_pages: u64,
    /// Free pages that are backed, shared or not; none where the page heap does not look at hugepages.
    pub backed_free_pages: Option<u64>,
}

/// A hugepage that spans share.
#[derive(Clone, Copy, Debug)]
pub struct SharedHugepage {
    /// Which.
    pub hugepage: Hugepage,
    /// The number of its population, in the order of the page heap's own figures.
    pub population: usize,
    /// A bit for each page that is in a span, the lowest for the first.
    pub used: [u64; Self::WORDS],
    /// Spans in it.
    pub allocations: u32,
    /// The longest run of free pages.
    pub longest_free_pages: u32,
    /// It takes spans of many small objects alone.
    pub dense: bool,
    /// It was looked at to be made whole again, at least once.
    pub treated: bool,
    /// When that was last done, too much of it was missing for it to be tried.
    pub passed_over: bool,
    /// Pages of it had been given back to the kernel, then it became full, and it still is.
    pub refilled: bool,
    /// Time between the last two allocations from it, in nanoseconds; 0 before the second.
    pub between_allocations_ns: u64,
}

impl SharedHugepage {
    /// Words of a bitmap with a bit for each page of the smallest size.
    pub const WORDS: usize = 8;

    /// Whether a page is in a span.
    pub fn is_used(&self, page: usize) -> bool {
        self.used
            .get(page / u64::BITS as usize)
            .is_some_and(|word| word & 1 << (page % u64::BITS as usize) != 0)
    }
}
