//! What a central free list holds and did.

use super::CentralFreeList;
use crate::{CentralStats, SpanCounts};
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::{LockStats, atomic::Ordering, spin_hint};

impl<P: PageSize> CentralFreeList<P> {
    /// The figures. Takes the lock only if they are in flux at each of many looks.
    pub fn stats(&self, class: SizeClass) -> CentralStats {
        for _ in 0..64 {
            if let Some(stats) = self.stats_unless_in_flux(class) {
                return stats;
            }
            spin_hint();
        }
        // Whoever interrupted the holder, in a signal handler, reads figures of which each is right in itself.
        let guard = self.spans.lock_for_figures();
        CentralStats { is_unknown: guard.is_none(), ..self.read_figures(class) }
    }

    /// The figures, unless they are just being changed. Takes no lock and never waits.
    pub fn stats_unless_in_flux(&self, class: SizeClass) -> Option<CentralStats> {
        self.sequence.read(|| self.read_figures(class))
    }

    /// How many spans are how full (see [`CentralStats::spans_in_use`] for all), how many it took to fill batches,
    /// and how those that went had lived. Takes the lock.
    pub fn span_counts(&self) -> SpanCounts {
        let spans = self.spans.lock();
        SpanCounts {
            occupancy: spans.lengths(),
            utilization: spans.utilization(),
            spans_a_batch: self.spans_a_batch.each_ref().map(|count| count.load(Ordering::Relaxed)),
            completed_lifetimes: spans.tallies.completed_lifetimes,
            same_span_returns: spans.tallies.same_span_returns,
        }
    }

    /// The most objects that were out at any moment since the last call, which begins anew. There is one asker: the
    /// background. Takes the lock.
    pub fn take_peak_out(&self) -> u64 {
        let _spans = self.spans.lock();
        self.peak_out.swap(self.objects_out.load(Ordering::Relaxed), Ordering::Relaxed)
    }

    /// The lock's figures.
    pub fn lock_stats(&self) -> LockStats {
        self.spans.stats()
    }

    fn read_figures(&self, class: SizeClass) -> CentralStats {
        let info = P::TABLE.info(class);
        let objects_out = self.objects_out.load(Ordering::Relaxed);
        let spans_requested = self.spans_requested.load(Ordering::Relaxed);
        let spans_returned = self.spans_returned.load(Ordering::Relaxed);
        let spans_in_use = spans_requested.wrapping_sub(spans_returned);
        let objects_per_span = u64::from(info.objects);
        let tail_bytes = (u64::from(info.pages) << P::SHIFT)
            .wrapping_sub(objects_per_span.wrapping_mul(u64::from(info.size)));
        CentralStats {
            objects_out,
            free_objects: spans_in_use.wrapping_mul(objects_per_span).wrapping_sub(objects_out),
            spans_in_use,
            spans_requested,
            spans_returned,
            objects_per_span,
            live_pages: spans_in_use.wrapping_mul(u64::from(info.pages)),
            tail_bytes: spans_in_use.wrapping_mul(tail_bytes),
            released_bytes: self.released_bytes.load(Ordering::Relaxed),
            is_unknown: false,
            lock: self.spans.stats(),
        }
    }
}
