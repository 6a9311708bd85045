//! Free spans, counted by length.

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

impl FreeSpans {
    /// No spans.
    pub const NONE: Self =
        Self { pages: 0, backed_spans: 0, unmapped_spans: 0, backed_bytes: 0, unmapped_bytes: 0 };
}

/// Free spans of one length, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FreeSpanCounts {
    /// Backed ones.
    pub backed: u32,
    /// Unbacked ones.
    pub unmapped: u32,
}

impl FreeSpanCounts {
    /// No spans.
    pub const NONE: Self = Self { backed: 0, unmapped: 0 };

    /// The lengths of which there are spans, rising, of a table whose index is the length in pages of `page_bytes`.
    pub fn lengths(table: &[Self], page_bytes: u64) -> impl Iterator<Item = FreeSpans> + '_ {
        let lengths = (0..).zip(table).map(move |(pages, counts)| {
            let (backed, unmapped) = (u64::from(counts.backed), u64::from(counts.unmapped));
            // The page size may be that of a file.
            let bytes = |spans: u64| spans.saturating_mul(pages).saturating_mul(page_bytes);
            FreeSpans {
                pages,
                backed_spans: backed,
                unmapped_spans: unmapped,
                backed_bytes: bytes(backed),
                unmapped_bytes: bytes(unmapped),
            }
        });
        lengths.filter(|spans| (spans.backed_spans, spans.unmapped_spans) != (0, 0))
    }
}
