//! Counts of allocations by length.

use crate::figure::{Mebibytes, ThreeDigits};
use core::fmt::{self, Display, Formatter, Result, Write};
use strata_page_heap::{AllocationFigures, LengthRecord};

/// `12` or `[ 129 , 256 ]`, 21 characters wide.
struct Lengths(u64, u64);

impl Display for Lengths {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(least, greatest) = self;
        if least == greatest {
            write!(f, "{least:21}")
        } else {
            write!(f, "[ {least:7} , {greatest:7} ]")
        }
    }
}

pub(super) fn render(label: &str, figures: &AllocationFigures, out: &mut dyn Write) -> Result {
    writeln!(out, "{label}: stats on allocation sizes")?;
    writeln!(out, "{label}: {} pages live small allocation", figures.small_live_pages)?;
    writeln!(out, "{label}: {} pages of slack on large allocations", figures.slack_pages)?;
    writeln!(out, "{label}: largest seen allocation {} pages", figures.largest_pages)?;
    writeln!(out, "{label}: per-size information:")?;
    figures.records().try_for_each(|record| line(label, &record, out))
}

fn line(label: &str, record: &LengthRecord, out: &mut dyn Write) -> Result {
    writeln!(
        out,
        "{label}: {} page info: {:10} / {:10} a/f, {:8} ({:6.1} MiB) live, {:8} allocs/s ({:6.1} MiB/s)",
        Lengths(record.least_pages, record.greatest_pages),
        record.allocated,
        record.freed,
        record.live(),
        Mebibytes(record.live_bytes),
        ThreeDigits(record.allocations_per_second),
        record.bytes_per_second / f64::from(1 << 20),
    )
}

#[cfg(test)]
mod tests;
