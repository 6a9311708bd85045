//! Large allocations of awkward length, packed into a gibibyte.

use crate::{bitmap::Bitmap, handle::Handle, keeper::Keeper};
use core::cell::Cell;
use strata_page_heap::{HugepageFigures, HugepageUse};
use strata_span::{Hugepage, HugepageCount, MetadataKind, PageCount, PageId, PageSize, PoolItem};

/// A gibibyte of address space in which spans of more than half a hugepage lie without regard to
/// hugepages.
///
/// It is backed hugepage by hugepage as spans come to lie there, and gives back hugepages that are
/// wholly free. Searching takes time by the number of free runs, of which there can be a thousand.
/// (Hunter et al., OSDI 2021, section 4.5.)
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Region {
    keeper: Cell<Keeper>,
    /// The set's list that it is on, see `region_set`.
    pub(crate) list: Cell<u8>,
    pub(crate) next: Cell<Option<Handle<Self>>>,
    pub(crate) previous: Cell<Option<Handle<Self>>>,
    first: Cell<Hugepage>,
    used_pages: Cell<usize>,
    longest_free: Cell<usize>,
    backed_hugepages: Cell<usize>,
    /// Backed hugepages that are wholly free, those on their way to the kernel left out.
    releasable: Cell<usize>,
    /// Hugepages that went back to the kernel since the start.
    unbacked_since_start: Cell<usize>,
    hugepages: [RegionHugepage; Region::HUGEPAGES],
    /// Pages in use, and those on their way to the kernel.
    used: Bitmap<{ Region::WORDS }>,
}

/// One hugepage of a region.
#[derive(Debug)]
struct RegionHugepage {
    used_pages: Cell<u16>,
    backed: Cell<bool>,
    /// Not backed, but written to before: it may not read as zero.
    stale: Cell<bool>,
    /// Its pages are marked as in use although they are only on their way to the kernel.
    releasing: Cell<bool>,
    /// When it became wholly free, or backed, or unbacked.
    since_ns: Cell<u64>,
}

// SAFETY: 1. zero is an empty cell of each type here; the keeper is set before the page map learns
// of the region. 2. It has no drop and is larger than a pointer.
unsafe impl PoolItem for Region {
    const KIND: MetadataKind = MetadataKind::Hugepages;
}

/// Pages that a region gave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionPages<P: PageSize> {
    pub(crate) first: PageId<P>,
    /// Whether all of them read as zero.
    pub(crate) zeroed: bool,
    /// Whether hugepages that they lie in were not backed.
    pub(crate) fresh: bool,
}

/// What pages of a region were before they came into use.
struct Backing {
    /// They read as zero.
    zeroed: bool,
    /// Hugepages that they lie in were not backed.
    fresh: bool,
}

/// A region at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct RegionFigures {
    /// In use, in bytes.
    pub used_bytes: u64,
    /// Free and backed, in bytes.
    pub free_bytes: u64,
    /// The longest run of free pages, in bytes.
    pub longest_free_bytes: u64,
    /// Free and not backed, in bytes.
    pub unbacked_bytes: u64,
    /// Given back to the kernel since the start, in bytes.
    pub unbacked_bytes_since_start: u64,
    /// Hugepages that are backed, as a number.
    pub backed_hugepages: u64,
}

impl RegionFigures {
    pub(crate) const NONE: Self = Self {
        used_bytes: 0,
        free_bytes: 0,
        longest_free_bytes: 0,
        unbacked_bytes: 0,
        unbacked_bytes_since_start: 0,
        backed_hugepages: 0,
    };
}

impl Region {
    /// Hugepages of a region: 1 GiB.
    pub(crate) const HUGEPAGES: usize = 512;
    /// Words of a bitmap of its pages, at the smallest page size.
    const WORDS: usize = Self::HUGEPAGES * 512 / 64;

    /// Makes it the region of [`Self::HUGEPAGES`] unbacked hugepages from `first`.
    pub(crate) fn start<P: PageSize>(&self, first: Hugepage, zeroed: bool, now_ns: u64) {
        self.keeper.set(Keeper::Region);
        self.first.set(first);
        self.longest_free.set(Self::pages::<P>());
        for hugepage in &self.hugepages {
            hugepage.stale.set(!zeroed);
            hugepage.since_ns.set(now_ns);
        }
    }

    /// Its first hugepage.
    pub(crate) fn first(&self) -> Hugepage {
        self.first.get()
    }

    /// The hugepage behind its last.
    pub(crate) fn end(&self) -> Hugepage {
        self.first() + HugepageCount::new(Self::HUGEPAGES)
    }

    /// Pages in use.
    pub(crate) fn used_pages(&self) -> usize {
        self.used_pages.get()
    }

    /// The longest run of free pages.
    pub(crate) fn longest_free(&self) -> usize {
        self.longest_free.get()
    }

    /// Hugepages that are backed.
    pub(crate) fn backed_hugepages(&self) -> usize {
        self.backed_hugepages.get()
    }

