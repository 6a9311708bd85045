//! When threads of the program look at the clock.

use strata_sync::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    const_fn,
};

/// Misses between two looks at the clock: half as many show in the time of a miss, twice as many let a slow program's
/// caches lie for longer.
const MISSES_PER_LOOK: u32 = 64;

/// Bytes of large blocks, had or given back, between two looks at the clock: what as many misses may move.
const LARGE_BYTES_PER_LOOK: u64 = 4 << 20;

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

    /// Notes a miss of a thread's cache; says whether the thread is to look whether a step is due. Of two threads that do so
    /// at the same moment one may go uncounted, or both be told: a locked instruction would wait for all stores of the
    /// program before it.
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
