//! Sums and products of figures that may be what no heap has: those of a file are what stands there. They end at
//! the greatest number.

/// The sum.
pub(crate) fn total(figures: impl IntoIterator<Item = u64>) -> u64 {
    figures.into_iter().fold(0, u64::saturating_add)
}

/// The sum of changes.
pub(crate) fn total_change(changes: impl IntoIterator<Item = i64>) -> i64 {
    changes.into_iter().fold(0, i64::saturating_add)
}
