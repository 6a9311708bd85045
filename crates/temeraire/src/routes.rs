//! Where a span comes from, and where a large one goes.

use crate::{
    departures::{Cause, Departures},
    filler::{Filled, FillerKind},
    handle::Handle,
    huge_range::HugeRange,
    region::Region,
    state::State,
    supply::{FoundHugepages, KeeperHandle},
};
use strata_page_heap::{SpanRequest, Temperature};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform};

/// Pages that were found for a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<P: PageSize> {
    pub(crate) first: PageId<P>,
    /// Whether all of them read as zero.
    pub(crate) zeroed: bool,
    /// Whether the last hugepage was donated to the filler.
    pub(crate) donated_tail: bool,
    /// Hugepages that came from the system for it and should be advised.
    pub(crate) advise: Option<(Hugepage, HugepageCount)>,
    /// Hugepages that came from the system beside others that did not, which are advised as those are of a span that grows.
    pub(crate) added: Option<(Hugepage, HugepageCount)>,
    /// The same, of a heap that is too small for that.
    pub(crate) modest: Option<(Hugepage, HugepageCount)>,
    /// How many of the pages the kernel backs only when they are touched, as far as the filler knows.
    pub(crate) unbacked: PageCount<P>,
    /// The most pages behind the span that are to be faulted in together with it.
    pub(crate) ahead: PageCount<P>,
    /// It came from a hugepage that the filler had: nothing else changed.
    pub(crate) from_filler: bool,
}

