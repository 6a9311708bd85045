//! How much of a workload is done.

/// A part of a workload's full length; the number of operations scales, sizes and threads do not.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    percent: usize,
}

impl Scale {
    /// The whole workload: a fraction of a second on a machine of 2026.
    pub const FULL: Self = Self { percent: 100 };

    /// `percent` hundredths of the workload.
    pub const fn from_percent(percent: usize) -> Self {
        Self { percent }
    }

    /// The part of `full`, at least 1.
    pub fn of(self, full: usize) -> usize {
        (full.saturating_mul(self.percent) / 100).max(1)
    }
}
