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

/// How rates are shown.
#[derive(Clone, Copy)]
pub(crate) enum Rate {
    /// With three digits.
    ThreeDigits,
    /// With three decimals.
    Decimals,
}

pub(crate) fn render(
    label: &str,
    figures: &AllocationFigures,
    rate: Rate,
    out: &mut dyn Write,
) -> Result {
    writeln!(out, "{label}: stats on allocation sizes")?;
    writeln!(out, "{label}: {} pages live small allocation", figures.small_live_pages)?;
    writeln!(out, "{label}: {} pages of slack on large allocations", figures.slack_pages)?;
    writeln!(out, "{label}: largest seen allocation {} pages", figures.largest_pages)?;
    writeln!(out, "{label}: per-size information:")?;
    figures.records().try_for_each(|record| line(label, &record, rate, out))
}

fn line(label: &str, record: &LengthRecord, rate: Rate, out: &mut dyn Write) -> Result {
    write!(
        out,
        "{label}: {} page info: {:10} / {:10} a/f, {:8} ({:6.1} MiB) live, ",
        Lengths(record.least_pages, record.greatest_pages),
        record.allocated,
        record.freed,
        record.live(),
        Mebibytes(record.live_bytes),
    )?;
    let per_second = record.allocations_per_second;
    match rate {
        Rate::ThreeDigits => write!(out, "{:8}", ThreeDigits(per_second))?,
        Rate::Decimals => write!(out, "{per_second:8.3}")?,
    }
    writeln!(out, " allocs/s ({:6.1} MiB/s)", record.bytes_per_second / f64::from(1 << 20))
}

#[cfg(test)]
mod tests;
