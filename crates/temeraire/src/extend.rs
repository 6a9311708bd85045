//! Spans that grow where they are.

use crate::{
    advice::HugepageAdvice,
    filler::FillerKind,
    handle::Handle,
    huge_range::HugeRange,
    region::Region,
    state::State,
    supply::{Fresh, KeeperHandle},
    tracker::{FillerSet, HugepageTracker},
};
use strata_os::PageSource;
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform};

/// A span as it is before it grows, and how long it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growing<P: PageSize> {
    /// The span's first page.
    pub(crate) first: PageId<P>,
    /// Its length.
    pub(crate) from: PageCount<P>,
    /// The length that it is to have, which is more.
    pub(crate) to: PageCount<P>,
    /// Whether its last hugepage was donated to the filler.
    pub(crate) donated_tail: bool,
}

impl<P: PageSize> Growing<P> {
    fn added(&self) -> PageCount<P> {
        self.to - self.from
    }

    /// The last page that the span has before.
    fn last(&self) -> PageId<P> {
        self.first + self.from - PageCount::ONE
    }
}

/// What became of a span that grew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    /// Whether its last hugepage is donated to the filler now.
    pub(crate) donated_tail: bool,
    /// Hugepages that came from the system for it and should be advised.
    pub(crate) advise: Option<(Hugepage, HugepageCount)>,
}

/// Hugepages that were taken behind a run of hugepages in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    /// In so many pieces, each with a promise of a node.
    pub(crate) pieces: usize,
    /// Whether the last of them reads as zero.
    pub(crate) zeroed: bool,
    /// From the first to the last that did not come from the cache.
    pub(crate) fresh: Option<(Hugepage, HugepageCount)>,
}

/// A part of them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    range: HugeRange,
    cached: bool,
}

/// Runs of free hugepages that one extension looks at. They take turns in being backed and not, so
/// that at half as many a span stops growing where parts of what lies behind it were given back; at
/// twice, the lock is held for a microsecond more.
const MOST_PIECES: usize = 8;

