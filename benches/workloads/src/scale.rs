//! How much of a workload is done.

/// A part of a workload's full length.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    percent: usize,
    /// Operations are this many times fewer, and what lives stays as it is.
    slower: usize,
}

impl Scale {
    /// The whole workload: a fraction of a second on a machine of 2026.
    pub const FULL: Self = Self::from_percent(100);

    /// `percent` hundredths of the workload.
    pub const fn from_percent(percent: usize) -> Self {
        Self { percent, slower: 1 }
    }

    /// A quarter of the operations on as much memory, for a run whose operations take longer.
    pub(crate) const fn slower(self) -> Self {
        Self { slower: 4 * self.slower, ..self }
    }

    /// How many of `full` operations are done, at least 1.
    pub fn of(self, full: usize) -> usize {
        (full.saturating_mul(self.percent) / (100 * self.slower)).max(1)
    }

    /// How many of `full` blocks live, at least 1. Only workloads whose blocks take longer to set up
    /// than to work with have fewer of them.
    pub(crate) fn live(self, full: usize) -> usize {
        (full.saturating_mul(self.percent) / 100).max(1)
    }
}
