//! Figures as reports show them.

use core::fmt::{self, Display, Formatter, Write};

/// Bytes, shown in MiB with the width and precision that the format asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mebibytes(pub(crate) u64);

impl Display for Mebibytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&(self.0 as f64 / f64::from(1 << 20)), f)
    }
}

/// A number with three significant digits, as C's `%.3g` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreeDigits(pub(crate) f64);

impl Display for ThreeDigits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = ShortText::default();
        self.write_to(&mut text)?;
        // The width that the format asks for; numbers stand to the right.
        write!(f, "{:>1$}", text.as_str(), f.width().unwrap_or(0))
    }
}

impl ThreeDigits {
    fn write_to(self, text: &mut ShortText) -> fmt::Result {
        if !self.0.is_finite() {
            return write!(text, "{}", self.0);
        }
        // Rounding may carry into the next power of ten, so that the exponent is read from what is rounded.
        write!(text, "{:.2e}", self.0)?;
        let rounded = *text;
        let (digits, exponent) = rounded.as_str().split_once('e').unwrap_or(("0", "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        *text = ShortText::default();
        if !(-4..3).contains(&exponent) {
            let sign = if exponent < 0 { '-' } else { '+' };
            let digits = without_trailing_zeros(digits);
            return write!(text, "{digits}e{sign}{:02}", exponent.unsigned_abs());
        }
        let decimals = usize::try_from(2 - exponent).unwrap_or(0);
        let mut fixed = ShortText::default();
        write!(fixed, "{:.*}", decimals, self.0)?;
        text.write_str(without_trailing_zeros(fixed.as_str()))
    }
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// A few characters, on the stack.
#[derive(Clone, Copy, Debug, Default)]
struct ShortText {
    bytes: [u8; 32],
    length: usize,
}

impl ShortText {
    fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(written).unwrap_or_default()
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