impl<P: PageSize> State<P> {
    /// Adds the pages behind a span to it, if they are free. None, and nothing changes, if not.
    pub(crate) fn extend<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: Growing<P>,
    ) -> Option<Grown> {
        let now_ns = self.time(platform);
        let grown = match self.keeper_of(platform, span.last().hugepage()) {
            Some(KeeperHandle::Tracker(tracker)) => {
                self.extend_in_hugepage(platform, &span, tracker, now_ns)
            }
            Some(KeeperHandle::Region(region)) => self.extend_in_region(&span, region, now_ns),
            None => self.extend_large(platform, &span, None, now_ns),
        }?;
        self.in_use_pages += span.added().get();
        self.note_peak();
        self.records.record_extension(span.from, span.to);
        let in_use = PageCount::<P>::new(self.in_use_pages).bytes();
        let run = span.to.hugepages_up();
        let worth_it = |_: &(_, _)| HugepageAdvice::is_worth_it(in_use, run, false);
        Some(Grown { advise: grown.advise.filter(worth_it), ..grown })
    }

    /// Extends a span that ends in a hugepage of the filler: within that hugepage, or, if nobody
    /// else has pages there and the span is to fill it, as a large span.
    fn extend_in_hugepage<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: &Growing<P>,
        tracker: Handle<HugepageTracker>,
        now_ns: u64,
    ) -> Option<Grown> {
        let (last, added) = (span.last(), span.added().get());
        let end = last.index_in_hugepage() + 1;
        let begins_before = span.first.hugepage() < last.hugepage();
        let start = if begins_before { 0 } else { span.first.index_in_hugepage() };
        let is_across = begins_before && self.keeper_of(platform, span.first.hugepage()).is_some();
        if end + added >= Self::PER_HUGEPAGE
            && start == 0
            && !is_across
            && Self::may_leave_filler(&tracker)
        {
            return self.extend_large(platform, span, Some(tracker), now_ns);
        }
        // Hugepages for dense spans count on it that each of these has one page.
        let grown = !tracker.dense.get()
            && self.filler.extend(tracker, start, end - start, end - start + added, now_ns);
        grown.then_some(Grown { donated_tail: span.donated_tail, advise: None })
    }

    /// Whether a hugepage of the filler may become a part of its only span: nothing of it is on its
    /// way to the kernel, which may back it with a hugepage.
    fn may_leave_filler(tracker: &HugepageTracker) -> bool {
        let at_rest = tracker.set.get() != FillerSet::Releasing;
        tracker.allocations() == 1 && at_rest && !tracker.dense.get() && !tracker.is_forbidden()
    }

    fn extend_in_region(
        &mut self,
        span: &Growing<P>,
        region: Handle<Region>,
        now_ns: u64,
    ) -> Option<Grown> {
        let (first, added) = (span.last() + PageCount::ONE, span.added());
        let fresh = self.regions.extend(region, first, added, now_ns)?.fresh;
        let (low, high) = (first.hugepage(), (first + added - PageCount::ONE).hugepage());
        let advise = fresh.then(|| (low, high - low + HugepageCount::ONE));
        Some(Grown { donated_tail: false, advise })
    }

    /// Extends a span that begins with a hugepage and is to end behind its last one, or with it.
    /// `tail`: the last one's tracker, which has no other allocation. The hugepages behind come
    /// from the cache and the allocator, and the last of them is donated if it is used in part.
    #[unsafe(link_section = ".text_rarely")]
    fn extend_large<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: &Growing<P>,
        tail: Option<Handle<HugepageTracker>>,
        now_ns: u64,
    ) -> Option<Grown> {
        let (own, before) = (span.first.hugepage(), span.from.hugepages_up());
        let count = span.to.hugepages_up();
        let slack = count.pages::<P>() - span.to;
        let donated_tail = slack > PageCount::ZERO;
        let new_tail = if donated_tail { Some(self.hire(platform)?) } else { None };
        let Some(behind) = self.take_behind(platform, own, before, count, now_ns) else {
            new_tail.into_iter().for_each(|tracker| self.dismiss_unused(tracker));
            return None;
        };
        // The span holds a promise of a node for its whole hugepages, and one for a tail that is
        // a range of its own.
        let promises = 1 + usize::from(tail.is_some() && before > HugepageCount::ONE);
        for _ in 1 + usize::from(donated_tail)..promises + behind.pieces {
            self.nodes.waive();
        }
        if let Some(tail) = tail {
            self.filler.withdraw(tail);
            self.dismiss(platform, tail);
        }
        match new_tail {
            Some(tracker) => {
                let hugepage = own + count - HugepageCount::ONE;
                // What a span grows into may have been asked for with it: it counts as backed.
                let fresh = Fresh { zeroed: behind.zeroed, by_page: false };
                self.assign(platform, tracker, hugepage, fresh, now_ns);
                let head = PageCount::PER_HUGEPAGE - slack;
                self.filler.contribute(tracker, head, FillerKind::Sparse, true, now_ns)?;
            }
            None => self.filler.report(now_ns),
        }
        Some(Grown { donated_tail, advise: behind.fresh })
    }

    /// Takes the hugepages from `before` to `count`, counted from `own`, where those up to
    /// `before` are in use. The heap grows for that where the reserve goes on just there. None, and
    /// all is as it was, if they are not all free or there is no memory for what that needs.
    fn take_behind<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        own: Hugepage,
        before: HugepageCount,
        count: HugepageCount,
        now_ns: u64,
    ) -> Option<Behind> {
        let added = count - before;
        if added == HugepageCount::ZERO {
            return Some(Behind { pieces: 0, zeroed: false, fresh: None });
        }
        while let Some(empty) = self.filler.take_empty() {
            self.give_up(platform, empty, now_ns);
        }
        let mut free = self.free_up_to(platform, own, before, count);
        if free < count {
            let nodes = &mut self.nodes;
            self.allocator.grow_at(platform, own + free, count - free, nodes, now_ns)?;
            free = self.free_up_to(platform, own, before, count);
        }
        if free < count {
            return None;
        }
        let behind = self.take_pieces(platform, own + before, added, now_ns)?;
        match behind.fresh {
            None => self.cache.note_hit(now_ns, added),
            Some(_) => self.cache.note_taken_elsewhere(now_ns, added),
        }
        Some(behind)
    }

    /// How far the free hugepages behind `before` go, counted from `own`: up to `count` or more,
    /// or less.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn free_up_to<E: Platform>(
        &self,
        platform: &E,
        own: Hugepage,
        before: HugepageCount,
        count: HugepageCount,
    ) -> HugepageCount {
        let mut free = before;
        for _ in 0..MOST_PIECES {
            if free >= count {
                break;
            }
            let at = own + free;
            let (cached, unbacked) = (self.cache.ranges(), self.allocator.free());
            let Some(node) = cached.beginning_at(at).or_else(|| unbacked.beginning_at(at)) else {
                break;
            };
            let next = node.range();
            if !platform.source().may_merge(own.range(free), next.first.range(next.count)) {
                break;
            }
            free += next.count;
        }
        free
    }

    /// Takes `count` hugepages from `first` on, which are free.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn take_pieces<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        count: HugepageCount,
        now_ns: u64,
    ) -> Option<Behind> {
        let end = first + count;
        let mut taken = [None; MOST_PIECES];
        let mut behind = Behind { pieces: 0, zeroed: false, fresh: None };
        let mut at = first;
        for place in &mut taken {
            if at == end {
                break;
            }
            let Some(piece) = self.take_piece(platform, at, end - at, now_ns) else { break };
            *place = Some(piece);
            at = piece.range.end();
            behind.pieces += 1;
            behind.zeroed = piece.range.zeroed && !piece.cached;
            if !piece.cached {
                let fresh = behind.fresh.map_or(piece.range.first, |(first, _)| first);
                behind.fresh = Some((fresh, at - fresh));
            }
        }
        if at == end {
            return Some(behind);
        }
        taken.into_iter().flatten().for_each(|piece| self.put_piece_back(platform, piece, now_ns));
        None
    }

    /// Takes up to `most` hugepages from `first` on, with a promise of a node.
    fn take_piece<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        most: HugepageCount,
        now_ns: u64,
    ) -> Option<Piece> {
        let nodes = &mut self.nodes;
        if self.cache.ranges().beginning_at(first).is_some() {
            let range = self.cache.take_at(platform, first, most, nodes, now_ns)?;
            return Some(Piece { range, cached: true });
        }
        let range = self.allocator.take_at(platform, first, most, nodes)?;
        Some(Piece { range, cached: false })
    }

    fn put_piece_back<E: Platform>(&mut self, platform: &E, piece: Piece, now_ns: u64) {
        if piece.cached {
            self.cache.put(platform, piece.range, &mut self.nodes, now_ns);
        } else {
            self.allocator.deallocate(platform, piece.range, &mut self.nodes);
        }
    }
}

#[cfg(test)]
mod tests;
