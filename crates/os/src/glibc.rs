//! Which glibc this is.

use crate::weak;
use core::ffi::CStr;

/// The number of the glibc that the process runs on, as `(2, 36)`; `None` where it is none, or cannot be asked: in
/// a program that was linked statically. (gnu_get_libc_version(3))
pub fn glibc_version() -> Option<(u32, u32)> {
    let version = weak::glibc_version()?;
    // SAFETY: takes nothing, and answers with a constant of glibc's.
    let text = unsafe { version() };
    // SAFETY: the text ends in a zero byte, and stays.
    numbers(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The first two numbers of a version. (Not by `str::split` and `parse`: each program asks while it is loaded, and
/// their code lies far from all else that it runs, in 64 KiB that would be mapped for this alone.)
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let (major, rest) = number(text)?;
    let (minor, _) = number(rest.strip_prefix(b".")?)?;
    Some((major, minor))
}

/// The decimal number that a text begins with, of one digit at least, and what follows it.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut number: Option<u32> = None;
    let mut rest = text;
    while let Some((digit, behind)) = rest.split_first()
        && digit.is_ascii_digit()
    {
        let tens = number.unwrap_or(0).checked_mul(10)?;
        number = Some(tens.checked_add(u32::from(digit - b'0'))?);
        rest = behind;
    }
    number.map(|number| (number, rest))
}

#[cfg(test)]
mod tests;