impl<P: PageSize> State<P> {
    /// Decides where a span comes from.
    pub(crate) fn route<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        request: &SpanRequest<P>,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let (pages, align) = (request.pages, request.align);
        let kind = FillerKind::of(request);
        // What is touched rarely or here and there does not pay for a hugepage.
        let pays = request.temperature == Temperature::Normal;
        if pages.get() <= Self::MOST_FILLED && align <= PageCount::PER_HUGEPAGE {
            return self.allocate_small(platform, pages, align, kind, pays, now_ns);
        }
        let awkward = pages.get() % Self::PER_HUGEPAGE != 0 && pages.get() <= Region::pages::<P>();
        if align == PageCount::ONE && awkward {
            if pages < PageCount::PER_HUGEPAGE {
                let mut filled = self.filler.allocate(pages, align, kind, now_ns);
                if filled.is_none() && self.filler.adopt_empty(kind) {
                    filled = self.filler.allocate(pages, align, kind, now_ns);
                }
                if let Some(filled) = filled {
                    return Some(Found::of(&filled));
                }
            }
            if let Some(found) = self.allocate_in_region(platform, pages, now_ns) {
                return Some(Found { advise: found.advise.filter(|_| pays), ..found });
            }
        }
        self.allocate_large(platform, pages, align, pays, now_ns)
    }

    /// Pages from the filler, from a fresh hugepage if need be.
    #[inline]
    fn allocate_small<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        align: PageCount<P>,
        kind: FillerKind,
        pays: bool,
        now_ns: u64,
    ) -> Option<Found<P>> {
        if let Some(filled) = self.filler.allocate(pages, align, kind, now_ns) {
            return Some(Found { from_filler: true, ..Found::of(&filled) });
        }
        if self.filler.adopt_empty(kind)
            && let Some(filled) = self.filler.allocate(pages, align, kind, now_ns)
        {
            return Some(Found::of(&filled));
        }
        let Some(tracker) = self.hire(platform) else {
            return self.allocate_among_others(pages, align, kind, now_ns);
        };
        if Self::may_lie_across(pages)
            && kind == FillerKind::Sparse
            && align == PageCount::ONE
            && let Some(found) = self.allocate_across(platform, tracker, pages, pays, now_ns)
        {
            return Some(found);
        }
        let Some(got) = self.take_hugepages(platform, HugepageCount::ONE, 1, now_ns) else {
            self.dismiss_unused(tracker);
            return self.allocate_among_others(pages, align, kind, now_ns);
        };
        let hugepage = got.range.first;
        let fresh = self.fresh(&got, pages, true, pays);
        self.assign(platform, tracker, hugepage, fresh, now_ns);
        let filled = self.filler.contribute(tracker, pages, kind, false, now_ns)?;
        let advise = (got.fresh && pays).then_some((hugepage, HugepageCount::ONE));
        Some(Found { advise, ..Found::of(&filled) })
    }

    /// Where there is no fresh hugepage, a page of the hugepages that are kept for spans of other kinds: better than none.
    /// Those for dense spans count on it that each has one page.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    fn allocate_among_others(
        &mut self,
        pages: PageCount<P>,
        align: PageCount<P>,
        kind: FillerKind,
        now_ns: u64,
    ) -> Option<Found<P>> {
        if pages != PageCount::ONE || align != PageCount::ONE {
            return None;
        }
        let others = FillerKind::ALL.into_iter().filter(|other| *other != kind);
        let filled = others
            .map(|other| self.filler.allocate(pages, align, other, now_ns))
            .find_map(|it| it)?;
        Some(Found::of(&filled))
    }

    /// Pages from a region, from a new one if that is worth it.
    fn allocate_in_region<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let found = match self.regions.allocate(pages, now_ns) {
            Some(found) => found,
            None => {
                let wasted = self.records.slack_pages() + self.filler.abandoned_pages as u64;
                if wasted << P::SHIFT < Self::REGION_SLACK_BYTES {
                    return None;
                }
                self.add_region(platform, now_ns)?;
                self.regions.allocate(pages, now_ns)?
            }
        };
        let (first, last) =
            (found.first.hugepage(), (found.first + pages - PageCount::ONE).hugepage());
        let advise = found.fresh.then(|| (first, last - first + HugepageCount::ONE));
        Some(Found { advise, ..Found::at(found.first, found.zeroed) })
    }

    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn add_region<E: Platform<Pages = P>>(&mut self, platform: &E, now_ns: u64) -> Option<()> {
        let place = self.region_pool.allocate(platform.arena(), platform.metadata())?;
        let count = HugepageCount::new(Region::HUGEPAGES);
        let Some(range) = self.allocator.allocate(platform, count, 1, &mut self.nodes, now_ns)
        else {
            // SAFETY: it was had a moment ago, and nothing refers to it.
            unsafe { self.region_pool.deallocate(place) };
            return None;
        };
        // SAFETY: regions are never given back to the pool once they are in use; the lock is held.
        let region = unsafe { Handle::new(place) };
        region.start::<P>(range.first, range.zeroed, now_ns);
        for index in 0..Region::HUGEPAGES {
            let hugepage = range.first + HugepageCount::new(index);
            platform.map().set_tracker(hugepage, Some(place.cast()));
        }
        self.regions.insert(region);
        Some(())
    }

    /// Whole hugepages, of which the last, if it is used in part, is donated to the filler.
    fn allocate_large<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
        align: PageCount<P>,
        pays: bool,
        now_ns: u64,
    ) -> Option<Found<P>> {
        let count = pages.hugepages_up();
        let align = align.hugepages_up().get();
        let slack = count.pages::<P>() - pages;
        if slack == PageCount::ZERO {
            let got = self.take_hugepages(platform, count, align, now_ns)?;
            return Some(Found::of_hugepages(&got, false, pays));
        }
        let tracker = self.hire(platform)?;
        // The tail becomes a range of its own, unless it is all.
        let split = count > HugepageCount::ONE;
        if split && !self.nodes.promise(platform) {
            self.dismiss_unused(tracker);
            return None;
        }
        let Some(got) = self.take_hugepages(platform, count, align, now_ns) else {
            if split {
                self.nodes.waive();
            }
            self.dismiss_unused(tracker);
            return None;
        };
        let tail = got.range.end() - HugepageCount::ONE;
        let fresh = self.fresh(&got, pages, Self::fills_a_hugepage(pages), pays);
        self.assign(platform, tracker, tail, fresh, now_ns);
        let head = PageCount::PER_HUGEPAGE - slack;
        self.filler.contribute(tracker, head, FillerKind::Sparse, true, now_ns)?;
        Some(Found::of_hugepages(&got, true, pays))
    }

    /// Takes whole hugepages back, with their donated tail if there was one.
    pub(crate) fn deallocate_large<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: PageCount<P>,
        donated_tail: bool,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let count = pages.hugepages_up();
        let mut range =
            HugeRange { first: first.hugepage(), count, free_since_ns: now_ns, zeroed: false };
        if donated_tail {
            range.count = count.saturating_sub(HugepageCount::ONE);
            let head = pages.saturating_sub(range.count.pages());
            if let Some(KeeperHandle::Tracker(tail)) = self.keeper_of(platform, range.end()) {
                match self.filler.deallocate(tail, 0, head, now_ns) {
                    None => self.filler.abandon(tail, head),
                    Some(emptied)
                        if !emptied.is_forbidden()
                            && (emptied.free_pages() == Self::PER_HUGEPAGE
                                || emptied.is_by_page() && !emptied.was_released.get()) =>
                    {
                        // It is as it was: the range comes back whole. (What of it was never touched counts as
                        // backed then.)
                        self.filler.count_completed(&emptied, now_ns);
                        self.dismiss(platform, emptied);
                        self.nodes.waive();
                        range.count = count;
                    }
                    Some(emptied) => {
                        self.retire(platform, emptied, Cause::Emptied, now_ns, departures);
                    }
                }
            }
        }
        if departures.take_whole() && self.has_room(departures) && !self.refusals.holds_back(now_ns)
        {
            self.cache.note_returned_elsewhere(now_ns, range.count);
            return self.depart_backed(range, Cause::Overflow, departures);
        }
        self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
        self.note_peak();
    }
}

impl<P: PageSize> Found<P> {
    const fn at(first: PageId<P>, zeroed: bool) -> Self {
        Self {
            first,
            zeroed,
            donated_tail: false,
            advise: None,
            added: None,
            modest: None,
            unbacked: PageCount::ZERO,
            ahead: PageCount::ZERO,
            from_filler: false,
        }
    }

    pub(crate) const fn of(filled: &Filled<P>) -> Self {
        Self { unbacked: filled.unbacked, ..Self::at(filled.first, filled.zeroed) }
    }

    fn of_hugepages(got: &FoundHugepages, donated_tail: bool, pays: bool) -> Self {
        let advise = (got.fresh && pays).then_some((got.range.first, got.range.count));
        let added = got.added.filter(|_| pays);
        Self {
            donated_tail,
            advise,
            added,
            ..Self::at(got.range.first.first_page(), got.range.zeroed)
        }
    }
}