    /// What is known of one of its hugepages.
    pub(crate) fn hugepage_figures<P: PageSize>(&self, hugepage: Hugepage) -> HugepageFigures {
        let index = hugepage.number().wrapping_sub(self.first().number());
        let Some(place) = self.hugepages.get(index) else { return HugepageFigures::default() };
        // Pages on their way to the kernel are marked as used, and free.
        let used = if place.releasing.get() { 0 } else { u64::from(place.used_pages.get()) };
        let unbacked =
            if place.backed.get() { 0 } else { PageCount::<P>::PER_HUGEPAGE.get() as u64 - used };
        HugepageFigures {
            shared_by: HugepageUse::Region,
            used_pages: used,
            unbacked_pages: unbacked,
            backed_free_pages: Some(
                (PageCount::<P>::PER_HUGEPAGE.get() as u64).saturating_sub(used + unbacked),
            ),
        }
    }

    /// Takes `count` pages from the shortest run that has room, and has them backed.
    pub(crate) fn allocate<P: PageSize>(
        &self,
        count: PageCount<P>,
        now_ns: u64,
    ) -> Option<RegionPages<P>> {
        let pages = Self::pages::<P>();
        let fit = self.used.best_fit(count.get(), 1, self.longest_free(), pages)?;
        self.used.insert(fit.start, count.get());
        self.longest_free.set(fit.longest_left);
        let taken = self.back::<P>(fit.start, count.get(), now_ns);
        let first = self.first().first_page::<P>() + PageCount::new(fit.start);
        Some(RegionPages { first, zeroed: taken.zeroed, fresh: taken.fresh })
    }

    /// Adds `count` pages from `first` to the span that ends there, and has them backed. None, and
    /// nothing changes, if they are not all in the region and free.
    pub(crate) fn extend<P: PageSize>(
        &self,
        first: PageId<P>,
        count: PageCount<P>,
        now_ns: u64,
    ) -> Option<RegionPages<P>> {
        let (pages, count) = (Self::pages::<P>(), count.get());
        let start = (first - self.first().first_page::<P>()).get();
        if count > pages.saturating_sub(start) || self.used.count(start, count) > 0 {
            return None;
        }
        let gap = self.used.gap_around(start, pages);
        self.used.insert(start, count);
        if gap == self.longest_free() {
            self.longest_free.set(self.used.longest_gap(pages));
        }
        let taken = self.back::<P>(start, count, now_ns);
        Some(RegionPages { first, zeroed: taken.zeroed, fresh: taken.fresh })
    }

    /// Takes `count` pages from `first` back, which stay backed.
    pub(crate) fn deallocate<P: PageSize>(
        &self,
        first: PageId<P>,
        count: PageCount<P>,
        now_ns: u64,
    ) {
        let start = (first - self.first().first_page::<P>()).get();
        self.used.remove(start, count.get());
        self.used_pages.set(self.used_pages() - count.get());
        self.each_hugepage::<P>(start, count.get(), |hugepage, covered| {
            hugepage.used_pages.set(hugepage.used_pages.get() - covered);
            if hugepage.used_pages.get() == 0 {
                self.releasable.set(self.releasable() + 1);
                hugepage.since_ns.set(now_ns);
            }
        });
        let gap = self.used.gap_around(start, Self::pages::<P>());
        self.longest_free.set(self.longest_free().max(gap));
    }

    /// Backed hugepages that are wholly free, those on their way to the kernel left out.
    pub(crate) fn releasable(&self) -> usize {
        self.releasable.get()
    }

    /// Whether a hugepage has been wholly free and backed since `until_ns` or longer.
    pub(crate) fn has_free_since(&self, until_ns: u64) -> bool {
        let is_old = |hugepage: &RegionHugepage| hugepage.is_free_since(until_ns);
        self.releasable() > 0 && self.hugepages.iter().any(is_old)
    }

    /// Marks a run of at most `most` hugepages that have been wholly free and backed since `until_ns` or longer as
    /// on its way to the kernel: nothing is allocated there until [`Self::end_release`]. It is the run that begins
    /// with the one that has been so for the longest: spans that come and go take the same hugepages all the while.
    pub(crate) fn begin_release<P: PageSize>(
        &self,
        most: HugepageCount,
        until_ns: u64,
    ) -> Option<(Hugepage, HugepageCount)> {
        let is_old = |hugepage: &RegionHugepage| hugepage.is_free_since(until_ns);
        let (start, _) = self
            .hugepages
            .iter()
            .enumerate()
            .filter(|(_, hugepage)| is_old(hugepage))
            .min_by_key(|(_, hugepage)| hugepage.since_ns.get())?;
        let run = self.hugepages.iter().skip(start).take_while(|hugepage| is_old(hugepage));
        let count = run.take(most.get()).count();
        for hugepage in self.hugepages.iter().skip(start).take(count) {
            hugepage.releasing.set(true);
        }
        self.releasable.set(self.releasable() - count);
        let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
        self.used.insert(start * per_hugepage, count * per_hugepage);
        self.longest_free.set(self.used.longest_gap(Self::pages::<P>()));
        (count > 0).then(|| (self.first() + HugepageCount::new(start), HugepageCount::new(count)))
    }

