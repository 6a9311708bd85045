//! What the lock of the heap guards.

use crate::{
    lists::{List, Lists, MOST_ORDER},
    record::{Pages, Record, RecordHandle, ones, or, runs, span_of},
};
use core::marker::PhantomData;
use strata_os::{AddressRange, PageSource};
use strata_page_heap::{
    HasStats, LimitFigures, PageHeapStats, ReleasedBytes, Reserve, SpanRequest,
};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, PageSize, Platform, Pool};

/// Free blocks, address space and figures. All zero bits are none yet.
#[derive(Debug)]
pub(crate) struct State<P: PageSize> {
    pub(crate) lists: Lists,
    pub(crate) reserve: Reserve,
    pub(crate) limits: LimitFigures,
    pub(crate) released: ReleasedBytes,
    pub(crate) release_failures: u64,
    records: Pool<Record>,
    in_use: usize,
    free: usize,
    unmapped: usize,
    peak_backed: usize,
    spans_in_use: u64,
    pages: PhantomData<P>,
}

// SAFETY: the records lie in the metadata arena, which belongs to no thread, and are reached by who has locked the state
// alone.
unsafe impl<P: PageSize> Send for State<P> {}

/// Free memory on its way to the kernel: on no list, so that nobody gets it and nothing joins it.
#[derive(Clone, Copy)]
pub(crate) enum Leaving {
    /// A free block of 2^order hugepages.
    Block { record: RecordHandle, order: u32 },
    /// Free pages of a hugepage that is used in part.
    Part { record: RecordHandle, pages: Pages },
}

impl<P: PageSize> State<P> {
    const PER_HUGEPAGE: usize = PageCount::<P>::PER_HUGEPAGE.get();

    pub(crate) const fn new() -> Self {
        Self {
            lists: Lists::EMPTY,
            reserve: Reserve::new(),
            limits: LimitFigures::NONE,
            released: ReleasedBytes::NONE,
            release_failures: 0,
            records: Pool::new(),
            in_use: 0,
            free: 0,
            unmapped: 0,
            peak_backed: 0,
            spans_in_use: 0,
            pages: PhantomData,
        }
    }

    /// Pages as wished, and whether all of them read as zero.
    pub(crate) fn allocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<(PageId<P>, bool)> {
        let (pages, align) = (request.pages.get(), request.align.get());
        let order = pages.max(align).checked_next_power_of_two()?.ilog2();
        let first = if 1 << order < Self::PER_HUGEPAGE {
            self.find_in_hugepage(platform, order)?
        } else {
            let align = request.align.hugepages_up().get();
            self.find_hugepages(platform, request.pages.hugepages_up(), align)?
        };
        let mut zeroed = true;
        self.each_hugepage(platform, first, pages, |state, record, start, count| {
            let (backed, zero) = record.take(start, count);
            zeroed &= zero;
            state.free -= backed;
            state.unmapped -= count - backed;
            state.list_part(platform, record);
        });
        self.in_use += pages;
        self.spans_in_use += 1;
        self.peak_backed = self.peak_backed.max(self.in_use + self.free);
        Some((first, zeroed))
    }

