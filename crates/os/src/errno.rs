//! The C library's error number of this thread.

/// The error number that the last failing call of this thread left.
#[inline]
pub fn errno() -> i32 {
    // SAFETY: takes nothing; the C library answers with a word of this thread that lives as
    // long as the thread does.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: `place` is this thread's own word, so nobody writes it meanwhile.
    unsafe { place.read() }
}

/// Sets this thread's error number, as `malloc` must when it returns null.
#[inline]
pub fn set_errno(value: i32) {
    // SAFETY: takes nothing; the C library answers with a word of this thread that lives as
    // long as the thread does.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: `place` is this thread's own word, so nobody reads it meanwhile.
    unsafe { place.write(value) }
}

/// Puts the error number back where its life ends.
///
/// `malloc` must not change `errno` when it succeeds, and `free` never: whatever this crate
/// asks of the kernel happens while one of these lives.
///
/// ```
/// use strata_os::{KeepErrno, errno, set_errno};
/// set_errno(5);
/// {
///     let _keep = KeepErrno::new();
///     set_errno(12);
/// }
/// assert_eq!(errno(), 5);
/// ```
#[derive(Debug)]
#[must_use = "it puts the number back when it is dropped"]
pub struct KeepErrno(i32);

impl KeepErrno {
    /// Remembers the number as it is now.
    #[inline]
    pub fn new() -> Self {
        Self(errno())
    }
}

impl Default for KeepErrno {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for KeepErrno {
    #[inline]
    fn drop(&mut self) {
        set_errno(self.0);
    }
}
