//! A sequence word: figures under a lock, read without it.

use crate::atomic::{AtomicU64, Ordering, fence};
use core::fmt;

/// Says whether figures that belong together were read together.
///
/// It is odd while the figures change. Writers take turns by a lock that is not this type's
/// business; readers take none and write nothing, so that they may sit in a signal handler or in
/// another process. The figures themselves are atomics: this word says whether they fit each
/// other, not whether they may be touched.
///
/// Algorithm: H.-J. Boehm, *Can seqlocks get along with programming language memory models?*,
/// MSPC 2012, section 4 (readers with an acquire fence before the second look).
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use strata_sync::SeqWord;
///
/// let (sequence, used, free) = (SeqWord::new(), AtomicU64::new(3), AtomicU64::new(1));
/// let figures = || (used.load(Relaxed), free.load(Relaxed));
/// assert_eq!(sequence.read(figures), Some((3, 1)));
///
/// sequence.begin();
/// used.store(4, Relaxed);
/// assert_eq!(sequence.read(figures), None);
/// free.store(0, Relaxed);
/// sequence.end();
/// assert_eq!(sequence.read(figures), Some((4, 0)));
/// ```
#[repr(transparent)]
pub struct SeqWord(
    /// Even at rest, odd between `begin` and `end`. Written by the one who holds the lock of the
    /// figures, read by anybody.
    AtomicU64,
);

#[cfg(not(strata_loom))]
static_assertions::const_assert_eq!(size_of::<SeqWord>(), 8);

impl SeqWord {
    crate::const_fn! {
        /// At rest.
        pub const fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// Says that the figures change from here on. The caller holds their lock.
    ///
    /// Costs a plain store and, on x86-64, no instruction for the fence.
    #[inline(always)]
    pub fn begin(&self) {
        let sequence = self.0.load(Ordering::Relaxed);
        debug_assert!(sequence & 1 == 0, "one change at a time");
        self.0.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the acquire fence in `read`. Who reads a figure written after it
        // also reads the odd word.
        fence(Ordering::Release);
    }

    /// Says that the figures fit each other again. The caller called [`begin`](Self::begin) and
    /// holds their lock still.
    #[inline(always)]
    pub fn end(&self) {
        let sequence = self.0.load(Ordering::Relaxed);
        debug_assert!(sequence & 1 == 1, "a change was begun");
        // Release: pairs with the acquire load in `read`, which then sees the figures.
        self.0.store(sequence.wrapping_add(1), Ordering::Release);
    }

    /// What `figures` reads, or `None` if they were in flux meanwhile: try again later.
    ///
    /// Never waits. `figures` reads atomics and trusts nothing that it reads, since it may run in
    /// the middle of a change.
    #[inline]
    pub fn read<T>(&self, figures: impl FnOnce() -> T) -> Option<T> {
        // Acquire: pairs with the release store in `end`.
        let before = self.0.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let read = figures();
        // Acquire: pairs with the release fence in `begin`.
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some(read)
    }

    /// The word itself, for a reader that compares it by its own means: odd is in flux.
    #[inline(always)]
    pub fn sequence(&self) -> u64 {
        // Acquire: pairs with the release store in `end`.
        self.0.load(Ordering::Acquire)
    }

    /// Puts the word at rest in a child whose parent was forked in the middle of a change; the
    /// figures are then whatever they were.
    ///
    /// Called in a child after `fork` while it has one thread, before that thread changes figures.
    pub fn reset_after_fork(&self) {
        let sequence = self.0.load(Ordering::Relaxed);
        self.0.store(sequence.wrapping_add(sequence & 1), Ordering::Relaxed);
    }
}

impl Default for SeqWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SeqWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SeqWord").field(&self.sequence()).finish()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
