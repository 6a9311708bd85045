//! What a page heap keeps in a hugepage.

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
