//! What a heap without a thread gives back while its program frees most of what it had.
//!
//! Who frees everything and then waits calls no more, so that nothing could be given back when it is idle: the
//! frees themselves have to. They pay for it in proportion to what they free, and a program that takes as much
//! again is left alone for a while.

use super::{Background, thread_pointer};
use crate::{BackgroundThread, Core, HeapConfig};
use strata_page_heap::{PageHeap, ReleaseReason};
use strata_span::PageCount;
use strata_sync::atomic::{AtomicU64, Ordering};
use strata_upkeep::{Layers, THREAD_FROM_BYTES};

/// A heap has fallen when at most one part in so many of what it has behind it is in use. At two, programs whose
/// memory swings by half fault it in again; at eight, less than an eighth of the frees are left to pay.
const FALLEN_SHARE: u64 = 4;

/// What one look gives back at least; more where more was freed since the last one. As a step of the background work.
const STEP_BYTES: u64 = 4 << 20;

/// Free bytes that stay: less is not worth the calls.
const KEPT_BYTES: u64 = 1 << 20;

/// A heap that has more than twice the least that was in use, and so many bytes, is growing again.
const GROWN_BYTES: u64 = 8 << 20;

/// How long a heap that grew again is left alone at first, and at most; twice as long each time. So a program that
/// comes and goes by a hundred MiB faults them in once in a second, then in two, and in a minute at last.
const PAUSE_NS: u64 = 1_000_000_000;
const LONGEST_PAUSE_NS: u64 = 64 * PAUSE_NS;

/// How far a heap has fallen. All zero bits are one that has not.
///
/// Written under the schedule's lock; read before that by who looks whether it is to be taken.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    /// The least that was in use since memory goes back, plus one; 0 while none does.
    least_bytes: AtomicU64,
    /// What was in use when caches were emptied last.
    emptied_at_bytes: AtomicU64,
    /// When the heap may fall again, and for how long it is left alone when it grows the next time.
    next_ns: AtomicU64,
    pause_ns: AtomicU64,
}

impl Fallen {
    /// Whether the heap goes on falling, or begins to, with `in_use` of `backed` bytes in use.
    fn falls(&self, in_use: u64, backed: u64, now_ns: u64) -> bool {
        match self.least_bytes.load(Ordering::Relaxed) {
            0 => {
                let falls = backed >= THREAD_FROM_BYTES
                    && in_use <= backed / FALLEN_SHARE
                    && now_ns >= self.next_ns.load(Ordering::Relaxed);
                if falls {
                    self.emptied_at_bytes.store(u64::MAX, Ordering::Relaxed);
                }
                falls
            }
            least => {
                let grows = in_use > least.saturating_mul(2).saturating_add(GROWN_BYTES);
                if grows {
                    self.end(now_ns);
                }
                !grows
            }
        }
    }

    /// The heap is growing again.
    fn end(&self, now_ns: u64) {
        let pause_ns = self.pause_ns.load(Ordering::Relaxed).clamp(PAUSE_NS, LONGEST_PAUSE_NS);
        self.least_bytes.store(0, Ordering::Relaxed);
        self.next_ns.store(now_ns.saturating_add(pause_ns), Ordering::Relaxed);
        self.pause_ns.store(pause_ns * 2, Ordering::Relaxed);
    }

    /// Takes in what is in use now; says how much was freed since the last time.
    fn note(&self, in_use: u64) -> u64 {
        let least = self.least_bytes.load(Ordering::Relaxed);
        if least == 0 || in_use < least {
            self.least_bytes.store(in_use.saturating_add(1), Ordering::Relaxed);
        }
        least.saturating_sub(in_use)
    }

    /// Whether half of what was in use has gone since caches were emptied last.
    fn is_half(&self, in_use: u64) -> bool {
        let is_half = in_use <= self.emptied_at_bytes.load(Ordering::Relaxed) / 2;
        if is_half {
            self.emptied_at_bytes.store(in_use, Ordering::Relaxed);
        }
        is_half
    }
}

impl<C: HeapConfig> Core<C> {
    /// Gives back a part of what is free, if the heap has fallen and has no thread that would. In a free, with no
    /// lock held.
    #[inline]
    pub(super) fn give_back_if_fallen(&self, now_ns: u64) {
        if self.config().background_thread != BackgroundThread::On {
            self.follow_fall(now_ns);
        }
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn follow_fall(&self, now_ns: u64) {
        let Background { fallen, schedule, watchers, stepping, .. } = &self.background;
        let is_on = self.tuning.background_is_on() && !super::makes_no_calls();
        if !is_on || self.policy().rate == 0 || !self.policy().releases_idle() {
            return;
        }
        let Some(_schedule) = schedule.try_lock() else { return };
        let stats = self.page_heap().stats();
        let backed = stats.in_use_bytes.saturating_add(stats.free_bytes);
        let in_use = self.bytes_above_spans().unwrap_or(stats.in_use_bytes);
        // Acquire: pairs with the release of who watched last.
        if watchers.load(Ordering::Acquire) != 0 || !fallen.falls(in_use, backed, now_ns) {
            return;
        }
        stepping.store(thread_pointer(), Ordering::Relaxed);
        let freed = fallen.note(in_use);
        if fallen.is_half(in_use) {
            self.empty_shared_caches();
        }
        let free = self.page_heap().stats().free_bytes;
        let wanted = freed.saturating_mul(2).max(STEP_BYTES).min(free.saturating_sub(KEPT_BYTES));
        if let Some(pages) = usize::try_from(wanted).ok().and_then(PageCount::<C::Pages>::holding)
            && pages > PageCount::ZERO
        {
            self.page_heap().release(self, pages, ReleaseReason::Fallen);
        }
        stepping.store(0, Ordering::Relaxed);
    }

    /// What the program and CPUs' caches have together: without what lies in transfer caches and keeps its spans,
    /// which may be all of a heap of 50 MiB. None where caches run per thread.
    fn bytes_above_spans(&self) -> Option<u64> {
        self.per_cpu().map(|cpu| cpu.out_bytes().saturating_add(self.large.stats().bytes))
    }

    /// Gives what CPUs' caches and transfer caches hold back to the spans, unless another thread stops CPUs' caches.
    fn empty_shared_caches(&self) {
        let middle = self.source_of_objects();
        let _ = self.with_cpu_cache_stops(|cpu| {
            (0..cpu.used_ids()).filter_map(|id| cpu.drain(&middle, id).ok()).sum::<u64>()
        });
        middle.drain_all_transfers();
    }
}

#[cfg(test)]
mod tests;
