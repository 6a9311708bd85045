//! What the legacy page heap tells about itself.

use crate::{
    AllocationFigures, FreeSpanCounts, FreeSpans, SpanAges, allocation_records::EXACT_LENGTHS,
};

/// The figures that only the legacy page heap has: what its report prints.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct LegacyFigures {
    /// The page size, in bytes.
    pub page_bytes: u64,
    /// The least length that shares the last line of the table, in pages: 1 MiB.
    pub large_pages: u64,
    /// Free spans of that length and more.
    pub large: FreeSpans,
    /// How long free spans have been waiting.
    pub ages: SpanAges,
    /// Counts of allocations by length.
    pub allocations: AllocationFigures,
    #[cfg_attr(feature = "serde", serde(with = "crate::sparse"))]
    pub(crate) by_length: [FreeSpanCounts; EXACT_LENGTHS],
}

// They are built on the stack of whoever asks, a signal handler's among them.
static_assertions::const_assert!(size_of::<LegacyFigures>() <= 19 << 10);

impl Default for LegacyFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl LegacyFigures {
    /// Those of a heap without pages. (They are filled in where they stand: a copy of each part would cost as much stack
    /// again.)
    pub const NONE: Self = Self {
        page_bytes: 0,
        large_pages: 0,
        large: FreeSpans::NONE,
        ages: SpanAges::NONE,
        allocations: AllocationFigures::NONE,
        by_length: [FreeSpanCounts::NONE; EXACT_LENGTHS],
    };

    /// Free spans by length, for the lengths below [`Self::large_pages`] that exist, rising.
    pub fn lengths(&self) -> impl Iterator<Item = FreeSpans> + '_ {
        FreeSpanCounts::lengths(&self.by_length, self.page_bytes)
    }
}
