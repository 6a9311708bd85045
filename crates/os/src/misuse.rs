//! What a program is told that misuses its allocator.

use crate::message::{LINE_BYTES, warn_line};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What follows the line about a misuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnMisuse {
    /// The program ends by `abort`.
    #[default]
    Abort,
    /// The program goes on. The call has no effect, and what it was about is never used again.
    Report,
}

/// Whether the program goes on. One for the process, as standard error is. Written by who reads the options.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// Misuses that were reported and survived.
static REPORTED: AtomicU64 = AtomicU64::new(0);

/// Says what follows a misuse, from now on and in the whole process.
pub fn set_on_misuse(what: OnMisuse) {
    GOES_ON.store(what == OnMisuse::Report, Ordering::Relaxed);
}

/// Whether the program goes on after a misuse.
pub fn goes_on_after_misuse() -> bool {
    GOES_ON.load(Ordering::Relaxed)
}

/// How many misuses this process survived.
pub fn misuses_reported() -> u64 {
    REPORTED.load(Ordering::Relaxed)
}

/// Writes `strata: `, `message` and an end of line to standard error, of at most [`LINE_BYTES`] bytes, in one write.
/// Then the program ends, or, under [`OnMisuse::Report`], goes on, and the caller lets things be as they are. Allocates
/// nothing, takes no lock, keeps `errno`.
#[cold]
#[inline(never)]
pub fn misuse(message: fmt::Arguments<'_>) {
    const { assert!(LINE_BYTES >= 256, "a line about a misuse is not cut off") };
    if goes_on_after_misuse() {
        warn_line(message);
        REPORTED.fetch_add(1, Ordering::Relaxed);
    } else {
        crate::crash(message);
    }
}
