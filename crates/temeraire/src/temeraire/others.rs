//! What several heaps do for each other: they keep limits together, and one that finds nothing takes from the others.

use super::Temeraire;
use crate::hugepage_aware::HugePageAware;
use strata_page_heap::{PageHeap, ReleaseReason};
use strata_span::{PageCount, PageSize, Platform};

impl<P: PageSize> Temeraire<P> {
    /// What a span may add to the metadata that limits are about: structures of some hundred bytes, and a few
    /// kernel pages of the page map that nobody had touched. At less, spans are refused at a limit although others
    /// have memory to give.
    const MOST_METADATA_BYTES: usize = 64 << 10;

    /// Where there are limits and several heaps: has the others give back what a growth of `own` by `pages` pages
    /// takes too much, and tells `own` what the others leave of the limits.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn share_limits<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        own: &HugePageAware<P>,
        pages: PageCount<P>,
    ) {
        let now = self.stats();
        // What cannot fit whatever is given back is refused by the heap itself.
        let can_fit =
            self.limits.excess(platform, ReleaseReason::HardLimit, now.in_use_bytes, pages)
                == PageCount::ZERO;
        // What it adds to the metadata counts as well.
        let wanted =
            pages + PageCount::holding(Self::MOST_METADATA_BYTES).unwrap_or(PageCount::ONE);
        for reason in [ReleaseReason::SoftLimit, ReleaseReason::HardLimit] {
            let backed = self.stats().backed_bytes();
            let excess = self.limits.excess(platform, reason, backed, wanted);
            let mut given = PageCount::ZERO;
            for other in self.others_than(own) {
                if can_fit && given < excess {
                    given += other.release(platform, excess.saturating_sub(given), reason);
                }
            }
            if given > PageCount::ZERO {
                self.limits.count_relief(reason, given >= excess);
            }
        }
        let others: u64 = self.others_than(own).map(|other| other.stats().backed_bytes()).sum();
        // Limits that are set meanwhile hold: who sets them tells all first and each heap then, so that whoever had
        // a heap's lock last knows the new ones.
        let mut left = self.limits.without(others);
        loop {
            own.set_limits(left);
            let now = self.limits.without(others);
            if now == left {
                return;
            }
            left = now;
        }
    }

    /// Has the others give back all that they have free, address space included: there are no `pages` pages for
    /// `own`. False if there are no others, they have less than that, or a limit is what is in the way.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn take_from_others<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        own: &HugePageAware<P>,
        pages: PageCount<P>,
        failures: u64,
    ) -> bool {
        if !self.is_apart() || own.stats().limits.hard_failures != failures {
            return false;
        }
        let spare_bytes: u64 = self
            .others_than(own)
            .map(PageHeap::stats)
            .map(|stats| stats.reserved_bytes.saturating_sub(stats.in_use_bytes))
            .sum();
        let spare_pages = usize::try_from(spare_bytes >> P::SHIFT).unwrap_or(usize::MAX);
        if pages == PageCount::ZERO || spare_pages < pages.get() {
            return false;
        }
        let mut gave = false;
        for other in self.others_than(own) {
            let stats = other.stats();
            // What threads have in hand there is free when they have given it back.
            other.underway.wait_for_others();
            let all = PageCount::new((other.stats().free_bytes >> P::SHIFT) as usize);
            other.release(platform, all, ReleaseReason::HardLimit);
            while other.give_back_reserve(platform) > 0 {}
            gave |= other.stats().reserved_bytes < stats.reserved_bytes;
        }
        gave
    }

    /// All heaps but `own`, in the order in which they give back.
    fn others_than<'a>(
        &'a self,
        own: &'a HugePageAware<P>,
    ) -> impl Iterator<Item = &'a HugePageAware<P>> {
        self.heaps().filter(move |other| !core::ptr::eq(*other, own))
    }
}
