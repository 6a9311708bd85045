//! Bytes as people read them.

use core::fmt::{self, Display, Formatter};

/// Bytes with a unit and three or four digits, right-aligned to the width that the format asks for: `12.3 MiB`, `980 B`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Amount(pub(crate) u64);

/// The same with a sign, always: `+12.3 MiB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change(pub(crate) i64);

/// A share of a whole, in percent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Percent {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

impl Display for Amount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show("", self.0, f)
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show(if self.0 < 0 { "-" } else { "+" }, self.0.unsigned_abs(), f)
    }
}

fn show(sign: &str, bytes: u64, f: &mut Formatter<'_>) -> fmt::Result {
    // The unit and its blank take 4 columns; of bytes as well, so that points stand under each other.
    let width = f.width().unwrap_or(0).saturating_sub(4 + sign.len());
    if bytes < 1024 {
        let blanks = width.saturating_sub(digits(bytes));
        return write!(
            f,
            "{:blanks$}{sign}{bytes} B{}",
            "",
            if f.width().is_some() { "  " } else { "" }
        );
    }
    let (mut scaled, mut unit) = (bytes as f64 / 1024.0, 0);
    // What would be shown as 1024.0 is one of the next unit.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let blanks = width.saturating_sub(digits(scaled as u64) + 2);
    write!(f, "{:blanks$}{sign}{scaled:.1} {}", "", UNITS.get(unit).copied().unwrap_or_default())
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |power| power as usize + 1)
}

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let share =
            if self.whole == 0 { 0.0 } else { self.part as f64 * 100.0 / self.whole as f64 };
        Display::fmt(&share, f)?;
        f.write_str(" %")
    }
}

#[cfg(test)]
mod tests;
