//! What the lock of the legacy page heap guards.

mod extend;

use super::wish::{MOST_PAGES, Wish};
use crate::{
    AllocationRecords, Density, FreeSpans, HasStats, LegacyFigures, LimitFigures, PageHeapStats,
    ReleaseReason, ReleasedBytes, Reserve, SpanAges, TakenRange, allocation_records::EXACT_LENGTHS,
    free_set::FreeSet,
};
use strata_os::{AddressRange, Advice, Clock, PageSource, ThpMode};
use strata_span::SizeClass;
use strata_span::{
    Address, HUGEPAGE_BYTES, HugepageCount, MetadataKind, PageCount, PageId, PageSize, Platform,
    SpanHandle, SpanPlace, report_not_in_use,
};

/// From this much in use on the kernel is asked for hugepages, where it wants to be asked. Small
/// heaps do without: a hugepage costs them up to 2 MiB. At half as much a mid-sized process pays
/// for hugepages that it hardly fills; at twice, it has its first 32 MiB on small pages.
const HUGEPAGES_FROM_BYTES: usize = 16 << 20;

/// Spans that one step of taking figures looks at: each may be a cache miss or two, so that the lock is held for some 50
/// microseconds. At twice, for twice as long; at half, the lock is taken twice as often.
const LOOKS: usize = 512;

/// Spans that are looked at for one that is aligned by chance. At half, more of great alignment is had from the
/// source again; at twice, a wish that grows in the end takes some microseconds more.
const ALIGNED_LOOKS: usize = 128;

/// Whether the kernel wants to be asked for hugepages.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Asks {
    NotKnown = 0,
    No,
    Yes,
}

/// Free spans, address space, and figures. All zero bits are nothing yet.
#[derive(Debug)]
pub(super) struct State<P: PageSize> {
    normal: FreeSet<P>,
    returned: FreeSet<P>,
    reserve: Reserve,
    /// An address that no other heap has: the mark of this heap's hugepages in the page map.
    identity: Option<Address>,
    records: AllocationRecords<P>,
    in_use: PageCount<P>,
    /// Spans on their way to the kernel included.
    free: PageCount<P>,
    unmapped: PageCount<P>,
    /// The most that was in use and free at a time.
    peak_backed: PageCount<P>,
    spans_in_use: u64,
    released: ReleasedBytes,
    release_failures: u64,
    pub(super) limits: LimitFigures,
    /// The list that the next span to be given back is taken from.
    next_list: usize,
    started_ns: Option<u64>,
    /// Whether the kernel wants to be asked for hugepages; found out once.
    asks_for_hugepages: Asks,
}

impl<P: PageSize> State<P> {
    strata_sync::const_fn! {
        /// Nothing yet.
        pub(super) const fn new() -> Self {
            Self {
                normal: FreeSet::new(),
                returned: FreeSet::new(),
                reserve: Reserve::new(),
                identity: None,
                records: AllocationRecords::new(),
                in_use: PageCount::ZERO,
                free: PageCount::ZERO,
                unmapped: PageCount::ZERO,
                peak_backed: PageCount::ZERO,
                spans_in_use: 0,
                released: ReleasedBytes::NONE,
                release_failures: 0,
                limits: LimitFigures::NONE,
                next_list: 0,
                started_ns: None,
                asks_for_hugepages: Asks::NotKnown,
            }
        }
    }

