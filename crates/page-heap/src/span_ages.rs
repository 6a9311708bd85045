//! How long free pages have been waiting.

/// Columns of an age table.
pub const AGE_COLUMNS: usize = 7;

/// The least age of each column, in seconds: under one second, one second, 30 seconds, one minute,
/// 30 minutes, one hour, eight hours and more.
pub const AGE_BOUNDS_SECONDS: [u64; AGE_COLUMNS] = [0, 1, 30, 60, 1_800, 3_600, 28_800];

/// Lengths below this many pages have a row of their own; the others share one.
pub const AGE_ROWS: usize = 64;

/// Pages by how long they have been free, for backed and for unbacked spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SpanAges {
    /// Backed ("live") spans.
    pub live: AgeTable,
    /// Spans that were given back to the kernel, or never touched.
    pub unmapped: AgeTable,
}

/// Ages by length of span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AgeTable {
    /// All lengths together.
    pub total: AgeRow,
    /// Lengths of [`AGE_ROWS`] pages and more.
    pub long: AgeRow,
    #[cfg_attr(feature = "serde", serde(with = "crate::sparse"))]
    by_length: [AgeRow; AGE_ROWS],
}

/// Pages of some lengths, by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AgeRow {
    /// Pages by column, bounds see [`AGE_BOUNDS_SECONDS`].
    pub pages: [u64; AGE_COLUMNS],
    /// Ages of all pages added up, in page-nanoseconds.
    #[cfg_attr(feature = "serde", serde(with = "crate::sparse::in_digits"))]
    age_sum_ns: u128,
}

impl SpanAges {
    /// No pages.
    pub const NONE: Self = Self { live: AgeTable::NONE, unmapped: AgeTable::NONE };
}

impl Default for SpanAges {
    fn default() -> Self {
        Self::NONE
    }
}

impl AgeTable {
    const NONE: Self =
        Self { total: AgeRow::NONE, long: AgeRow::NONE, by_length: [AgeRow::NONE; AGE_ROWS] };

    /// Counts a span of `pages` pages that has been free for `age_ns`.
    pub fn record(&mut self, pages: u64, age_ns: u64) {
        self.total.record(pages, age_ns);
        let row = usize::try_from(pages).ok().and_then(|pages| self.by_length.get_mut(pages));
        row.unwrap_or(&mut self.long).record(pages, age_ns);
    }

    /// The row of one length, if it has one of its own.
    pub fn row(&self, pages: u64) -> Option<&AgeRow> {
        usize::try_from(pages).ok().and_then(|pages| self.by_length.get(pages))
    }

    /// The lengths that have pages and a row of their own, with their rows, by rising length.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &AgeRow)> {
        let rows = self.by_length.iter().enumerate().map(|(length, row)| (length as u64, row));
        rows.filter(|(_, row)| row.total() != 0)
    }
}

impl AgeRow {
    const NONE: Self = Self { pages: [0; AGE_COLUMNS], age_sum_ns: 0 };

    /// All its pages.
    pub fn total(&self) -> u64 {
        self.pages.iter().fold(0, |sum, pages| sum.wrapping_add(*pages))
    }

    /// The mean age of a page, in seconds; 0 where there is none.
    pub fn mean_seconds(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            pages => self.age_sum_ns as f64 / 1e9 / pages as f64,
        }
    }

    fn record(&mut self, pages: u64, age_ns: u64) {
        let seconds = age_ns / 1_000_000_000;
        let column = AGE_BOUNDS_SECONDS.iter().rposition(|bound| seconds >= *bound).unwrap_or(0);
        if let Some(count) = self.pages.get_mut(column) {
            *count += pages;
        }
        self.age_sum_ns += u128::from(pages) * u128::from(age_ns);
    }
}

impl Default for AgeTable {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests;
