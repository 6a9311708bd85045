//! Which glibc this is.

use crate::weak;
use core::ffi::CStr;

/// The number of the glibc that the process runs on, as `(2, 36)`; `None` where it is none, or cannot be asked: in a program that was
/// linked statically. (gnu_get_libc_version(3))
pub fn glibc_version() -> Option<(u32, u32)> {
    let version = weak::glibc_version()?;
    // SAFETY: takes nothing, and answers with a constant of glibc's.
    let text = unsafe { version() };
    // SAFETY: the text ends in a zero byte, and stays.
    numbers(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The first two numbers of a version.
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let mut parts = core::str::from_utf8(text).ok()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
