//! Whether the hugepages that many spans share come to be touched.

use strata_os::AddressRange;
use strata_span::HUGEPAGE_BYTES;
use strata_sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// What is known of hugepages that the filler filled: whether most of such a one is in memory when it is full.
///
/// On a hugepage the first byte touched costs 2 MiB. Where programs write to all of their blocks, that is what they
/// will have anyway; where blocks are roomy, or many sizes each use a part of a span, three quarters of it may stay
/// untouched, and a heap of 15 MiB takes 30. What was left on small pages tells: the kernel knows which of them
/// were touched. So each fresh hugepage that is left on small pages is looked at when four more came after it,
/// since by then its spans are full. As long as those were touched, fresh ones are advised, but for one after four
/// times as many each; after one that was not, all are left on small pages, and looked at, until one was touched.
///
/// A heap that is small leaves its hugepages on small pages in any case: they are the first to be looked at.
#[derive(Debug)]
pub(crate) struct FillHistory {
    /// The last few fresh hugepages, the latest first, as far as they were left on small pages and not looked at; 0
    /// for the others.
    left: [AtomicUsize; Self::LOOKED_AT_AFTER],
    /// Fresh hugepages so far, beyond those of a small heap.
    fresh: AtomicU32,
    /// How many there are to be before one of them is left on small pages although the others were touched.
    trial_at: AtomicU32,
    /// The last one that was looked at was not touched.
    is_sparse: AtomicBool,
}

impl FillHistory {
    /// Fresh hugepages before the first trial, and by how much more each time. At half, a heap of gigabytes has
    /// twice the part of it on small pages until they are put together; at twice, it is found out later that blocks
    /// are no longer touched.
    const FIRST_TRIAL: u32 = 16;
    const TRIALS_APART: u32 = 4;
    /// Hugepages that come before one is looked at. At half, spans of classes that are rarely asked for are not
    /// full yet; at twice, a heap of 30 MiB is never looked at.
    const LOOKED_AT_AFTER: usize = 4;
    /// The part of a hugepage that is to be in memory, in eighths. At four, a heap whose blocks are touched by half
    /// takes twice what it touches; at seven, the ends of spans are enough to keep a heap on small pages.
    const TOUCHED_EIGHTHS: usize = 5;

    strata_sync::const_fn! {
        /// Nothing known: hugepages are expected to be touched.
        pub(crate) const fn new() -> Self {
            Self {
                left: strata_sync::const_array![AtomicUsize::new(0); FillHistory::LOOKED_AT_AFTER],
                fresh: AtomicU32::new(0),
                trial_at: AtomicU32::new(0),
                is_sparse: AtomicBool::new(false),
            }
        }
    }

    /// Notes a fresh hugepage that a small heap leaves on small pages.
    pub(crate) fn leave(&self, hugepage: AddressRange) {
        self.shift(hugepage.start);
    }

    /// The hugepage to look at before the next fresh one is decided about: a few came after it.
    pub(crate) fn due(&self) -> Option<AddressRange> {
        let due = self.shift(0);
        (due != 0).then(|| AddressRange::new(due, HUGEPAGE_BYTES))
    }

    /// Puts the latest in front of the others; answers with what falls out behind.
    fn shift(&self, latest: usize) -> usize {
        self.left.iter().fold(latest, |before, place| place.swap(before, Ordering::Relaxed))
    }

    /// Enters what was found: so many bytes of the hugepage were touched.
    pub(crate) fn note(&self, touched_bytes: usize) {
        let is_sparse = touched_bytes < HUGEPAGE_BYTES / 8 * Self::TOUCHED_EIGHTHS;
        self.is_sparse.store(is_sparse, Ordering::Relaxed);
    }

    /// Whether a fresh hugepage is to be left on small pages. (Of two threads at once one may make a trial more or fewer.)
    pub(crate) fn stays_small(&self, hugepage: AddressRange) -> bool {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let trial_at = self.trial_at.load(Ordering::Relaxed).max(Self::FIRST_TRIAL);
        let is_trial = fresh >= trial_at;
        if is_trial {
            self.trial_at.store(fresh.saturating_mul(Self::TRIALS_APART), Ordering::Relaxed);
        }
        let stays = is_trial || self.is_sparse.load(Ordering::Relaxed);
        if stays && let Some(latest) = self.left.first() {
            latest.store(hugepage.start, Ordering::Relaxed);
        }
        stays
    }
}

#[cfg(test)]
mod tests;
