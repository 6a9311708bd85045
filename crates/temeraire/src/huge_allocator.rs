//! Hugepages that are not backed.

use crate::{
    huge_address_map::{HugeAddressMap, HugeRange},
    node_store::NodeStore,
};
use strata_os::PageSource;
use strata_page_heap::{Reserve, TakenRange};
use strata_span::{HUGEPAGE_BYTES, Hugepage, HugepageCount, Platform};

/// Hands out runs of unbacked hugepages, and takes them back.
///
/// It asks the reserve for more only when no run that it has is long enough.
#[derive(Debug)]
pub(crate) struct HugeAllocator {
    free: HugeAddressMap,
    reserve: Reserve,
    requested: HugepageCount,
}

impl HugeAllocator {
    strata_sync::const_fn! {
        /// Nothing yet.
        pub(crate) const fn new() -> Self {
            Self {
                free: HugeAddressMap::EMPTY,
                reserve: Reserve::new(),
                requested: HugepageCount::ZERO,
            }
        }
    }

    /// A run of `count` hugepages at a multiple of `align` hugepages, unbacked and entered in the
    /// page map; a promise of a node comes with it.
    pub(crate) fn allocate<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<HugeRange> {
        let (node, first) = match self.free.find_aligned(count, align) {
            Some(place) => place,
            None => {
                self.grow(platform, count, align, nodes, now_ns)?;
                self.free.find_aligned(count, align)?
            }
        };
        let range = self.free.take(platform, node, first, count, nodes)?;
        self.enter(platform, range, nodes)
    }

    /// Takes up to `most` unbacked hugepages from `first` on, for a run in use that ends there; they
    /// are entered in the page map, and a promise of a node comes with them.
    pub(crate) fn take_at<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        most: HugepageCount,
        nodes: &mut NodeStore,
    ) -> Option<HugeRange> {
        let node = self.free.beginning_at(first)?;
        let count = node.range().count.min(most);
        let range = self.free.take(platform, node, first, count, nodes)?;
        self.enter(platform, range, nodes)
    }

    /// Takes a run of unbacked hugepages and its promise back.
    pub(crate) fn deallocate<E: Platform>(
        &mut self,
        platform: &E,
        range: HugeRange,
        nodes: &mut NodeStore,
    ) {
        self.free.insert(range, nodes, |low, high| {
            platform.source().may_merge(low.first.range(low.count), high.first.range(high.count))
        });
    }

    /// The free runs.
    pub(crate) const fn free(&self) -> &HugeAddressMap {
        &self.free
    }

    /// Hugepages that the system gave so far.
    pub(crate) const fn requested(&self) -> HugepageCount {
        self.requested
    }

    /// Where address space comes from.
    pub(crate) const fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// A part of what was reserved ahead goes back to the source; says how many bytes.
    pub(crate) fn give_back_reserve<E: Platform>(&mut self, platform: &E) -> usize {
        self.reserve.give_back_half(platform)
    }

    /// Makes sure that the page map has room for a run's pages; if not, the run goes back.
    fn enter<E: Platform>(
        &mut self,
        platform: &E,
        range: HugeRange,
        nodes: &mut NodeStore,
    ) -> Option<HugeRange> {
        let (map, arena, metadata) = (platform.map(), platform.arena(), platform.metadata());
        if !map.ensure(arena, metadata, range.first.first_page(), range.count.pages()) {
            self.deallocate(platform, range, nodes);
            return None;
        }
        Some(range)
    }

    /// Gets a run from the system that has room for `count` hugepages at a multiple of `align`.
    #[cold]
    fn grow<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<()> {
        let count = HugepageCount::new(count.get().checked_add(align - 1)?);
        self.grow_by(platform, nodes, now_ns, |reserve| reserve.take(platform, count))
    }

    /// Gets `count` hugepages from `first` on from the system, if a reservation goes on just there.
    #[cold]
    pub(crate) fn grow_at<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        count: HugepageCount,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<()> {
        let start = first.address().value();
        self.grow_by(platform, nodes, now_ns, |reserve| reserve.take_at(platform, start, count))
    }

    fn grow_by<E: Platform>(
        &mut self,
        platform: &E,
        nodes: &mut NodeStore,
        now_ns: u64,
        take: impl FnOnce(&mut Reserve) -> Option<TakenRange>,
    ) -> Option<()> {
        if !nodes.promise(platform) {
            return None;
        }
        let Some(taken) = take(&mut self.reserve) else {
            nodes.waive();
            return None;
        };
        let count = HugepageCount::new(taken.range.bytes / HUGEPAGE_BYTES);
        self.requested += count;
        let range = HugeRange {
            first: Hugepage::from_address(taken.range.start),
            count,
            free_since_ns: now_ns,
            zeroed: taken.zeroed,
        };
        self.deallocate(platform, range, nodes);
        Some(())
    }
}

#[cfg(test)]
mod tests;
