//! The filler's hugepages, one by one, for those who ask the kernel about each.

use crate::{
    hugepage_aware::HugePageAware, state::State, supply::KeeperHandle, survey::population,
};
use strata_page_heap::{PageHeap, SharedHugepage};
use strata_span::{Hugepage, HugepageCount, PageSize, Platform};

/// Hugepages that are copied with the lock held once: 2 KiB of stack, and a microsecond.
const COPIES: usize = 16;

/// Hugepages that are looked at with the lock held once.
const LOOKS: usize = 128;

/// What one step found.
type Copies = [Option<SharedHugepage>; COPIES];

impl<P: PageSize> HugePageAware<P> {
    /// Calls `visit` with each hugepage of the filler, with no lock held.
    pub(crate) fn visit_shared<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        mut visit: impl FnMut(&SharedHugepage),
    ) {
        let mut passed = 0;
        while let Some(range) = self.next_reservation(passed) {
            let (mut at, end) =
                (Hugepage::from_address(range.start), Hugepage::from_address(range.end()));
            while at < end {
                let mut copies: Copies = [None; COPIES];
                at = self.state.lock().copy_shared(platform, at, end, &mut copies);
                copies.iter().flatten().for_each(&mut visit);
            }
            passed = at.address().value();
        }
    }
}

impl<P: PageSize> State<P> {
    /// Copies what is known of hugepages from `at` on, up to `end` at most. Says where the next step begins.
    fn copy_shared<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        mut at: Hugepage,
        end: Hugepage,
        copies: &mut Copies,
    ) -> Hugepage {
        let mut room = copies.iter_mut();
        for _ in 0..LOOKS {
            if at >= end || room.len() == 0 {
                break;
            }
            at = match self.keeper_of(platform, at) {
                Some(KeeperHandle::Tracker(tracker)) => {
                    if let Some(copy) = room.next() {
                        *copy = Some(tracker.shared(population(&tracker) as usize));
                    }
                    at + HugepageCount::ONE
                }
                Some(KeeperHandle::Region(region)) => region.end().max(at + HugepageCount::ONE),
                None => match self.free_range_at(at) {
                    Some((range, _)) => range.end().max(at + HugepageCount::ONE),
                    None => at + HugepageCount::ONE,
                },
            };
        }
        at
    }
}