    /// Ends what `begin_release` began: `released` says whether the kernel took them.
    pub(crate) fn end_release<P: PageSize>(
        &self,
        first: Hugepage,
        count: HugepageCount,
        released: bool,
        now_ns: u64,
    ) {
        let start = (first - self.first()).get();
        for hugepage in self.hugepages.iter().skip(start).take(count.get()) {
            hugepage.releasing.set(false);
            if released {
                hugepage.backed.set(false);
                hugepage.stale.set(false);
                hugepage.since_ns.set(now_ns);
            }
        }
        if released {
            self.backed_hugepages.set(self.backed_hugepages() - count.get());
            self.unbacked_since_start.set(self.unbacked_since_start.get() + count.get());
        } else {
            self.releasable.set(self.releasable() + count.get());
        }
        let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
        self.used.remove(start * per_hugepage, count.get() * per_hugepage);
        let gap = self.used.gap_around(start * per_hugepage, Self::pages::<P>());
        self.longest_free.set(self.longest_free().max(gap));
    }

    /// Calls `visit` for each run of free pages of one kind: length, whether backed, and since
    /// when.
    pub(crate) fn for_each_gap<P: PageSize>(&self, mut visit: impl FnMut(usize, bool, u64)) {
        let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
        // Hugepages on their way to the kernel are free, although marked as in use.
        for hugepage in self.hugepages.iter().filter(|hugepage| hugepage.releasing.get()) {
            visit(per_hugepage, true, hugepage.since_ns.get());
        }
        for (start, length) in self.used.gaps(Self::pages::<P>()) {
            let mut run: Option<(usize, bool, u64)> = None;
            self.each_hugepage::<P>(start, length, |hugepage, covered| {
                let (covered, backed) = (usize::from(covered), hugepage.backed.get());
                let since = hugepage.since_ns.get();
                run = match run {
                    Some((pages, same, since)) if same == backed => {
                        Some((pages + covered, same, since))
                    }
                    Some((pages, other, since_other)) => {
                        visit(pages, other, since_other);
                        Some((covered, backed, since))
                    }
                    None => Some((covered, backed, since)),
                };
            });
            if let Some((pages, backed, since)) = run {
                visit(pages, backed, since);
            }
        }
    }

    /// The figures.
    pub(crate) fn figures<P: PageSize>(&self) -> RegionFigures {
        let backed = HugepageCount::new(self.backed_hugepages());
        let used = PageCount::<P>::new(self.used_pages());
        let all = HugepageCount::new(Self::HUGEPAGES);
        RegionFigures {
            used_bytes: used.bytes() as u64,
            free_bytes: backed.bytes().saturating_sub(used.bytes()) as u64,
            longest_free_bytes: PageCount::<P>::new(self.longest_free()).bytes() as u64,
            unbacked_bytes: all.saturating_sub(backed).bytes() as u64,
            unbacked_bytes_since_start: HugepageCount::new(self.unbacked_since_start.get()).bytes()
                as u64,
            backed_hugepages: backed.get() as u64,
        }
    }

    /// Pages of a region.
    pub(crate) const fn pages<P: PageSize>() -> usize {
        HugepageCount::new(Self::HUGEPAGES).pages::<P>().get()
    }

    /// Counts `count` pages from `start` as in use, and has the hugepages that they lie in backed.
    #[unsafe(link_section = ".text_rarely")]
    fn back<P: PageSize>(&self, start: usize, count: usize, now_ns: u64) -> Backing {
        self.used_pages.set(self.used_pages() + count);
        let mut backing = Backing { zeroed: true, fresh: false };
        self.each_hugepage::<P>(start, count, |hugepage, covered| {
            if hugepage.is_releasable() {
                self.releasable.set(self.releasable() - 1);
            }
            hugepage.used_pages.set(hugepage.used_pages.get() + covered);
            backing.zeroed &= !hugepage.backed.get() && !hugepage.stale.get();
            if !hugepage.backed.replace(true) {
                backing.fresh = true;
                self.backed_hugepages.set(self.backed_hugepages() + 1);
                hugepage.since_ns.set(now_ns);
            }
        });
        backing
    }

    /// Calls `visit` for each hugepage that `count` pages from `start` lie in, with how many of
    /// them do.
    fn each_hugepage<P: PageSize>(
        &self,
        start: usize,
        count: usize,
        mut visit: impl FnMut(&RegionHugepage, u16),
    ) {
        let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
        let (mut at, end) = (start, start + count);
        for hugepage in self.hugepages.iter().skip(start / per_hugepage) {
            if at >= end {
                return;
            }
            let next = (at / per_hugepage + 1) * per_hugepage;
            let covered = next.min(end) - at;
            visit(hugepage, (covered & 0xffff) as u16);
            at = next;
        }
    }
}

impl RegionHugepage {
    fn is_releasable(&self) -> bool {
        self.backed.get() && self.used_pages.get() == 0 && !self.releasing.get()
    }

    fn is_free_since(&self, until_ns: u64) -> bool {
        self.is_releasable() && self.since_ns.get() <= until_ns
    }
}

#[cfg(test)]
mod tests;
