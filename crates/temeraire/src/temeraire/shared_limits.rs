//! Limits that several heaps keep together.

use strata_page_heap::{LimitFigures, MemoryLimits, ReleaseReason, limited_bytes};
use strata_span::{PageCount, PageSize, Platform};
use strata_sync::atomic::{AtomicU64, Ordering};

/// The limits of all heaps together, and how often others gave back for one heap's growth. All zero bits are no limits.
///
/// Plain words, each for itself: who grows while the limits change may keep to either.
#[derive(Debug)]
pub(crate) struct SharedLimits {
    soft_bytes: AtomicU64,
    hard_bytes: AtomicU64,
    soft_reliefs: AtomicU64,
    /// Of these, how often that was enough.
    soft_successes: AtomicU64,
    hard_reliefs: AtomicU64,
}

impl SharedLimits {
    strata_sync::const_fn! {
        /// No limits.
        pub(crate) const fn new() -> Self {
            Self {
                soft_bytes: AtomicU64::new(0),
                hard_bytes: AtomicU64::new(0),
                soft_reliefs: AtomicU64::new(0),
                soft_successes: AtomicU64::new(0),
                hard_reliefs: AtomicU64::new(0),
            }
        }
    }

    pub(crate) fn set(&self, limits: MemoryLimits) {
        self.soft_bytes.store(limits.soft_bytes, Ordering::Relaxed);
        self.hard_bytes.store(limits.hard_bytes, Ordering::Relaxed);
    }

    fn get(&self) -> MemoryLimits {
        MemoryLimits {
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether there is a limit.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.soft_bytes.load(Ordering::Relaxed) | self.hard_bytes.load(Ordering::Relaxed) != 0
    }

    /// Pages above the limit that `reason` is about, with `backed_bytes` backed in all heaps and `pages` more.
    pub(crate) fn excess<E: Platform>(
        &self,
        platform: &E,
        reason: ReleaseReason,
        backed_bytes: u64,
        pages: PageCount<E::Pages>,
    ) -> PageCount<E::Pages> {
        let limits = self.get();
        let limit = match reason {
            ReleaseReason::SoftLimit => limits.soft_bytes,
            _ => limits.hard_bytes,
        };
        let more = (pages.get() as u64).saturating_mul(E::Pages::BYTES as u64);
        let wanted = limited_bytes(platform, backed_bytes.saturating_add(more));
        if limit == 0 || wanted <= limit {
            return PageCount::ZERO;
        }
        let pages = (wanted - limit).div_ceil(E::Pages::BYTES as u64);
        PageCount::new(usize::try_from(pages).unwrap_or(usize::MAX))
    }

    /// Notes that others made room, `enough` or not.
    pub(crate) fn count_relief(&self, reason: ReleaseReason, enough: bool) {
        if reason == ReleaseReason::SoftLimit {
            self.soft_reliefs.fetch_add(1, Ordering::Relaxed);
            self.soft_successes.fetch_add(u64::from(enough), Ordering::Relaxed);
        } else {
            self.hard_reliefs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is left of the limits beside `others` bytes. (A limit that is used up is one byte, since 0 would be none.)
    pub(crate) fn without(&self, others: u64) -> MemoryLimits {
        let left = |limit: u64| if limit == 0 { 0 } else { limit.saturating_sub(others).max(1) };
        let MemoryLimits { soft_bytes, hard_bytes } = self.get();
        MemoryLimits { soft_bytes: left(soft_bytes), hard_bytes: left(hard_bytes) }
    }

    /// The figures of all heaps, of which `sum` are the sums.
    pub(crate) fn figures(&self, sum: LimitFigures) -> LimitFigures {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        LimitFigures {
            limits: self.get(),
            soft_hits: sum.soft_hits.wrapping_add(load(&self.soft_reliefs)),
            soft_successes: sum.soft_successes.wrapping_add(load(&self.soft_successes)),
            hard_hits: sum.hard_hits.wrapping_add(load(&self.hard_reliefs)),
            hard_failures: sum.hard_failures,
        }
    }
}
