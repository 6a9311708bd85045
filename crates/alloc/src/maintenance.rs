//! What keeps a heap in shape while it works: small rounds, done by threads that miss their cache.

use crate::{Core, HeapConfig};
use strata_os::Clock;
use strata_span::Platform;
use strata_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Misses between two looks at the clock: half as many show in the time of a miss, twice as many let a slow program's
/// caches lie for longer.
const MISSES_PER_LOOK: u32 = 64;

/// Time between two rounds: TCMalloc's interval.
const INTERVAL_NS: u64 = 1_000_000_000;

/// Rounds between two moves of capacity between transfer caches, and between two that take what nobody wanted out of
/// them: TCMalloc's.
const RESIZE_ROUNDS: u64 = 2;
const PLUNDER_ROUNDS: u64 = 5;

/// When the next round is due. All zero bits are a heap whose first round is due at once.
#[derive(Debug)]
pub(crate) struct Maintenance {
    /// Misses so far, modulo 2³². Written by all threads that miss.
    misses: AtomicU32,
    /// The moment of the next round; who moves it on does the round.
    due_ns: AtomicU64,
    /// Rounds done. Written by the thread that does one.
    rounds: AtomicU64,
}

impl<C: HeapConfig> Core<C> {
    /// Notes a miss of this thread's cache, and does a round if one is due: with no lock held, in time that is
    /// bounded by the number of classes and by what transfer caches hold.
    #[inline]
    pub(crate) fn note_miss(&self) {
        let misses = self.maintenance.misses.fetch_add(1, Ordering::Relaxed);
        if misses.is_multiple_of(MISSES_PER_LOOK) {
            self.maintain();
        }
    }

    #[cold]
    fn maintain(&self) {
        let now_ns = self.clock().now_ns();
        let due_ns = self.maintenance.due_ns.load(Ordering::Relaxed);
        // A clock that jumped back by more than an interval is believed: the due moment lies too far ahead.
        if now_ns < due_ns && due_ns - now_ns <= INTERVAL_NS {
            return;
        }
        let next_ns = now_ns.saturating_add(INTERVAL_NS);
        let mine = self.maintenance.due_ns.compare_exchange(
            due_ns,
            next_ns,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if mine.is_err() || due_ns == 0 {
            // Another thread does it, or there is nothing yet to look back at.
            return;
        }
        let round = self.maintenance.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        let middle = self.source_of_objects();
        if round.is_multiple_of(RESIZE_ROUNDS) {
            middle.resize_round();
        }
        if round.is_multiple_of(PLUNDER_ROUNDS) {
            middle.plunder();
        }
    }
}

#[cfg(test)]
mod tests;