    /// Takes the pages of a span back.
    pub(crate) fn deallocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: usize,
    ) {
        self.in_use -= pages;
        self.free += pages;
        self.spans_in_use -= 1;
        let mut whole: Option<(Hugepage, usize)> = None;
        self.each_hugepage(platform, first, pages, |state, record, start, count| {
            record.put(start, count);
            // What is on its way to the kernel is looked at when it arrives.
            if record.away.get() {
                return;
            }
            if record.is_free(Self::PER_HUGEPAGE) {
                state.lists.remove(record);
                let (first, count) = whole.get_or_insert((record.hugepage(), 0));
                // The first or the last hugepage may be kept by others, never one between.
                if *first + HugepageCount::new(*count) == record.hugepage() {
                    *count += 1;
                }
            } else {
                state.list_part(platform, record);
            }
        });
        if let Some((first, count)) = whole {
            self.insert_run(platform, first, count);
        }
    }

    /// Pages in use.
    pub(crate) const fn in_use(&self) -> PageCount<P> {
        PageCount::new(self.in_use)
    }

    /// Pages with memory behind them.
    pub(crate) const fn backed(&self) -> PageCount<P> {
        PageCount::new(self.in_use + self.free)
    }

    /// Whether so many pages are in no span, wherever they are.
    pub(crate) fn has_free(&self, pages: PageCount<P>) -> bool {
        self.free + self.unmapped >= pages.get()
    }

    /// Begins to give the longest free block back, or the free pages of a hugepage.
    pub(crate) fn begin_release<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
    ) -> Option<Leaving> {
        if let Some(record) = self.lists.backed_block()
            && let Some(order) = List::block_order(record)
        {
            self.lists.remove(record);
            return Some(Leaving::Block { record, order });
        }
        let record = self.lists.backed_part()?;
        self.lists.remove(record);
        record.away.set(true);
        Some(Leaving::Part { record, pages: Self::releasable(platform, record) })
    }

    /// Ends what `begin_release` began: the kernel took `taken` of a part, or the block if it took anything. Says how many
    /// pages had memory behind them.
    pub(crate) fn end_release<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        leaving: Leaving,
        taken: Pages,
    ) -> usize {
        let given = match leaving {
            Leaving::Block { record, order } => {
                let first = record.hugepage();
                let all = span_of(0, Self::PER_HUGEPAGE);
                let mut given = 0;
                if taken != [0; 8] {
                    given = record.block_backed.replace(0);
                    self.each_record(platform, first, 1 << order, |record| {
                        record.note_released(all)
                    });
                }
                self.insert_block(platform, record, order);
                given
            }
            Leaving::Part { record, .. } => {
                record.note_released(taken);
                record.away.set(false);
                if record.is_free(Self::PER_HUGEPAGE) {
                    self.insert_run(platform, record.hugepage(), 1);
                } else {
                    self.list_part(platform, record);
                }
                ones(taken)
            }
        };
        self.free -= given;
        self.unmapped += given;
        given
    }

    /// 2^`order` free pages at a multiple of as many, less than a hugepage.
    fn find_in_hugepage<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        order: u32,
    ) -> Option<PageId<P>> {
        if let Some(record) = self.lists.best_part(order)
            && let Some(start) = record.best(order, Self::PER_HUGEPAGE)
        {
            return Some(record.hugepage().first_page::<P>() + PageCount::new(start));
        }
        self.find_hugepages(platform, HugepageCount::ONE, 1)
    }

    /// `count` free hugepages at a multiple of `align`, off all lists.
    fn find_hugepages<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
    ) -> Option<PageId<P>> {
        let align = count.get().max(align).checked_next_power_of_two()?;
        let order = align.ilog2();
        let found = if order <= MOST_ORDER { self.lists.best_block(order) } else { None };
        let (first, all) = match found {
            Some(record) => {
                let order = List::block_order(record)?;
                self.lists.remove(record);
                (record.hugepage(), 1 << order)
            }
            // A whole block: what comes back of one serves the same wish again.
            None => self.grow(platform, HugepageCount::new(align), align)?,
        };
        // What lies before the first multiple, and behind the last page.
        let start = Hugepage::new(first.number().next_multiple_of(align));
        self.insert_run(platform, first, (start - first).get());
        let end = start + count;
        self.insert_run(platform, end, (first + HugepageCount::new(all) - end).get());
        Some(start.first_page())
    }

    /// Gets hugepages from the source, with a place for `count` of them at a multiple of `align`; says which.
    fn grow<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
    ) -> Option<(Hugepage, usize)> {
        let taken = self.reserve.take_aligned(platform, count, align)?;
        let first = Hugepage::from_address(taken.range.start);
        let all = HugepageCount::holding(taken.range.bytes)?;
        let (map, arena, metadata) = (platform.map(), platform.arena(), platform.metadata());
        let mut made = 0;
        if map.ensure(arena, metadata, first.first_page(), all.pages()) {
            let records = &self.records;
            let make = |index: &usize| {
                let Some(place) = records.allocate(arena, metadata) else { return false };
                let hugepage = first + HugepageCount::new(*index);
                // SAFETY: it goes back to the pool below alone, where nothing refers to it; the lock is held.
                let record = unsafe { RecordHandle::new(place) };
                record.start(hugepage, Self::PER_HUGEPAGE, taken.zeroed);
                map.set_tracker(hugepage, Some(place.cast()));
                true
            };
            made = (0..all.get()).take_while(make).count();
        }
        if made == all.get() {
            self.unmapped += all.pages::<P>().get();
            return Some((first, made));
        }
        for hugepage in (0..made).map(|index| first + HugepageCount::new(index)) {
            if let Some(record) = Self::record_of(platform, hugepage) {
                map.set_tracker(hugepage, None);
                // SAFETY: it came from this pool a moment ago; the map and the lists do not know it.
                unsafe { self.records.deallocate(record.place()) };
            }
        }
        self.reserve.put_back(taken);
        None
    }

    /// Enters `count` free hugepages from `first` on, which are on no list, as blocks.
    fn insert_run<E: Platform<Pages = P>>(&mut self, platform: &E, first: Hugepage, count: usize) {
        let (mut at, mut left) = (first, count);
        while left > 0 {
            let order = at.number().trailing_zeros().min(left.ilog2()).min(MOST_ORDER);
            let mut backed = 0;
            self.each_record(platform, at, 1 << order, |record| {
                backed += ones(record.free_backed())
            });
            if let Some(record) = Self::record_of(platform, at) {
                record.block_backed.set(backed);
                self.insert_block(platform, record, order);
            }
            at = at + HugepageCount::new(1 << order);
            left -= 1 << order;
        }
    }

    /// Enters a free block, joined with its buddy for as long as that is free.
    fn insert_block<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        record: RecordHandle,
        order: u32,
    ) {
        let (mut record, mut order) = (record, order);
        while order < MOST_ORDER
            && let Some(buddy) = self.free_buddy(platform, record.hugepage(), order)
        {
            self.lists.remove(buddy);
            let backed = record.block_backed.get() + buddy.block_backed.get();
            if buddy.hugepage() < record.hugepage() {
                record = buddy;
            }
            record.block_backed.set(backed);
            order += 1;
        }
        let backed = record.block_backed.get() > 0;
        self.lists.insert(record, List::Block { order, backed });
    }

    /// The buddy of a block, if it is this heap's, free, and neither cut nor part of something longer.
    fn free_buddy<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        first: Hugepage,
        order: u32,
    ) -> Option<RecordHandle> {
        let count = HugepageCount::new(1 << order);
        let buddy = Hugepage::new(first.number() ^ count.get());
        // Another heap's hugepages may lie beside this one's, and its notes are not ours to read.
        let address = buddy.address().value();
        let mut ours = false;
        self.reserve.for_each_reservation(|range| ours |= range.contains(address));
        let record = Self::record_of(platform, buddy).filter(|_| ours)?;
        let (low, high) = (buddy.min(first).range(count), buddy.max(first).range(count));
        let joins = List::block_order(record) == Some(order);
        (joins && platform.source().may_merge(low, high)).then_some(record)
    }

    /// Puts a hugepage that is used in part on the list that it belongs to.
    fn list_part<E: Platform<Pages = P>>(&mut self, platform: &E, record: RecordHandle) {
        self.lists.remove(record);
        if let Some(order) = record.longest(Self::PER_HUGEPAGE) {
            let backed = Self::releasable(platform, record) != [0; 8];
            self.lists.insert(record, List::Part { order, backed });
        }
    }

    /// The free pages of a hugepage that are backed, as far as they are whole kernel pages.
    fn releasable<E: Platform<Pages = P>>(platform: &E, record: RecordHandle) -> Pages {
        let granule = (platform.source().page_bytes() >> P::SHIFT).max(1);
        runs(record.free_backed()).fold([0; 8], |all, (start, length)| {
            let first = start.next_multiple_of(granule);
            let end = (start + length) & !(granule - 1);
            or(all, span_of(first, end.saturating_sub(first)))
        })
    }

    /// Calls `visit` for each hugepage that `pages` pages from `first` lie in, with where they begin and how many they are.
    fn each_hugepage<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        first: PageId<P>,
        pages: usize,
        mut visit: impl FnMut(&mut Self, RecordHandle, usize, usize),
    ) {
        let (mut at, mut left) = (first, pages);
        while left > 0 {
            let start = at.index_in_hugepage();
            let count = left.min(Self::PER_HUGEPAGE - start);
            if let Some(record) = Self::record_of(platform, at.hugepage()) {
                visit(self, record, start, count);
            }
            at = at + PageCount::new(count);
            left -= count;
        }
    }

    fn each_record<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        first: Hugepage,
        count: usize,
        mut visit: impl FnMut(RecordHandle),
    ) {
        let hugepages = (0..count).map(|index| first + HugepageCount::new(index));
        hugepages.filter_map(|hugepage| Self::record_of(platform, hugepage)).for_each(&mut visit);
    }

    /// The record of one of this heap's hugepages.
    fn record_of<E: Platform<Pages = P>>(platform: &E, hugepage: Hugepage) -> Option<RecordHandle> {
        let note = platform.map().tracker(hugepage)?;
        // SAFETY: callers ask for hugepages of this heap, or look at the answer only after they made sure; the map has
        // records of those alone. The lock is held.
        Some(unsafe { RecordHandle::new(note.cast()) })
    }
}

