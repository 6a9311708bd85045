//! Runs of free pages by length.

use strata_page_heap::{FreeSpanCounts, FreeSpans, SMALL_LENGTH_BYTES};
use strata_span::PageSize;

/// Entries of a table by exact length: as many as pages of 4 KiB need.
const EXACT_LENGTHS: usize = SMALL_LENGTH_BYTES >> 12;

/// Runs of free pages, exact below 1 MiB and together above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FreeSpanTable {
    /// The least length that shares the last line, in pages: 1 MiB.
    pub large_pages: u64,
    /// Free runs of that length and more.
    pub large: FreeSpans,
    page_bytes: u64,
    #[cfg_attr(feature = "serde", serde(with = "strata_page_heap::sparse"))]
    by_length: [FreeSpanCounts; EXACT_LENGTHS],
}

impl Default for FreeSpanTable {
    fn default() -> Self {
        Self::NONE
    }
}

impl FreeSpanTable {
    /// Of no pages.
    pub(crate) const NONE: Self = Self {
        large_pages: 0,
        large: FreeSpans::NONE,
        page_bytes: 0,
        by_length: [FreeSpanCounts::NONE; EXACT_LENGTHS],
    };

    /// Makes an empty table one of pages of a size.
    pub(crate) const fn begin<P: PageSize>(&mut self) {
        self.large_pages = (SMALL_LENGTH_BYTES >> P::SHIFT) as u64;
        self.large.pages = self.large_pages;
        self.page_bytes = P::BYTES as u64;
    }

    /// Counts a run of `pages` pages.
    pub(crate) fn record(&mut self, pages: usize, backed: bool) {
        let length = pages as u64;
        let exact = self.by_length.get_mut(pages).filter(|_| length < self.large_pages);
        let bytes = length * self.page_bytes;
        match (exact, backed) {
            (Some(counts), true) => counts.backed += 1,
            (Some(counts), false) => counts.unmapped += 1,
            (None, true) => {
                self.large.backed_spans += 1;
                self.large.backed_bytes += bytes;
            }
            (None, false) => {
                self.large.unmapped_spans += 1;
                self.large.unmapped_bytes += bytes;
            }
        }
    }

    /// Free runs by length, for the lengths below [`Self::large_pages`] that exist, rising.
    pub fn lengths(&self) -> impl Iterator<Item = FreeSpans> + '_ {
        FreeSpanCounts::lengths(&self.by_length, self.page_bytes)
    }

    /// Bytes of all runs: backed and not.
    pub fn total_bytes(&self) -> (u64, u64) {
        let all = self.lengths().chain(core::iter::once(self.large));
        all.fold((0u64, 0u64), |(backed, unmapped), spans| {
            (
                backed.saturating_add(spans.backed_bytes),
                unmapped.saturating_add(spans.unmapped_bytes),
            )
        })
    }
}

#[cfg(test)]
mod tests;
