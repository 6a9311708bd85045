//! Where the heap grows into, and what of it goes back.

use super::{Asks, State};
use crate::legacy_page_heap::wish::Wish;
use crate::{Reserve, TakenRange};
use strata_os::{AddressRange, Advice, Clock, PageSource, ThpMode};
use strata_span::{
    Address, HUGEPAGE_BYTES, HugepageCount, MetadataKind, PageCount, PageId, PageSize, Platform,
    SpanHandle, SpanPlace,
};

/// From this much in use on the kernel is asked for hugepages, where it wants to be asked. Small
/// heaps do without: a hugepage costs them up to 2 MiB. At half as much a mid-sized process pays
/// for hugepages that it hardly fills; at twice, it has its first 32 MiB on small pages.
const HUGEPAGES_FROM_BYTES: usize = 16 << 20;

impl<P: PageSize> State<P> {
    /// Takes whole hugepages from the reserve, enough for the wish, and enters them as unbacked.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn grow<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        wish: Wish<P>,
    ) -> Option<SpanHandle> {
        let (count, align) = (wish.pages.hugepages_up(), wish.align.hugepages_up().get());
        self.grow_by(platform, |reserve| reserve.take_aligned(platform, count, align))
    }

    /// Enters what `take` takes from the reserve as unbacked.
    pub(super) fn grow_by<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        take: impl FnOnce(&mut Reserve) -> Option<TakenRange>,
    ) -> Option<SpanHandle> {
        let identity = self.identity(platform)?;
        let span = platform.spans().allocate_span(platform.arena(), platform.metadata())?;
        let Some(taken) = take(&mut self.reserve) else {
            Self::give_up(platform, span);
            return None;
        };
        let first = PageId::from_address(taken.range.start);
        let pages = PageCount::new(taken.range.bytes >> P::SHIFT);
        if !platform.map().ensure(platform.arena(), platform.metadata(), first, pages) {
            self.reserve.put_back(taken);
            // Kept, what was committed for it could be all that the process may have, and no request would be met again.
            self.reserve.give_back_ahead(platform);
            Self::give_up(platform, span);
            return None;
        }
        for index in 0..pages.hugepages_up().get() {
            let hugepage = first.hugepage() + HugepageCount::new(index);
            platform.map().set_tracker(hugepage, identity.non_null().map(core::ptr::NonNull::cast));
        }
        self.advise(platform, taken.range);
        self.unmapped += pages;
        span.set_range(first, pages);
        span.set_zeroed(taken.zeroed);
        platform.map().set_ends(span);
        let now_ns = platform.clock().now_ns();
        self.started_ns.get_or_insert(now_ns);
        self.enter(platform, span, SpanPlace::Released, now_ns);
        Some(span)
    }

    /// Asks for hugepages behind a range that was just taken. A hint: the answer does not matter.
    fn advise<E: Platform<Pages = P>>(&mut self, platform: &E, range: AddressRange) {
        if self.in_use.bytes() < HUGEPAGES_FROM_BYTES {
            return;
        }
        if matches!(self.asks_for_hugepages, Asks::NotKnown) {
            let asks = platform.source().thp_mode() == ThpMode::Madvise;
            self.asks_for_hugepages = if asks { Asks::Yes } else { Asks::No };
        }
        if matches!(self.asks_for_hugepages, Asks::Yes) {
            let _ = platform.source().advise(range, Advice::Hugepage);
        }
    }

    /// The address that marks this heap's hugepages; made at the first growth.
    fn identity<E: Platform<Pages = P>>(&mut self, platform: &E) -> Option<Address> {
        if self.identity.is_none() {
            let (arena, source) = (platform.arena(), platform.metadata());
            let bytes = size_of::<u64>();
            let place = arena.allocate(source, bytes, bytes, MetadataKind::Other)?;
            self.identity = Some(Address::of(place.as_ptr().cast_const()));
        }
        self.identity
    }

    /// A part of what was reserved ahead goes back, or, where nothing was, a free span that is not backed.
    pub(in crate::legacy_page_heap) fn give_back_reserve<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
    ) -> usize {
        match self.reserve.give_back_half(platform) {
            0 => self.give_back_longest(platform),
            bytes => bytes,
        }
    }

    /// Where address space is short, all that is reserved ahead and the longest free span that is not backed go back to
    /// the source: one step of that. False if nothing went.
    pub(in crate::legacy_page_heap) fn give_back_space<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
    ) -> bool {
        self.reserve.is_short()
            && (self.reserve.give_back_ahead(platform) > 0 || self.give_back_longest(platform) > 0)
    }

    /// The hugepages of the longest free span that is not backed go back to the source; says how many bytes.
    #[unsafe(link_section = ".text_rarely")]
    fn give_back_longest<E: Platform<Pages = P>>(&mut self, platform: &E) -> usize {
        let Some(span) = self.returned.longest() else { return 0 };
        let Some(first) = span.start::<P>().align_up(HUGEPAGE_BYTES) else { return 0 };
        let first = PageId::<P>::from_address(first.value());
        let end = PageId::<P>::from_address(span.range::<P>().end() & !(HUGEPAGE_BYTES - 1));
        if first >= end || self.isolate(platform, span, first, end - first).is_none() {
            return 0;
        }
        let range = span.range::<P>();
        // Nobody may take its neighbourhood for this heap's once it is gone.
        platform.map().clear_ends(first, end - first);
        let hugepages = || (0..range.bytes / HUGEPAGE_BYTES).map(HugepageCount::new);
        hugepages().for_each(|count| platform.map().set_tracker(first.hugepage() + count, None));
        let gone = PageCount::<P>::new(self.reserve.give_back(platform, range) >> P::SHIFT);
        self.unmapped -= gone;
        if gone == end - first {
            Self::give_up(platform, span);
            return range.bytes;
        }
        // The source refused the rest.
        let rest = first + gone;
        span.set_range(rest, end - rest);
        let identity = self.identity.and_then(Address::non_null).map(core::ptr::NonNull::cast);
        hugepages()
            .skip(gone.hugepages_up().get())
            .for_each(|count| platform.map().set_tracker(first.hugepage() + count, identity));
        platform.map().set_ends(span);
        self.enter(platform, span, SpanPlace::Released, span.note());
        gone.bytes()
    }

    pub(in crate::legacy_page_heap) fn for_each_reservation(
        &self,
        visit: impl FnMut(AddressRange),
    ) {
        self.reserve.for_each_reservation(visit);
    }
}
