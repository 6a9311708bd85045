//! How many spans of which length were handed out and came back.

use core::marker::PhantomData;
use strata_span::{HUGEPAGE_BYTES, PageCount, PageSize};

/// Lengths below this many bytes are counted one by one, and are "small" in the figures.
pub const SMALL_LENGTH_BYTES: usize = 1 << 20;

/// Entries of a table by exact length: as many as the smallest pages (4 KiB) need.
pub(crate) const EXACT_LENGTHS: usize = SMALL_LENGTH_BYTES >> 12;

/// Ranges of lengths up to 2^32 pages; range `i` holds the lengths above `2^(i-1)` and up to `2^i`.
const RANGES: usize = 33;

/// Counts of allocations by length: exact below 1 MiB, by powers of two above.
///
/// The owner guards it, as `&mut` says. Recording takes constant time.
///
/// The sums stand beside the shortest lengths, so that a small program has them on one page.
#[repr(C)]
#[derive(Debug)]
pub struct AllocationRecords<P: PageSize> {
    small_pages: u64,
    slack_pages: u64,
    largest_pages: u64,
    live_pages: u64,
    /// The most that `live_pages` was since it was last asked for.
    peak_pages: u64,
    exact: [Counts; EXACT_LENGTHS],
    ranges: [RangeCounts; RANGES],
    pages: PhantomData<P>,
}

/// For one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
struct Counts {
    allocated: u64,
    freed: u64,
}

/// For a range of lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
struct RangeCounts {
    counts: Counts,
    allocated_pages: u64,
    freed_pages: u64,
}

/// What [`AllocationRecords`] tells.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AllocationFigures {
    /// Pages of spans below 1 MiB that are out.
    pub small_live_pages: u64,
    /// Pages that the spans of 1 MiB and more that are out would need more, if each ended with a
    /// hugepage.
    pub slack_pages: u64,
    /// Length of the longest span ever handed out, in pages.
    pub largest_pages: u64,
    /// The page size, in bytes.
    pub page_bytes: u64,
    /// How long the heap has been used: what rates refer to.
    pub elapsed_ns: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::sparse"))]
    exact: [Counts; EXACT_LENGTHS],
    #[cfg_attr(feature = "serde", serde(with = "crate::sparse"))]
    ranges: [RangeCounts; RANGES],
}

/// Counts for one length, or for a range of lengths.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LengthRecord {
    /// The least length, in pages.
    pub least_pages: u64,
    /// The greatest length, in pages.
    pub greatest_pages: u64,
    /// Spans handed out so far, as a number.
    pub allocated: u64,
    /// Spans that came back, as a number.
    pub freed: u64,
    /// Bytes in spans handed out so far.
    pub allocated_bytes: u64,
    /// Bytes in spans that are out now.
    pub live_bytes: u64,
    /// Spans handed out in a second, on average since the start.
    pub allocations_per_second: f64,
    /// Bytes handed out in a second, on average since the start.
    pub bytes_per_second: f64,
}

impl LengthRecord {
    /// Spans that are out now, as a number.
    pub const fn live(&self) -> u64 {
        self.allocated.saturating_sub(self.freed)
    }
}

impl Counts {
    const NONE: Self = Self { allocated: 0, freed: 0 };

    /// The same, for spans of `pages` pages.
    const fn of_length(self, pages: u64) -> RangeCounts {
        RangeCounts {
            counts: self,
            allocated_pages: self.allocated.wrapping_mul(pages),
            freed_pages: self.freed.wrapping_mul(pages),
        }
    }
}

impl RangeCounts {
    const NONE: Self = Self { counts: Counts::NONE, allocated_pages: 0, freed_pages: 0 };
}

