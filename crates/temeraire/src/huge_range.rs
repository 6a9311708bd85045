//! Hugepages in a row.

use strata_span::{Hugepage, HugepageCount};

/// A run of hugepages that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HugeRange {
    pub(crate) first: Hugepage,
    pub(crate) count: HugepageCount,
    /// When it became free; where runs were merged, their mean.
    pub(crate) free_since_ns: u64,
    /// Whether all of it reads as zero.
    pub(crate) zeroed: bool,
}

impl HugeRange {
    /// The hugepage behind the last.
    pub(crate) fn end(&self) -> Hugepage {
        self.first + self.count
    }

    /// Both ranges as one; they meet.
    pub(crate) fn joined(self, upper: Self) -> Self {
        let (low, high) = (self.count.get() as u64, upper.count.get() as u64);
        let (early, late) = if self.free_since_ns <= upper.free_since_ns {
            (self.free_since_ns, upper.free_since_ns)
        } else {
            (upper.free_since_ns, self.free_since_ns)
        };
        let later_share = if early == self.free_since_ns { high } else { low };
        let step = (late - early) / (low + high) * later_share;
        Self {
            first: self.first,
            count: self.count + upper.count,
            free_since_ns: early + step,
            zeroed: self.zeroed && upper.zeroed,
        }
    }
}
