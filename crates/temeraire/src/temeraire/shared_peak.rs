//! The peaks of several heaps together.

use strata_page_heap::{PageHeapStats, PeakFigures};
use strata_sync::atomic::{AtomicU64, Ordering};

/// The most that all heaps together had, of those moments at which somebody looked: after each span that came or
/// went. All zero bits are no peak.
///
/// Written by who found more than stands here, read by anybody, without a lock: of two that find a peak at the same
/// moment, one may have written a part of the other's moment.
#[derive(Debug)]
pub(crate) struct SharedPeak {
    backed_bytes: AtomicU64,
    in_use_bytes: AtomicU64,
    free_bytes: AtomicU64,
    unmapped_bytes: AtomicU64,
    spans_in_use: AtomicU64,
}

impl SharedPeak {
    strata_sync::const_fn! {
        /// No peak.
        pub(crate) const fn new() -> Self {
            Self {
                backed_bytes: AtomicU64::new(0),
                in_use_bytes: AtomicU64::new(0),
                free_bytes: AtomicU64::new(0),
                unmapped_bytes: AtomicU64::new(0),
                spans_in_use: AtomicU64::new(0),
            }
        }
    }

    /// Begins with the peaks that the only heap had until then.
    pub(crate) fn begin(&self, stats: &PageHeapStats) {
        self.backed_bytes.fetch_max(stats.peak_backed_bytes, Ordering::Relaxed);
        self.raise(stats.peak);
    }

    /// Takes in what all heaps have now.
    pub(crate) fn note(&self, stats: &PageHeapStats) {
        let backed = stats.backed_bytes();
        if backed > self.backed_bytes.load(Ordering::Relaxed) {
            self.backed_bytes.fetch_max(backed, Ordering::Relaxed);
        }
        self.raise(PeakFigures {
            in_use_bytes: stats.in_use_bytes,
            free_bytes: stats.free_bytes,
            unmapped_bytes: stats.unmapped_bytes,
            spans_in_use: stats.spans_in_use,
        });
    }

    fn raise(&self, now: PeakFigures) {
        let most = self.in_use_bytes.load(Ordering::Relaxed);
        if now.in_use_bytes > most
            && self.in_use_bytes.fetch_max(now.in_use_bytes, Ordering::Relaxed) < now.in_use_bytes
        {
            self.free_bytes.store(now.free_bytes, Ordering::Relaxed);
            self.unmapped_bytes.store(now.unmapped_bytes, Ordering::Relaxed);
            self.spans_in_use.store(now.spans_in_use, Ordering::Relaxed);
        }
    }

    /// Puts the peaks into the sums of all heaps' figures.
    pub(crate) fn put_into(&self, sums: PageHeapStats) -> PageHeapStats {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        PageHeapStats {
            peak_backed_bytes: load(&self.backed_bytes),
            peak: PeakFigures {
                in_use_bytes: load(&self.in_use_bytes),
                free_bytes: load(&self.free_bytes),
                unmapped_bytes: load(&self.unmapped_bytes),
                spans_in_use: load(&self.spans_in_use),
            },
            ..sums
        }
    }
}
