//! Hugepages that are not backed.

use crate::{huge_address_map::HugeAddressMap, huge_range::HugeRange, node_store::NodeStore};
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
                let first = self.grow(platform, count, align, nodes, now_ns)?;
                (self.free.node_holding(first)?, first)
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

    /// A part of what was reserved ahead goes back to the source, or, where nothing was, the longest free run; says
    /// how many bytes.
    pub(crate) fn give_back_reserve<E: Platform>(
        &mut self,
        platform: &E,
        nodes: &mut NodeStore,
    ) -> usize {
        match self.reserve.give_back_half(platform) {
            0 => self.give_back_longest(platform, nodes),
            bytes => bytes,
        }
    }

    /// Where address space is short, all that is reserved ahead and the longest free run go back to the source: one step
    /// of that. False if nothing went.
    pub(crate) fn give_back_space<E: Platform>(
        &mut self,
        platform: &E,
        nodes: &mut NodeStore,
    ) -> bool {
        self.reserve.is_short()
            && (self.reserve.give_back_ahead(platform) > 0
                || self.give_back_longest(platform, nodes) > 0)
    }

    /// The longest free run goes back to the source; says how many bytes.
    #[unsafe(link_section = ".text_rarely")]
    fn give_back_longest<E: Platform>(&mut self, platform: &E, nodes: &mut NodeStore) -> usize {
        let longest = self.free.longest();
        let node = self.free.find_fit(longest).filter(|_| longest > HugepageCount::ZERO);
        let Some(node) = node else { return 0 };
        let whole = node.range();
        let Some(run) = self.free.take(platform, node, whole.first, whole.count, nodes) else {
            return 0;
        };
        let bytes = self.reserve.give_back(platform, run.first.range(run.count));
        let gone = HugepageCount::new(bytes / HUGEPAGE_BYTES);
        self.requested = self.requested.saturating_sub(gone);
        if gone == run.count {
            nodes.waive();
        } else {
            let rest = HugeRange { first: run.first + gone, count: run.count - gone, ..run };
            self.deallocate(platform, rest, nodes);
        }
        bytes
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

    /// Gets `count` hugepages at a multiple of `align` from the system; says which is the first.
    #[cold]
    fn grow<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<Hugepage> {
        let first = self.grow_by(platform, nodes, now_ns, |reserve| {
            reserve.take_aligned(platform, count, align)
        })?;
        Some(Hugepage::new(first.number().checked_next_multiple_of(align)?))
    }

    /// Gets `count` hugepages from `first` on from the system, if a reservation goes on just there.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    pub(crate) fn grow_at<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        count: HugepageCount,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<Hugepage> {
        let start = first.address().value();
        self.grow_by(platform, nodes, now_ns, |reserve| reserve.take_at(platform, start, count))
    }

    fn grow_by<E: Platform>(
        &mut self,
        platform: &E,
        nodes: &mut NodeStore,
        now_ns: u64,
        take: impl FnOnce(&mut Reserve) -> Option<TakenRange>,
    ) -> Option<Hugepage> {
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
        Some(range.first)
    }
}

#[cfg(test)]
mod tests;
