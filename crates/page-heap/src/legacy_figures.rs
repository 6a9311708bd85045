//! What the legacy page heap tells about itself.

use crate::{AllocationFigures, SpanAges, allocation_records::EXACT_LENGTHS};

/// The figures that only the legacy page heap has: what its report prints.
#[derive(Clone, Debug, PartialEq)]
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
    pub(crate) by_length: [SpanCounts; EXACT_LENGTHS],
}

/// Free spans of one length, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub(crate) struct SpanCounts {
    pub(crate) backed: u32,
    pub(crate) unmapped: u32,
}

// They are built on the stack of whoever asks, a signal handler's among them.
static_assertions::const_assert!(size_of::<LegacyFigures>() <= 19 << 10);

/// Free spans of some length, or of some length and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FreeSpans {
    /// Their length in pages, or the least length.
    pub pages: u64,
    /// Backed ones, as a number.
    pub backed_spans: u64,
    /// Unbacked ones, as a number.
    pub unmapped_spans: u64,
    /// Bytes in the backed ones.
    pub backed_bytes: u64,
    /// Bytes in the unbacked ones.
    pub unmapped_bytes: u64,
}

impl Default for LegacyFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl LegacyFigures {
    /// Those of a heap without pages. (They are filled in where they stand: a copy of each part would cost as much stack
    /// again.)
    pub(crate) const NONE: Self = Self {
        page_bytes: 0,
        large_pages: 0,
        large: FreeSpans {
            pages: 0,
            backed_spans: 0,
            unmapped_spans: 0,
            backed_bytes: 0,
            unmapped_bytes: 0,
        },
        ages: SpanAges::NONE,
        allocations: AllocationFigures::NONE,
        by_length: [SpanCounts { backed: 0, unmapped: 0 }; EXACT_LENGTHS],
    };

    /// Free spans by length, for the lengths below [`Self::large_pages`] that exist, rising.
    pub fn lengths(&self) -> impl Iterator<Item = FreeSpans> + '_ {
        let lengths = self.by_length.iter().enumerate().map(|(pages, counts)| {
            let pages = pages as u64;
            let (backed, unmapped) = (u64::from(counts.backed), u64::from(counts.unmapped));
            FreeSpans {
                pages,
                backed_spans: backed,
                unmapped_spans: unmapped,
                backed_bytes: backed * pages * self.page_bytes,
                unmapped_bytes: unmapped * pages * self.page_bytes,
            }
        });
        lengths.filter(|spans| spans.backed_spans + spans.unmapped_spans != 0)
    }
}