    /// A span as wished, from what is free or from the reserve.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn allocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        wish: Wish<P>,
    ) -> Option<SpanHandle> {
        let span = match self.find(wish) {
            Some(span) => span,
            None => self.grow(platform, wish)?,
        };
        let first = if wish.align == PageCount::ONE {
            Self::end_to_carve(platform, span, wish.pages)
        } else {
            wish.first_in(span)?
        };
        let was_backed = span.place() == SpanPlace::Free;
        self.isolate(platform, span, first, wish.pages)?;
        *self.pages_at(was_backed) -= wish.pages;
        self.in_use += wish.pages;
        self.note_peak();
        self.spans_in_use += 1;
        self.records.record_allocation(wish.pages);
        span.set_class(SizeClass::NONE);
        span.set_back_end(0);
        span.set_dense(wish.density == Density::Dense);
        span.set_donated_tail(false);
        span.set_note(0);
        span.set_place(SpanPlace::InUse);
        Some(span)
    }

    /// Takes a span back that the application had.
    pub(super) fn deallocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        now_ns: u64,
    ) {
        let pages = span.page_count();
        if !span.leave_use() {
            return report_not_in_use::<P>(span.first(), &span);
        }
        self.in_use -= pages;
        self.free += pages;
        self.spans_in_use -= 1;
        self.records.record_deallocation(pages);
        span.set_class(SizeClass::NONE);
        span.set_zeroed(false);
        span.set_object_map(0);
        span.set_thread(0);
        span.set_object_capacity(0);
        platform.map().set_ends(span);
        self.enter(platform, span, SpanPlace::Free, now_ns);
    }

    /// Takes the backed span that waited longest out of the next list that has one, for the kernel.
    pub(super) fn begin_release<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
    ) -> Option<SpanHandle> {
        // One round over the lists: a list whose oldest span has no whole kernel page is passed.
        for _ in 0..=EXACT_LENGTHS {
            let next = self.normal.next_occupied(self.next_list);
            let list_index = next.or_else(|| self.normal.next_occupied(0))?;
            self.next_list = list_index + 1;
            let span = self.normal.list(list_index)?.last()?;
            if let Some((first, pages)) = Self::releasable(platform, span)
                && self.isolate(platform, span, first, pages).is_some()
            {
                span.set_place(SpanPlace::Releasing);
                return Some(span);
            }
            self.normal.remove(span);
            self.normal.insert(span);
        }
        None
    }

    /// Counts a span that the kernel took, and enters it as unbacked.
    pub(super) fn end_release<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        reason: ReleaseReason,
        now_ns: u64,
    ) {
        let pages = span.page_count();
        self.free -= pages;
        self.unmapped += pages;
        self.released.add(reason, pages.bytes() as u64);
        span.set_zeroed(true);
        self.enter(platform, span, SpanPlace::Released, now_ns);
    }

    /// Enters a span that the kernel refused as what it was; its age stays.
    pub(super) fn undo_release<E: Platform<Pages = P>>(&mut self, platform: &E, span: SpanHandle) {
        self.release_failures += 1;
        self.enter(platform, span, SpanPlace::Free, span.note());
    }

    /// Whether so many pages are in no span, wherever they are.
    pub(super) fn has_free(&self, pages: PageCount<P>) -> bool {
        self.free + self.unmapped >= pages
    }

    /// All backed free pages, if with them, or with the address space that they lie in, there may be a span of `pages`
    /// pages.
    pub(super) fn free_if_enough(&self, pages: PageCount<P>) -> Option<PageCount<P>> {
        let enough = self.free + self.unmapped >= pages || self.reserve.is_short();
        (enough && self.free > PageCount::ZERO).then_some(self.free)
    }

    /// Whether `pages` pages more are beyond the hard limit whatever is given back.
    pub(super) fn is_forbidden<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.forbids(platform, self.in_use, pages)
    }

    /// Whether a limit is to be looked at closely, with `pages` pages that are to be backed besides.
    pub(super) fn is_beyond_limits<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.any() && self.limits.is_beyond(platform, self.in_use + self.free, pages)
    }

    /// The same for the hard one alone.
    pub(super) fn is_beyond_hard_limit<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.is_beyond_hard(platform, self.in_use + self.free, pages)
    }

    /// Pages above the soft limit.
    pub(super) fn soft_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        self.limits.soft_excess(platform, self.in_use + self.free, pages)
    }

    /// Pages above the hard limit.
    pub(super) fn hard_excess<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> Option<PageCount<P>> {
        self.limits.hard_excess(platform, self.in_use + self.free, pages)
    }

    /// Whether all that was not enough.
    pub(super) fn fails_limits<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        pages: PageCount<P>,
    ) -> bool {
        self.limits.fails(platform, self.in_use + self.free, pages)
    }

    /// After pages came into use, which may have been unbacked: raises the peak.
    fn note_peak(&mut self) {
        self.peak_backed = self.peak_backed.max(self.in_use + self.free);
    }

    /// The most pages in use since the last call.
    pub(super) fn take_peak(&mut self) -> PageCount<P> {
        self.records.take_peak_pages()
    }

    /// Fills in all figures but the ages.
    pub(super) fn fill_in(&self, figures: &mut LegacyFigures, now_ns: u64) {
        let length_of =
            |set: &FreeSet<P>, index| set.list(index).map_or(0, |list| list.len() as u64);
        for (index, counts) in figures.by_length.iter_mut().enumerate().skip(1) {
            counts.backed = u32::try_from(length_of(&self.normal, index)).unwrap_or(u32::MAX);
            counts.unmapped = u32::try_from(length_of(&self.returned, index)).unwrap_or(u32::MAX);
        }
        let page_bytes = P::BYTES as u64;
        figures.page_bytes = page_bytes;
        figures.large_pages = FreeSet::<P>::LARGE.get() as u64;
        figures.large = FreeSpans {
            pages: figures.large_pages,
            backed_spans: length_of(&self.normal, 0),
            unmapped_spans: length_of(&self.returned, 0),
            backed_bytes: self.normal.large_pages() * page_bytes,
            unmapped_bytes: self.returned.large_pages() * page_bytes,
        };
        let elapsed_ns = now_ns.saturating_sub(self.started_ns.unwrap_or(now_ns));
        self.records.fill_in(&mut figures.allocations, elapsed_ns);
    }

    /// Adds the ages of the free spans that begin from `at` on, up to `end` or as far as one step goes. Says where the
    /// next step begins.
    pub(super) fn record_ages<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        mut at: PageId<P>,
        end: PageId<P>,
        now_ns: u64,
        ages: &mut SpanAges,
    ) -> PageId<P> {
        for _ in 0..LOOKS {
            if at >= end {
                break;
            }
            // Spans lie side by side; none is found behind the last, and within one that grew or merged meanwhile.
            let Some(span) = platform.map().span_of(at).filter(|span| span.end() > at) else {
                at = at + PageCount::ONE;
                continue;
            };
            let table = match span.place() {
                SpanPlace::Free | SpanPlace::Releasing => Some(&mut ages.live),
                SpanPlace::Released => Some(&mut ages.unmapped),
                SpanPlace::InUse | SpanPlace::Unused => None,
            };
            if let Some(table) = table.filter(|_| span.first() == at) {
                table.record(span.pages() as u64, now_ns.saturating_sub(span.note()));
            }
            at = span.end();
        }
        at
    }

    /// A part of what was reserved ahead goes back, or, where nothing was, a free span that is not backed.
    pub(super) fn give_back_reserve<E: Platform<Pages = P>>(&mut self, platform: &E) -> usize {
        match self.reserve.give_back_half(platform) {
            0 => self.give_back_longest(platform),
            bytes => bytes,
        }
    }

    /// Where address space is short, all that is reserved ahead and the longest free span that is not backed go back to
    /// the source: one step of that. False if nothing went.
    pub(super) fn give_back_space<E: Platform<Pages = P>>(&mut self, platform: &E) -> bool {
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

    pub(super) fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.reserve.for_each_reservation(visit);
    }

    /// A free span that the wish fits in: by length, of equals a backed one below 1 MiB and the
    /// lowest above.
    fn find(&self, wish: Wish<P>) -> Option<SpanHandle> {
        let tight = self.shortest(wish.pages)?;
        if wish.align == PageCount::ONE {
            return Some(tight);
        }
        // One that is aligned by chance, as what came back from a wish like this is, before one with room for any place.
        let fits = |span: &SpanHandle| wish.first_in(*span).is_some();
        let by_chance = |set: &FreeSet<P>| set.at_least(wish.pages).take(ALIGNED_LOOKS).find(fits);
        let (normal, returned) = (by_chance(&self.normal), by_chance(&self.returned));
        let shorter = [normal, returned].into_iter().flatten().min_by_key(|span| span.pages());
        if shorter.is_some() {
            return shorter;
        }
        self.shortest(wish.with_slack())
    }

    /// The shortest free span of at least `pages` pages.
    #[unsafe(link_section = ".text_rarely")]
    fn shortest(&self, pages: PageCount<P>) -> Option<SpanHandle> {
        let small = match (self.normal.best_small(pages), self.returned.best_small(pages)) {
            (Some(normal), Some(returned)) if returned.pages() < normal.pages() => Some(returned),
            (normal, returned) => normal.or(returned),
        };
        small.or_else(|| match (self.normal.best_large(pages), self.returned.best_large(pages)) {
            (Some(normal), Some(returned)) if order::<P>(returned) < order::<P>(normal) => {
                Some(returned)
            }
            (normal, returned) => normal.or(returned),
        })
    }

    /// Where in `span` to carve `pages` pages: in front, unless it has a neighbour above and none
    /// below. Then at the end, so that the rest can join what the system may give below.
    fn end_to_carve<E: Platform<Pages = P>>(
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> PageId<P> {
        let below = span.first::<P>() - PageCount::ONE;
        let from_end = platform.map().span_of(below).is_none()
            && platform.map().span_of(span.end::<P>()).is_some();
        if from_end { span.end() - pages } else { span.first() }
    }

    /// Takes a free span out of its set and cuts it down to `pages` pages from `first`; what is
    /// left over on either side stays free as it was. Changes nothing where there is no memory for
    /// the structures.
    #[unsafe(link_section = ".text_rarely")]
    fn isolate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        first: PageId<P>,
        pages: PageCount<P>,
    ) -> Option<()> {
        let (start, end) = (span.first::<P>(), span.end::<P>());
        let (low, high) = (first - start, end - (first + pages));
        let rests = [(start, low), (first + pages, high)];
        let mut structures = [None; 2];
        for (structure, (_, length)) in structures.iter_mut().zip(rests) {
            if length > PageCount::ZERO {
                *structure = platform.spans().allocate_span(platform.arena(), platform.metadata());
                if structure.is_none() {
                    structures.into_iter().flatten().for_each(|span| Self::give_up(platform, span));
                    return None;
                }
            }
        }
        let place = span.place();
        self.set_at(place).remove(span);
        span.set_range(first, pages);
        for (rest, (start, length)) in structures.into_iter().zip(rests) {
            let Some(rest) = rest else { continue };
            rest.set_range(start, length);
            rest.set_place(place);
            rest.set_zeroed(span.is_zeroed());
            rest.set_note(span.note());
            platform.map().set_ends(rest);
            self.set_at(place).insert(rest);
        }
        platform.map().set_ends(span);
        Some(())
    }

    /// Enters a span, whose ends are in the map and which is in no set, as free in `place` since
    /// `since_ns`, after merging it with its neighbours in the same place. Merged, its age is the
    /// mean.
    #[unsafe(link_section = ".text_rarely")]
    fn enter<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        place: SpanPlace,
        since_ns: u64,
    ) {
        span.set_place(place);
        span.set_note(since_ns);
        let below = span.first::<P>() - PageCount::ONE;
        if let Some(low) = self.neighbour(platform, span.first(), below, place)
            && platform.source().may_merge(low.range::<P>(), span.range::<P>())
        {
            self.absorb(platform, span, low);
        }
        if let Some(high) = self.neighbour(platform, span.last(), span.end(), place)
            && platform.source().may_merge(span.range::<P>(), high.range::<P>())
        {
            self.absorb(platform, span, high);
        }
        self.set_at(place).insert(span);
    }

    /// The free span of this heap and in `place` that `page` beside `own` belongs to.
    fn neighbour<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        own: PageId<P>,
        page: PageId<P>,
        place: SpanPlace,
    ) -> Option<SpanHandle> {
        // Another heap's hugepage may lie beside this one's, and its spans are not ours to read.
        if page.hugepage() != own.hugepage() {
            let tracker = platform.map().tracker(page.hugepage())?;
            if Some(Address::of(tracker.as_ptr())) != self.identity {
                return None;
            }
        }
        platform.map().span_of(page).filter(|span| span.place() == place)
    }

    /// Makes a neighbour in the same place a part of `span`.
    #[unsafe(link_section = ".text_rarely")]
    fn absorb<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        neighbour: SpanHandle,
    ) {
        let (pages, others) = (span.pages(), neighbour.pages());
        if pages + others > MOST_PAGES {
            return;
        }
        self.set_at(neighbour.place()).remove(neighbour);
        let mean = (u128::from(span.note()) * pages as u128
            + u128::from(neighbour.note()) * others as u128)
            / (pages + others) as u128;
        span.set_note(u64::try_from(mean).unwrap_or(u64::MAX));
        span.set_zeroed(span.is_zeroed() && neighbour.is_zeroed());
        platform.map().clear_ends(span.first::<P>(), span.page_count());
        platform.map().clear_ends(neighbour.first::<P>(), neighbour.page_count());
        span.set_range(
            span.first::<P>().min(neighbour.first()),
            PageCount::<P>::new(pages + others),
        );
        platform.map().set_ends(span);
        Self::give_up(platform, neighbour);
    }

    /// Takes whole hugepages from the reserve, enough for the wish, and enters them as unbacked.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn grow<E: Platform<Pages = P>>(&mut self, platform: &E, wish: Wish<P>) -> Option<SpanHandle> {
        let (count, align) = (wish.pages.hugepages_up(), wish.align.hugepages_up().get());
        self.grow_by(platform, |reserve| reserve.take_aligned(platform, count, align))
    }

    /// Enters what `take` takes from the reserve as unbacked.
    fn grow_by<E: Platform<Pages = P>>(
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

    /// The part of a free span that is whole kernel pages.
    fn releasable<E: Platform<Pages = P>>(
        platform: &E,
        span: SpanHandle,
    ) -> Option<(PageId<P>, PageCount<P>)> {
        let granule = platform.source().page_bytes().max(P::BYTES);
        let first = span.start::<P>().align_up(granule)?.value();
        let end = span.range::<P>().end() & !(granule - 1);
        let bytes = end.checked_sub(first).filter(|bytes| *bytes > 0)?;
        Some((PageId::from_address(first), PageCount::new(bytes >> P::SHIFT)))
    }

    /// Gives a structure back that no set, no map entry and no owner refers to.
    fn give_up<E: Platform<Pages = P>>(platform: &E, span: SpanHandle) {
        // SAFETY: the callers took it out of its set and of the map, or never put it there; it came
        // from this pool.
        unsafe { platform.spans().deallocate_span(span) };
    }

    fn set_at(&mut self, place: SpanPlace) -> &mut FreeSet<P> {
        match place {
            SpanPlace::Released => &mut self.returned,
            SpanPlace::Free | SpanPlace::Releasing | SpanPlace::InUse | SpanPlace::Unused => {
                &mut self.normal
            }
        }
    }

    fn pages_at(&mut self, backed: bool) -> &mut PageCount<P> {
        if backed { &mut self.free } else { &mut self.unmapped }
    }
}

impl<P: PageSize> HasStats for State<P> {
    fn stats(&self) -> PageHeapStats {
        let reserve = self.reserve.stats();
        PageHeapStats {
            reserved_bytes: reserve.reserved_bytes,
            system_bytes: reserve.taken_bytes,
            in_use_bytes: self.in_use.bytes() as u64,
            free_bytes: self.free.bytes() as u64,
            unmapped_bytes: self.unmapped.bytes() as u64,
            peak_backed_bytes: self.peak_backed.bytes() as u64,
            spans_in_use: self.spans_in_use,
            released: self.released,
            release_failures: self.release_failures,
            limits: self.limits,
            ..PageHeapStats::default()
        }
    }
}

/// Length, then address.
fn order<P: PageSize>(span: SpanHandle) -> (usize, PageId<P>) {
    (span.pages(), span.first())
}
