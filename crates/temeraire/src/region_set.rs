//! All regions of a heap.

use crate::{
    handle::Handle,
    region::{Region, RegionPages},
};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize};

/// The regions, in lists by the binary logarithm of their longest run of free pages.
///
/// A wish goes to the region with the smallest sufficient longest run, as far as a look at a few
/// tells.
#[derive(Debug)]
pub(crate) struct RegionSet {
    lists: [Option<Handle<Region>>; Self::LISTS],
    totals: RegionTotals,
    /// The fewest hugepages that could be given back, at any moment since the last release by policy.
    least_releasable: usize,
}

/// What the regions add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RegionTotals {
    pub(crate) regions: usize,
    pub(crate) backed_hugepages: usize,
    pub(crate) used_pages: usize,
    /// Hugepages that could be given back.
    pub(crate) releasable: usize,
}

impl RegionTotals {
    pub(crate) const fn hugepages(&self) -> usize {
        self.regions * Region::HUGEPAGES
    }
}

impl RegionSet {
    /// List `i` has regions whose longest run is at least `2^(i-1)` and below `2^i` pages; 2^18 is
    /// the most.
    const LISTS: usize = 20;
    /// Regions of the wish's own list to look at.
    const LOOKS: usize = 16;

    pub(crate) const EMPTY: Self = Self {
        lists: [None; Self::LISTS],
        totals: RegionTotals { regions: 0, backed_hugepages: 0, used_pages: 0, releasable: 0 },
        least_releasable: 0,
    };

    /// What the regions add up to.
    pub(crate) const fn totals(&self) -> RegionTotals {
        self.totals
    }

    /// The fewest hugepages that could be given back, at any moment since the last release by policy.
    pub(crate) const fn least_releasable(&self) -> usize {
        self.least_releasable
    }

    /// Begins to look for the fewest anew: a release by policy is over.
    pub(crate) fn forget_least_releasable(&mut self) {
        self.least_releasable = self.totals.releasable;
    }

    /// Takes in a region that has started.
    pub(crate) fn insert(&mut self, region: Handle<Region>) {
        self.totals.regions += 1;
        self.list(region);
    }

    /// Pages from a region, if one has room.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate<P: PageSize>(
        &mut self,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Option<RegionPages<P>> {
        let region = self.find(pages.get())?;
        self.change(region, |region| region.allocate(pages, now_ns))
    }

    /// Adds `pages` pages from `first` to a span of a region that ends there, if they are free.
    pub(crate) fn extend<P: PageSize>(
        &mut self,
        region: Handle<Region>,
        first: PageId<P>,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Option<RegionPages<P>> {
        self.change(region, |region| region.extend(first, pages, now_ns))
    }

    /// Takes pages of a region back.
    pub(crate) fn deallocate<P: PageSize>(
        &mut self,
        region: Handle<Region>,
        first: PageId<P>,
        pages: PageCount<P>,
        now_ns: u64,
    ) {
        self.change(region, |region| region.deallocate(first, pages, now_ns));
    }

    /// Marks a run of at most `most` hugepages as on its way to the kernel, of those that have been free since
    /// `until_ns` or longer.
    pub(crate) fn begin_release<P: PageSize>(
        &mut self,
        most: HugepageCount,
        until_ns: u64,
    ) -> Option<(Handle<Region>, Hugepage, HugepageCount)> {
        if self.totals.releasable == 0 || most == HugepageCount::ZERO {
            return None;
        }
        let region = self
            .iter()
            .filter(|region| region.releasable() > 0)
            .take(Self::LOOKS)
            .find(|region| region.has_free_since(until_ns))?;
        let (first, count) =
            self.change(region, |region| region.begin_release::<P>(most, until_ns))?;
        Some((region, first, count))
    }

    /// Ends what `begin_release` began.
    pub(crate) fn end_release<P: PageSize>(
        &mut self,
        region: Handle<Region>,
        first: Hugepage,
        count: HugepageCount,
        released: bool,
        now_ns: u64,
    ) {
        self.change(region, |region| region.end_release::<P>(first, count, released, now_ns));
    }

    /// The regions, those with short runs first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle<Region>> + '_ {
        let lists = self.lists.iter();
        lists.flat_map(|head| core::iter::successors(*head, |region| region.next.get()))
    }

    fn find(&self, pages: usize) -> Option<Handle<Region>> {
        let own = list_of(pages);
        let head = self.lists.get(own).copied().flatten();
        let sufficient = core::iter::successors(head, |region| region.next.get())
            .take(Self::LOOKS)
            .filter(|region| region.longest_free() >= pages)
            .min_by_key(|region| region.longest_free());
        sufficient.or_else(|| self.lists.iter().skip(own + 1).find_map(|head| *head))
    }

    /// Changes a region, keeping the totals and its list right.
    fn change<R>(&mut self, region: Handle<Region>, change: impl FnOnce(&Region) -> R) -> R {
        self.totals.backed_hugepages -= region.backed_hugepages();
        self.totals.used_pages -= region.used_pages();
        self.totals.releasable -= region.releasable();
        let result = change(&region);
        self.totals.backed_hugepages += region.backed_hugepages();
        self.totals.used_pages += region.used_pages();
        self.totals.releasable += region.releasable();
        self.least_releasable = self.least_releasable.min(self.totals.releasable);
        if list_of(region.longest_free()) != usize::from(region.list.get()) {
            self.unlist(region);
            self.list(region);
        }
        result
    }

    fn list(&mut self, region: Handle<Region>) {
        let list = list_of(region.longest_free()).min(Self::LISTS - 1);
        let Some(head) = self.lists.get_mut(list) else { return };
        region.list.set((list & 0xff) as u8);
        region.previous.set(None);
        region.next.set(*head);
        if let Some(second) = *head {
            second.previous.set(Some(region));
        }
        *head = Some(region);
    }

    fn unlist(&mut self, region: Handle<Region>) {
        let (previous, next) = (region.previous.get(), region.next.get());
        if let Some(next) = next {
            next.previous.set(previous);
        }
        match previous {
            Some(previous) => previous.next.set(next),
            None => {
                if let Some(head) = self.lists.get_mut(usize::from(region.list.get())) {
                    *head = next;
                }
            }
        }
    }
}

fn list_of(pages: usize) -> usize {
    (usize::BITS - pages.leading_zeros()) as usize
}

#[cfg(test)]
mod tests;
