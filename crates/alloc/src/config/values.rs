//! What the text of a value means.

use super::{MemoryLimit, Problem};

/// Whether somebody gave a value. Two configurations with the same values are equal all the same.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct IsGiven(pub(super) bool);

impl PartialEq for IsGiven {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for IsGiven {}

/// What options say that hold or do not.
pub(super) const YES_OR_NO: &[(&[u8], bool)] = &[(b"true", true), (b"false", false)];

/// The choice of that name.
#[unsafe(link_section = ".text_rarely")]
pub(super) fn one_of<T: Copy>(value: &[u8], choices: &[(&[u8], T)]) -> Result<T, Problem> {
    choices
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, choice)| *choice)
        .ok_or(Problem::BadValue)
}

/// A number of bytes: decimal, or hexadecimal behind `0x`, with an optional suffix K, M, G or T (powers of 1 024).
#[unsafe(link_section = ".text_rarely")]
pub(super) fn bytes(value: &[u8]) -> Result<usize, Problem> {
    let (digits, shift) = match value.split_last() {
        Some((b'k' | b'K', digits)) => (digits, 10),
        Some((b'm' | b'M', digits)) => (digits, 20),
        Some((b'g' | b'G', digits)) => (digits, 30),
        Some((b't' | b'T', digits)) => (digits, 40),
        _ => (value, 0),
    };
    let text = core::str::from_utf8(digits).map_err(|_| Problem::BadValue)?;
    let number = match text.strip_prefix("0x") {
        Some(hexadecimal) => usize::from_str_radix(hexadecimal, 16),
        None if text.starts_with('+') => return Err(Problem::BadValue),
        None => text.parse::<usize>(),
    };
    let number = number.map_err(|_| Problem::BadValue)?;
    number.checked_mul(1 << shift).ok_or(Problem::BadValue)
}

/// A number of seconds: decimal.
#[unsafe(link_section = ".text_rarely")]
pub(super) fn seconds(value: &[u8]) -> Result<u64, Problem> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(Problem::BadValue)
}

/// A limit on memory: `none`, `cgroup`, or a number of bytes that is not 0.
#[unsafe(link_section = ".text_rarely")]
pub(super) fn limit(value: &[u8]) -> Result<MemoryLimit, Problem> {
    match value {
        b"none" => Ok(MemoryLimit::None),
        b"cgroup" => Ok(MemoryLimit::Cgroup),
        _ => match bytes(value)? {
            0 => Err(Problem::BadValue),
            bytes => Ok(MemoryLimit::Bytes(bytes as u64)),
        },
    }
}

/// As [`milliseconds`], but that never is none.
pub(super) fn interval(value: &[u8]) -> Result<u64, Problem> {
    milliseconds(value).ok().filter(|interval| *interval != u64::MAX).ok_or(Problem::BadValue)
}

/// A time in milliseconds: decimal with the unit `ms` or `s`, up to an hour; `never` is `u64::MAX`.
#[unsafe(link_section = ".text_rarely")]
pub(super) fn milliseconds(value: &[u8]) -> Result<u64, Problem> {
    const LONGEST: u64 = 3_600_000;
    if value == b"never" {
        return Ok(u64::MAX);
    }
    let (digits, unit) = match (value.strip_suffix(b"ms"), value.strip_suffix(b"s")) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => return Err(Problem::BadValue),
    };
    let number = bytes(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    number
        .and_then(|number| (number as u64).checked_mul(unit))
        .filter(|milliseconds| *milliseconds <= LONGEST)
        .ok_or(Problem::BadValue)
}
