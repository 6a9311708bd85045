//! How long free spans have been waiting.

use crate::tcmalloc::RULE;
use core::fmt::{self, Display, Formatter, Result, Write};
use strata_page_heap::{AGE_COLUMNS, AGE_ROWS, AgeRow, AgeTable, SpanAges};

/// The names of the columns.
const COLUMNS: [&str; AGE_COLUMNS] = ["<1s", "1s", "30s", "1m", "30m", "1h", "8+h"];

/// The width of what stands in front of the columns.
const FRONT: usize = 27;

/// Which lengths a row is about.
enum Lengths {
    All,
    One(u64),
    AtLeast(u64),
}

/// What stands in front of a row: `Live span,        1 pages: `.
struct Front<'a>(&'a str, Lengths);

impl Display for Front<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(kind, lengths) = self;
        // The name and its comma, and room for a number up to the column of " pages: ".
        let room = FRONT.saturating_sub(kind.len() + 1 + " pages: ".len());
        match lengths {
            Lengths::All => write!(f, "{kind:13} TOTAL PAGES: "),
            Lengths::One(pages) => write!(f, "{kind},{pages:room$} pages: "),
            Lengths::AtLeast(pages) => {
                write!(f, "{kind},{:>1$}{pages} pages: ", ">=", room.saturating_sub(2))
            }
        }
    }
}

pub(super) fn render(label: &str, ages: &SpanAges, out: &mut dyn Write) -> Result {
    writeln!(out, "{RULE}")?;
    writeln!(
        out,
        "{label} cache entry age (count of pages in spans of a given size that have been idle for up to the given \
         period of time)"
    )?;
    writeln!(out, "{RULE}")?;
    write!(out, "{:FRONT$}    mean", "")?;
    for column in COLUMNS {
        write!(out, "{column:>8}")?;
    }
    writeln!(out)?;
    table("Live span", &ages.live, out)?;
    writeln!(out)?;
    table("Unmapped span", &ages.unmapped, out)
}

fn table(kind: &str, ages: &AgeTable, out: &mut dyn Write) -> Result {
    row(&Front(kind, Lengths::All), &ages.total, out)?;
    for (pages, ages) in ages.rows() {
        row(&Front(kind, Lengths::One(pages)), ages, out)?;
    }
    if ages.long.total() != 0 {
        row(&Front(kind, Lengths::AtLeast(AGE_ROWS as u64)), &ages.long, out)?;
    }
    Ok(())
}

fn row(front: &Front<'_>, ages: &AgeRow, out: &mut dyn Write) -> Result {
    write!(out, "{front} {:7.1}", ages.mean_seconds())?;
    for pages in ages.pages {
        write!(out, " {pages:7}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests;
