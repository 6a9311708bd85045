//! When threads of the program look at the clock.

use strata_sync::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    const_fn,
};

/// Misses between two looks at the clock: half as many show in the time of a miss, twice as many let a slow program's
/// caches lie for longer.
const MISSES_PER_LOOK: u32 = 64;
const _: () = assert!(MISSES_PER_LOOK.is_power_of_two(), "the next multiple is had by masking");

/// Bytes of large blocks, had or given back, between two looks at the clock: what as many misses may move.
const LARGE_BYTES_PER_LOOK: u64 = 4 << 20;
const _: () =
    assert!(LARGE_BYTES_PER_LOOK.is_power_of_two(), "the next multiple is had by masking");

/// Misses that a heap at rest lets pass: what so few bring into caches and free, a quarter of a mebibyte at most,
/// may stay there if the program does nothing more. At none, a program that does little now and then wakes the
/// heap's thread each time; at the 63 that else lie between two looks, threads that miss seldom leave mebibytes in
/// caches, and a heap that takes as much as it wants of what went back stays unseen.
const MISSES_AT_REST: u32 = 3;

/// What threads did that may leave something to do. All zero bits are nothing yet.
#[derive(Debug)]
pub struct Looks {
    /// Misses so far, modulo 2³², as far as they were counted: see [`Self::note_miss`]. Written by all threads that miss.
    misses: AtomicU32,
    /// Bytes of large blocks that came and went. Written by all threads that have such.
    large_bytes: AtomicU64,
}

impl Looks {
    const_fn! {
        /// Nothing yet.
        pub const fn new() -> Self {
            Self { misses: AtomicU32::new(0), large_bytes: AtomicU64::new(0) }
        }
    }

    /// Notes a miss of a thread's cache; says whether the thread is to look whether a step is due. Of two threads
    /// that do so at the same moment one may go uncounted, or both be told: a locked instruction would wait for all
    /// stores of the program before it.
    #[inline]
    pub fn note_miss(&self) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        self.misses.store(misses.wrapping_add(1), Ordering::Relaxed);
        misses.is_multiple_of(MISSES_PER_LOOK)
    }

    /// The same for a large block of `bytes` bytes that came or went.
    #[inline]
    pub fn note_large(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let before = self.large_bytes.fetch_add(bytes, Ordering::Relaxed);
        before.wrapping_add(bytes) / LARGE_BYTES_PER_LOOK != before / LARGE_BYTES_PER_LOOK
    }

    /// The heap comes to rest, and nobody looks at the clock but who misses: the next few misses do, and the next
    /// large block.
    ///
    /// What threads note at the same moment may go uncounted.
    pub fn come_to_rest(&self) {
        let misses = self.misses.load(Ordering::Relaxed);
        let next_look = misses.wrapping_add(MISSES_PER_LOOK - 1) & !(MISSES_PER_LOOK - 1);
        if next_look.wrapping_sub(misses) > MISSES_AT_REST {
            self.misses.store(next_look.wrapping_sub(MISSES_AT_REST), Ordering::Relaxed);
        }
        // One byte is missing to the next look.
        self.large_bytes.fetch_or(LARGE_BYTES_PER_LOOK - 1, Ordering::Relaxed);
    }

    /// Changes whenever a thread noted something.
    pub fn activity(&self) -> u64 {
        let misses = u64::from(self.misses.load(Ordering::Relaxed));
        misses.wrapping_add(self.large_bytes.load(Ordering::Relaxed))
    }
}

impl Default for Looks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
