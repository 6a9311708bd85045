//! Free spans by length.

use crate::{figure::Mebibytes, tcmalloc::RULE};
use core::fmt::{self, Display, Formatter, Result, Write};
use strata_page_heap::FreeSpans;

/// The length in front of a line.
enum Length {
    Exactly(u64),
    AtLeast(u64),
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(pages) => write!(f, "{pages:6} pages"),
            Self::AtLeast(pages) => {
                let blanks = 4usize.saturating_sub(digits(*pages));
                write!(f, "{:blanks$}>={pages} large", "")
            }
        }
    }
}

/// Writes one line for each length, and one for the long spans; the MiB of a line are backed and unbacked together, and
/// the cumulative columns are sums of bytes, rounded only here.
pub(crate) fn render<I: Iterator<Item = FreeSpans>>(
    label: &str,
    lengths: impl Fn() -> I,
    large: FreeSpans,
    out: &mut dyn Write,
) -> Result {
    let (mut sizes, mut free, mut unmapped) = (0u64, large.backed_bytes, large.unmapped_bytes);
    for spans in lengths() {
        sizes += 1;
        free = free.saturating_add(spans.backed_bytes);
        unmapped = unmapped.saturating_add(spans.unmapped_bytes);
    }
    writeln!(out, "{RULE}")?;
    writeln!(
        out,
        "{label}: {sizes} sizes; {:6.1} MiB free; {:6.1} MiB unmapped",
        Mebibytes(free),
        Mebibytes(unmapped)
    )?;
    writeln!(out, "{RULE}")?;
    let mut sums = Sums::default();
    for spans in lengths() {
        sums.line(&Length::Exactly(spans.pages), spans, out)?;
    }
    sums.line(&Length::AtLeast(large.pages), large, out)
}

/// The cumulative columns.
#[derive(Default)]
struct Sums {
    bytes: u64,
    unmapped_bytes: u64,
}

impl Sums {
    fn line(&mut self, length: &Length, spans: FreeSpans, out: &mut dyn Write) -> Result {
        let bytes = spans.backed_bytes.wrapping_add(spans.unmapped_bytes);
        self.bytes = self.bytes.wrapping_add(bytes);
        self.unmapped_bytes = self.unmapped_bytes.wrapping_add(spans.unmapped_bytes);
        writeln!(
            out,
            "{length} * {:6} spans ~ {:6.1} MiB; {:6.1} MiB cum; unmapped: {:6.1} MiB; {:6.1} MiB cum",
            spans.backed_spans.wrapping_add(spans.unmapped_spans),
            Mebibytes(bytes),
            Mebibytes(self.bytes),
            Mebibytes(spans.unmapped_bytes),
            Mebibytes(self.unmapped_bytes),
        )
    }
}

/// How many digits a number has.
fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |power| power as usize + 1)
}

#[cfg(test)]
mod tests;
