//! What a heap gives back before it grows beyond what it was ever let have.
//!
//! A program whose sizes change leaves free pages between spans that survive, too short for the spans that it takes
//! next: so the heap grows although most of what it has is free. Such growth has to pay. What is free already goes to
//! the kernel, as many bytes as came and some more, and next time growth finds room there for as much.

use super::{Background, thread_pointer};
use crate::{Core, HeapConfig};
use strata_page_heap::{PageHeap, PageHeapStats, ReleaseReason};
use strata_span::PageCount;
use strata_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A heap may have so many times behind it what program and caches have. At 2.25, a program whose sizes go up and down
/// (`phases` of the benchmarks) has 4 % more at its peak; none of the others there ever has as much.
const FREELY_TIMES: u64 = 2;

/// Backed bytes below which growth is free: so much a heap takes without asking for hugepages, and a vector that grows
/// to 4 MiB by doubling, again and again, pays for pages that it is about to take.
const LEAST_BYTES: u64 = 16 << 20;

/// A heap has grown when it is larger by one part in so many, and by so many bytes.
const STEP_SHARE: u64 = 32;
const LEAST_STEP_BYTES: u64 = 1 << 20;

/// Steps that go back beyond what came, so that not each look has something to give.
const STEPS_AHEAD: u64 = 2;

/// What one look gives back at most: so long may a single call take. (The legacy page heap gives whole free spans, which may
/// be longer.)
const MOST_BYTES: u64 = 32 << 20;

/// CPUs' caches that one look empties at most, in turn, and what they hold at least: each costs system calls. Without
/// that, `phases` has a mebibyte more at its peak.
const MOST_EMPTIED: usize = 8;
const WORTH_EMPTYING_BYTES: u64 = 64 << 10;

/// Each time that a heap pays, it may have so large a part of a step more for nothing. What comes and goes by the same
/// bytes pays less and less for it.
const LEARNT_SHARE: u64 = 64;

/// A heap that had so much more than it has now, than it was when somebody looked, and than it may have with two steps, was
/// that large when nobody looked: what 64 misses may take.
const UNSEEN_BYTES: u64 = 4 << 20;

/// What growth of a heap has to pay for. All zero bits are a heap that has not grown.
///
/// Written by who looks, under the schedule's lock where something goes back. Of two that look at the same moment the
/// one may write over what the other wrote, which the next look makes good.
#[derive(Debug, Default)]
pub(super) struct Growing {
    /// What the heap may have behind it, whatever of it is in use.
    free_up_to_bytes: AtomicU64,
    /// The most that it had behind it when it had grown and somebody looked.
    seen_bytes: AtomicU64,
    /// The id of the CPU whose turn it is to have its cache emptied. Written under the schedule's lock.
    hand: AtomicU32,
}

impl Growing {
    fn free_up_to(&self) -> u64 {
        self.free_up_to_bytes.load(Ordering::Relaxed).max(LEAST_BYTES)
    }

    /// Whether a heap has grown that has `backed` bytes behind it.
    #[inline]
    fn has_grown(&self, backed: u64) -> bool {
        backed >= LEAST_BYTES && {
            let free_up_to = self.free_up_to();
            backed > free_up_to + step(free_up_to)
        }
    }

    /// What is to go back of a heap that has `backed` bytes behind it, `used` bytes of them in use, and had `peak`
    /// bytes at the most; 0 where growth is for nothing.
    fn price(&self, backed: u64, used: u64, peak: u64) -> u64 {
        let free_up_to = self.free_up_to();
        let seen = self.seen_bytes.fetch_max(backed, Ordering::Relaxed).max(backed);
        let was_unseen = peak > seen.max(free_up_to + 2 * step(free_up_to)) + UNSEEN_BYTES;
        let may_have = used.saturating_mul(FREELY_TIMES);
        if was_unseen || backed <= may_have {
            // Nothing would be gained by what goes below what was there already.
            let had = if was_unseen { peak } else { backed };
            self.free_up_to_bytes.store(had, Ordering::Relaxed);
            return 0;
        }
        let grown = backed.saturating_sub(free_up_to.max(may_have));
        (grown + STEPS_AHEAD * step(free_up_to)).min(MOST_BYTES)
    }

    /// The CPUs whose caches a look empties, of `ids`: those that are `full`, as many as one look takes, in turn.
    fn whose_turn(&self, ids: u32, full: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
        let from = self.hand.load(Ordering::Relaxed);
        let all = (from..ids).chain(0..from.min(ids));
        let turn = all.filter(move |id| full(*id)).take(MOST_EMPTIED);
        turn.inspect(|id| self.hand.store(id + 1, Ordering::Relaxed))
    }

    /// The heap has `backed` bytes behind it after it paid.
    fn note_paid(&self, backed: u64) {
        let free_up_to = self.free_up_to();
        let learnt = free_up_to + step(free_up_to) / LEARNT_SHARE;
        self.free_up_to_bytes.store(backed.max(learnt), Ordering::Relaxed);
    }
}

/// What growth beyond `free_up_to` bytes is at least.
const fn step(free_up_to: u64) -> u64 {
    let share = free_up_to / STEP_SHARE;
    if share > LEAST_STEP_BYTES { share } else { LEAST_STEP_BYTES }
}

impl<C: HeapConfig> Core<C> {
    /// Has growth pay, if the heap has grown. With no lock held.
    #[inline]
    pub(super) fn follow_growth(&self) {
        let stats = self.page_heap().stats();
        if self.background.growing.has_grown(stats.backed_bytes()) {
            self.pay_for_growth(&stats);
        }
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn pay_for_growth(&self, stats: &PageHeapStats) {
        let Background { growing, schedule, watchers, stepping, .. } = &self.background;
        let used = self.bytes_above_spans();
        let price = growing.price(stats.backed_bytes(), used, stats.peak_backed_bytes);
        if price == 0 || !self.gives_back_by_itself() {
            return;
        }
        let Some(_schedule) = schedule.try_lock() else { return };
        // Acquire: pairs with the release of who watched last.
        if watchers.load(Ordering::Acquire) != 0 {
            return;
        }
        stepping.store(thread_pointer(), Ordering::Relaxed);
        self.empty_full_cpu_caches();
        let free = self.page_heap().stats().free_bytes;
        let wanted = usize::try_from(price.min(free)).unwrap_or(0);
        if let Some(pages) = PageCount::<C::Pages>::holding(wanted)
            && pages > PageCount::ZERO
        {
            self.page_heap().release(self, pages, ReleaseReason::Growth);
        }
        growing.note_paid(self.backed_bytes());
        stepping.store(0, Ordering::Relaxed);
    }

    /// Has what CPUs' caches hold go to its spans, past the transfer caches, unless another thread stops them.
    fn empty_full_cpu_caches(&self) {
        let spans = self.source_of_objects().past_transfers();
        let growing = &self.background.growing;
        let _ = self.with_cpu_cache_stops(|cpu| {
            let full = |id| cpu.cpu_stats(id).held_bytes >= WORTH_EMPTYING_BYTES;
            let turn = growing.whose_turn(cpu.used_ids(), full);
            turn.filter_map(|id| cpu.drain(&spans, id).ok()).sum::<u64>()
        });
    }
}

#[cfg(test)]
mod tests;