impl<P: PageSize> AllocationRecords<P> {
    /// The least length that is not small.
    pub const LARGE: PageCount<P> = PageCount::new(SMALL_LENGTH_BYTES >> P::SHIFT);

    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self {
            exact: [Counts::NONE; EXACT_LENGTHS],
            ranges: [RangeCounts::NONE; RANGES],
            small_pages: 0,
            slack_pages: 0,
            largest_pages: 0,
            live_pages: 0,
            peak_pages: 0,
            pages: PhantomData,
        }
    }

    /// Counts a span of `pages` pages that is handed out.
    pub fn record_allocation(&mut self, pages: PageCount<P>) {
        let length = pages.get() as u64;
        self.largest_pages = self.largest_pages.max(length);
        self.live_pages += length;
        self.peak_pages = self.peak_pages.max(self.live_pages);
        if pages < Self::LARGE {
            self.small_pages += length;
        } else {
            self.slack_pages += Self::slack(pages);
        }
        if pages < Self::LARGE {
            if let Some(counts) = self.exact.get_mut(pages.get()) {
                counts.allocated += 1;
            }
        } else if let Some(range) = self.ranges.get_mut(range_of(pages.get())) {
            range.counts.allocated += 1;
            range.allocated_pages += length;
        }
    }

    /// Counts a span of `pages` pages that came back.
    pub fn record_deallocation(&mut self, pages: PageCount<P>) {
        let length = pages.get() as u64;
        self.live_pages = self.live_pages.saturating_sub(length);
        if pages < Self::LARGE {
            self.small_pages = self.small_pages.saturating_sub(length);
        } else {
            self.slack_pages = self.slack_pages.saturating_sub(Self::slack(pages));
        }
        if pages < Self::LARGE {
            if let Some(counts) = self.exact.get_mut(pages.get()) {
                counts.freed += 1;
            }
        } else if let Some(range) = self.ranges.get_mut(range_of(pages.get())) {
            range.counts.freed += 1;
            range.freed_pages += length;
        }
    }

    /// Counts a span of `from` pages that grew to `to` pages where it is: as one that came back, and one that was
    /// handed out.
    pub fn record_extension(&mut self, from: PageCount<P>, to: PageCount<P>) {
        self.record_deallocation(from);
        self.record_allocation(to);
    }

    /// The most pages that were out at any moment since the last call, which begins anew.
    pub fn take_peak_pages(&mut self) -> PageCount<P> {
        let peak = core::mem::replace(&mut self.peak_pages, self.live_pages);
        PageCount::new(usize::try_from(peak).unwrap_or(usize::MAX >> P::SHIFT))
    }

    /// Pages that the spans of 1 MiB and more that are out would need more, if each ended with a
    /// hugepage.
    pub const fn slack_pages(&self) -> u64 {
        self.slack_pages
    }

    /// The counts, of a heap that has been used for `elapsed_ns`.
    pub fn figures(&self, elapsed_ns: u64) -> AllocationFigures {
        let mut figures = AllocationFigures::NONE;
        self.fill_in(&mut figures, elapsed_ns);
        figures
    }

    /// The same, where they are wanted: a copy costs 5 KiB of stack.
    pub fn fill_in(&self, figures: &mut AllocationFigures, elapsed_ns: u64) {
        figures.small_live_pages = self.small_pages;
        figures.slack_pages = self.slack_pages;
        figures.largest_pages = self.largest_pages;
        figures.page_bytes = P::BYTES as u64;
        figures.elapsed_ns = elapsed_ns;
        figures.exact.copy_from_slice(&self.exact);
        figures.ranges.copy_from_slice(&self.ranges);
    }

    /// The pages up to the end of the last hugepage, if the span began with one.
    fn slack(pages: PageCount<P>) -> u64 {
        (pages.hugepages_up().pages::<P>() - pages).get() as u64
    }
}

impl<P: PageSize> Default for AllocationRecords<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for AllocationFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl AllocationFigures {
    /// Nothing counted.
    pub const NONE: Self = Self {
        small_live_pages: 0,
        slack_pages: 0,
        largest_pages: 0,
        page_bytes: 0,
        elapsed_ns: 0,
        exact: [Counts::NONE; EXACT_LENGTHS],
        ranges: [RangeCounts::NONE; RANGES],
    };

    /// One record for each length and range of lengths that was ever handed out, by rising length.
    pub fn records(&self) -> impl Iterator<Item = LengthRecord> + '_ {
        let exact = self.exact.iter().enumerate().map(|(length, counts)| {
            let length = length as u64;
            self.record(length, length, &counts.of_length(length))
        });
        let ranges = self.ranges.iter().enumerate().map(|(index, range)| {
            let greatest = 1u64 << index;
            self.record(greatest / 2 + 1, greatest, range)
        });
        exact.chain(ranges).filter(|record| record.allocated != 0)
    }

    fn record(&self, least_pages: u64, greatest_pages: u64, range: &RangeCounts) -> LengthRecord {
        let counts = range.counts;
        let allocated_bytes = range.allocated_pages.wrapping_mul(self.page_bytes);
        let seconds = self.elapsed_ns as f64 / 1e9;
        let rate = |total: u64| if seconds > 0.0 { total as f64 / seconds } else { 0.0 };
        LengthRecord {
            least_pages,
            greatest_pages,
            allocated: counts.allocated,
            freed: counts.freed,
            allocated_bytes,
            live_bytes: range
                .allocated_pages
                .saturating_sub(range.freed_pages)
                .wrapping_mul(self.page_bytes),
            allocations_per_second: rate(counts.allocated),
            bytes_per_second: rate(allocated_bytes),
        }
    }
}

/// The least `i` with `pages <= 2^i`.
fn range_of(pages: usize) -> usize {
    (usize::BITS - pages.saturating_sub(1).leading_zeros()) as usize
}

static_assertions::const_assert!(SMALL_LENGTH_BYTES <= HUGEPAGE_BYTES);

#[cfg(test)]
mod tests;
