//! What threads allocated and freed: words that come to no end.

use super::Standing;
use crate::{Core, HeapConfig};
use strata_sync::{
    FIGURES_PATIENCE_NS,
    atomic::Ordering,
    thread_block::{self, Counter, Slot, SlotWords},
};

impl<C: HeapConfig> Core<C> {
    /// Sees to counters that have counted half of what they can count.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(crate) fn see_to_counters(&self, slot: Slot) {
        let _ = self.standing(slot);
    }

    /// Counts what this thread allocated past the caches.
    pub(crate) fn count_allocated(&self, slot: Slot, bytes: usize) {
        match self.standing(slot) {
            Standing::PerCpu(words) | Standing::Cached(words, _) | Standing::Observed(words) => {
                words.allocated.count(bytes as u64);
            }
            Standing::Alone => self.count_allocated_alone(bytes),
        }
    }

    /// Counts what this thread freed past the caches.
    pub(crate) fn count_deallocated(&self, slot: Slot, bytes: usize) {
        match self.standing(slot) {
            Standing::PerCpu(words) | Standing::Cached(words, _) | Standing::Observed(words) => {
                words.deallocated.count(bytes as u64);
            }
            Standing::Alone => self.count_deallocated_alone(bytes),
        }
    }

    /// Counts what a thread allocated past the words of [`Standing`].
    pub(crate) fn count_allocated_alone(&self, bytes: usize) {
        self.threads.past_allocated.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what a thread freed past the words of [`Standing`].
    pub(crate) fn count_deallocated_alone(&self, bytes: usize) {
        self.threads.past_deallocated.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes back what some thread counted as freed, and was not.
    #[cold]
    pub(crate) fn take_back_deallocated(&self, bytes: usize) {
        self.threads.past_deallocated.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Moves half of what this thread's counters can count to what threads did that are gone, so that they never
    /// come to their end: more than 2^61 bytes were allocated or freed. The list's lock keeps readers from seeing
    /// it twice; who interrupted the holder leaves it to the next call.
    ///
    /// Not those of a thread that has two lives: what these lose of a counter between them may look as if it had
    /// come so far, and each step brings it nearer to being open.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn move_counters_on(&self, words: &SlotWords) {
        self.move_on_where(words, Counter::STEP, Counter::is_near_end);
    }

    /// Opens counters again of a thread of per-CPU caches that counted all they could, 2^61 bytes and more in one
    /// go past this place: not those of a thread that is just being made known, or has two lives.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn reopen_used_up(&self, words: &SlotWords) {
        self.move_on_where(words, Counter::OPEN, Counter::is_used_up);
    }

    /// Moves `bytes` of this thread's counters that are so to what threads did that are gone.
    fn move_on_where(&self, words: &SlotWords, bytes: u64, is_so: fn(&Counter) -> bool) {
        let threads = &self.threads;
        if thread_block::block().reentry.load(Ordering::Relaxed) != 0 {
            return;
        }
        let Some(_records) = threads.records.lock_unless_held(FIGURES_PATIENCE_NS) else { return };
        let sums = [
            (&words.allocated, &threads.past_allocated),
            (&words.deallocated, &threads.past_deallocated),
        ];
        for (counter, past) in sums {
            if is_so(counter) {
                past.fetch_add(bytes, Ordering::Relaxed);
                counter.move_on(bytes);
            }
        }
    }
}