impl<P: PageSize> HasStats for State<P> {
    fn stats(&self) -> PageHeapStats {
        let bytes = |pages: usize| PageCount::<P>::new(pages).bytes() as u64;
        let reserve = self.reserve.stats();
        PageHeapStats {
            reserved_bytes: reserve.reserved_bytes,
            system_bytes: reserve.taken_bytes,
            in_use_bytes: bytes(self.in_use),
            free_bytes: bytes(self.free),
            unmapped_bytes: bytes(self.unmapped),
            peak_backed_bytes: bytes(self.peak_backed),
            spans_in_use: self.spans_in_use,
            released: self.released,
            release_failures: self.release_failures,
            limits: self.limits,
            ..PageHeapStats::default()
        }
    }
}

impl Leaving {
    /// Has the kernel take the memory. Says what it took, of a block any page for all.
    pub(crate) fn carry_out<P: PageSize>(&self, release: impl Fn(AddressRange) -> bool) -> Pages {
        match *self {
            Self::Block { record, order } => {
                let range = record.hugepage().range(HugepageCount::new(1 << order));
                if release(range) { span_of(0, 1) } else { [0; 8] }
            }
            Self::Part { record, pages } => {
                let first = record.hugepage().first_page::<P>();
                runs(pages).fold([0; 8], |taken, (start, length)| {
                    let range =
                        PageCount::<P>::new(length).range_from(first + PageCount::new(start));
                    if release(range) { or(taken, span_of(start, length)) } else { taken }
                })
            }
        }
    }
}
