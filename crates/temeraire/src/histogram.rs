//! How many hugepages have how many of something.

use strata_span::{PageCount, PageSize};

/// Buckets of a [`Histogram`].
pub const HISTOGRAM_BUCKETS: usize = 32;

/// Buckets of the coarse form of a [`Histogram`].
pub const COARSE_BUCKETS: usize = 24;

/// Hugepages by a number of pages: fine at both ends, in sixteenths of a hugepage between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Histogram {
    /// Hugepages in each bucket; bounds see [`histogram_bounds`].
    pub counts: [u32; HISTOGRAM_BUCKETS],
}

/// The least number of each bucket, for hugepages of pages of size `P`: 0 to 8, then sixteenths of
/// a hugepage, then the last eight numbers below a whole one. Where a hugepage has few pages, bounds
/// are clipped, and some buckets stay empty.
///
/// ```
/// use strata_size_classes::Pages8K;
///
/// let bounds = strata_temeraire::histogram_bounds::<Pages8K>();
/// assert_eq!(bounds[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32]);
/// assert_eq!(bounds[22..], [224, 240, 248, 249, 250, 251, 252, 253, 254, 255]);
/// ```
pub const fn histogram_bounds<P: PageSize>() -> [u16; HISTOGRAM_BUCKETS] {
    histogram_bounds_of(PageCount::<P>::PER_HUGEPAGE.get())
}

/// The same, for hugepages of `pages` pages, for those who know the page size as a number.
pub const fn histogram_bounds_of(pages: usize) -> [u16; HISTOGRAM_BUCKETS] {
    bounds::<HISTOGRAM_BUCKETS, 9>(pages)
}

/// The least number of each bucket of the coarse form: 0 to 4, sixteenths, and the last four numbers. Each of them
/// is one of the fine form, too.
///
/// ```
/// let bounds = strata_temeraire::coarse_bounds_of(256);
/// assert_eq!(bounds[..7], [0, 1, 2, 3, 4, 16, 32]);
/// assert_eq!(bounds[18..], [224, 240, 252, 253, 254, 255]);
/// ```
pub const fn coarse_bounds_of(pages: usize) -> [u16; COARSE_BUCKETS] {
    bounds::<COARSE_BUCKETS, 5>(pages)
}

/// Single numbers, `SINGLES` at the start, then 15 sixteenths, then single numbers up to the last.
const fn bounds<const BUCKETS: usize, const SINGLES: usize>(pages: usize) -> [u16; BUCKETS] {
    let mut bounds = [0; BUCKETS];
    let (mut index, mut bound) = (0, 0);
    while index < BUCKETS {
        let wanted = if index < SINGLES {
            index
        } else if index < SINGLES + 15 {
            (index - SINGLES + 1) * pages / 16
        } else {
            pages.saturating_sub(BUCKETS - index)
        };
        // Bounds never fall, and never reach a whole hugepage.
        bound = if wanted > bound { wanted } else { bound };
        bound = if bound < pages { bound } else { pages.saturating_sub(1) };
        bounds[index] = (bound & 0xffff) as u16;
        index += 1;
    }
    bounds
}

impl Histogram {
    pub(crate) const EMPTY: Self = Self { counts: [0; HISTOGRAM_BUCKETS] };

    /// Counts a hugepage with `value`.
    pub(crate) fn record<P: PageSize>(&mut self, value: usize) {
        let bounds = const { histogram_bounds::<P>() };
        let bucket = bounds.iter().rposition(|bound| value >= usize::from(*bound)).unwrap_or(0);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    /// All hugepages counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The coarse form, for hugepages of `pages` pages; bounds see [`coarse_bounds_of`].
    pub fn coarse(&self, pages: usize) -> [u32; COARSE_BUCKETS] {
        let coarse = coarse_bounds_of(pages);
        let mut counts = [0u32; COARSE_BUCKETS];
        for (bound, count) in histogram_bounds_of(pages).iter().zip(&self.counts) {
            let bucket = coarse.iter().rposition(|coarse| bound >= coarse).unwrap_or(0);
            if let Some(sum) = counts.get_mut(bucket) {
                *sum = sum.wrapping_add(*count);
            }
        }
        counts
    }

    #[must_use]
    fn plus(mut self, other: &Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.wrapping_add(*more);
        }
        self
    }
}

/// How full the hugepages of one kind are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Fullness {
    /// By free pages, backed or not.
    pub free_pages: Histogram,
    /// By the longest run of free pages.
    pub longest_free_range: Histogram,
    /// By allocations less one, as a hugepage in the filler has at least one: add 1 to the bounds.
    pub allocations_less_one: Histogram,
}

impl Fullness {
    pub(crate) const NONE: Self = Self {
        free_pages: Histogram::EMPTY,
        longest_free_range: Histogram::EMPTY,
        allocations_less_one: Histogram::EMPTY,
    };

    /// The hugepages of both.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            free_pages: self.free_pages.plus(&other.free_pages),
            longest_free_range: self.longest_free_range.plus(&other.longest_free_range),
            allocations_less_one: self.allocations_less_one.plus(&other.allocations_less_one),
        }
    }
}

#[cfg(test)]
mod tests;
