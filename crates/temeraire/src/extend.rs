//! Spans that grow where they are.

use crate::{
    handle::Handle,
    huge_address_map::HugeRange,
    state::State,
    supply::{FoundHugepages, KeeperHandle},
    tracker::{FillerSet, HugepageTracker},
};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform};

/// A span as it is before it grows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growing<P: PageSize> {
    pub(crate) first: PageId<P>,
    pub(crate) from: PageCount<P>,
    pub(crate) to: PageCount<P>,
    pub(crate) donated_tail: bool,
}

/// A span that grew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    /// Whether its last hugepage is donated to the filler now.
    pub(crate) donated_tail: bool,
    /// Hugepages that came from the system for it and should be advised.
    pub(crate) advise: Option<(Hugepage, HugepageCount)>,
}

impl<P: PageSize> State<P> {
    /// Makes a span longer if the pages behind it are free.
    pub(crate) fn extend<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: Growing<P>,
        clock_ns: u64,
    ) -> Option<Grown> {
        let now_ns = self.time(clock_ns);
        let Growing { first, from, to, donated_tail } = span;
        let in_place = Grown { donated_tail, advise: None };
        let grown = match self.keeper_of(platform, first.hugepage()) {
            Some(KeeperHandle::Tracker(tracker)) => {
                let start = first.index_in_hugepage();
                let extended = self.filler.extend(tracker, start, from.get(), to.get(), now_ns);
                extended.then_some(in_place)
            }
            Some(KeeperHandle::Region(region)) => {
                let extended = self.regions.extend(region, first, from, to, now_ns);
                extended.then_some(in_place)
            }
            None if from.hugepages_up() == to.hugepages_up() => {
                let before_tail = to.hugepages_up().saturating_sub(HugepageCount::ONE).pages::<P>();
                let tail = self.donated_tail_of(platform, &span)?;
                let (from, to) = ((from - before_tail).get(), (to - before_tail).get());
                self.filler.extend(tail, 0, from, to, now_ns).then_some(in_place)
            }
            None => self.extend_by_hugepages(platform, &span, now_ns),
        }?;
        self.in_use_pages += (to - from).get();
        self.records.record_extension(from, to);
        Some(grown)
    }

    /// Makes a large span longer by whole hugepages behind it. Its tail must be all its own, and
    /// the new one is donated in its place.
    fn extend_by_hugepages<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: &Growing<P>,
        now_ns: u64,
    ) -> Option<Grown> {
        let old_tail = if span.donated_tail {
            let tail = self.donated_tail_of(platform, span)?;
            let free = tail.allocations() == 1
                && tail.set.get() != FillerSet::Releasing
                && !tail.forbidden.get();
            Some(free.then_some(tail)?)
        } else {
            None
        };
        let (old, new) = (span.from.hugepages_up(), span.to.hugepages_up());
        let slack = new.pages::<P>() - span.to;
        let new_tail = if slack == PageCount::ZERO {
            None
        } else {
            let tracker = self.hire(platform)?;
            if !self.nodes.promise(platform) {
                self.dismiss_unused(tracker);
                return None;
            }
            Some(tracker)
        };
        let place = span.first.hugepage() + old;
        let Some(got) = self.take_hugepages_at(platform, place, new - old, now_ns) else {
            if let Some(tracker) = new_tail {
                self.nodes.waive();
                self.dismiss_unused(tracker);
            }
            return None;
        };
        // They become part of the span's range, which has a promise.
        self.nodes.waive();
        if let Some(tail) = old_tail {
            self.take_tail_back(platform, tail, span, now_ns);
        }
        if let Some(tracker) = new_tail {
            let tail = got.range.end() - HugepageCount::ONE;
            let head = PageCount::PER_HUGEPAGE - slack;
            self.assign(platform, tracker, tail, got.range.zeroed, now_ns);
            self.filler.contribute(tracker, head, false, true, now_ns)?;
        }
        let advise = got.fresh.then_some((got.range.first, got.range.count));
        Some(Grown { donated_tail: new_tail.is_some(), advise })
    }

    /// Takes a donated tail, on which nobody else lives, from the filler: it is part of its span
    /// again.
    fn take_tail_back<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        tail: Handle<HugepageTracker>,
        span: &Growing<P>,
        now_ns: u64,
    ) {
        let before_tail = span.from.hugepages_up().saturating_sub(HugepageCount::ONE);
        let head = span.from - before_tail.pages::<P>();
        if let Some(emptied) = self.filler.deallocate(tail, 0, head, now_ns) {
            self.dismiss(platform, emptied);
            self.nodes.waive();
        }
    }

    /// The tracker of a large span's donated tail.
    fn donated_tail_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: &Growing<P>,
    ) -> Option<Handle<HugepageTracker>> {
        let last = span.first + span.from - PageCount::ONE;
        match self.keeper_of(platform, last.hugepage()).filter(|_| span.donated_tail)? {
            KeeperHandle::Tracker(tail) => Some(tail),
            KeeperHandle::Region(_) => None,
        }
    }

    /// The hugepages from `first` on, from the cache or the allocator.
    fn take_hugepages_at<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        count: HugepageCount,
        now_ns: u64,
    ) -> Option<FoundHugepages> {
        let nodes = &mut self.nodes;
        if let Some(range) = self.cache.allocate_at(platform, first, count, nodes, now_ns) {
            return Some(FoundHugepages { range, fresh: false });
        }
        let range: HugeRange = self.allocator.allocate_at(platform, first, count, nodes)?;
        self.cache.note_taken_elsewhere(now_ns, count);
        Some(FoundHugepages { range, fresh: true })
    }
}
