//! What the lock of the legacy page heap guards.

mod address_space;
mod choice;
mod cut_and_join;
mod extend;
mod figures;
mod limits;

use super::wish::Wish;
use crate::{
    AllocationRecords, Density, LimitFigures, Refusals, ReleaseReason, ReleasedBytes, Reserve,
    allocation_records::EXACT_LENGTHS, free_set::FreeSet,
};
use strata_os::PageSource;
use strata_span::{
    Address, PageCount, PageId, PageSize, Platform, SizeClass, SpanHandle, SpanPlace,
    report_not_in_use,
};

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
    /// Releases that the kernel refused of late.
    pub(super) refusals: Refusals,
    pub(super) limits: LimitFigures,
    /// The list that the next span to be given back is taken from.
    next_list: usize,
    started_ns: Option<u64>,
    /// Whether the kernel wants to be asked for hugepages; found out once.
    asks_for_hugepages: Asks,
}

/// What became of a span that was to go to the kernel as it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ToKernel {
    /// The application had not had it.
    NotInUse,
    /// It is free, and stays backed.
    Kept,
    /// It is on its way: [`State::end_release`] or [`State::undo_release`] enters it.
    Begun,
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
                refusals: Refusals::new(),
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

    /// Takes a span back that the application had; says whether it had it.
    pub(super) fn deallocate<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        now_ns: u64,
    ) -> bool {
        let was_in_use = self.end(platform, span);
        if was_in_use {
            self.enter(platform, span, SpanPlace::Free, now_ns);
        }
        was_in_use
    }

    /// The same of one that is to go to the kernel at once: says whether it is on its way there. One that has no whole
    /// kernel pages alone is entered as any other, and so is each while the kernel is left alone.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        span: SpanHandle,
        now_ns: u64,
    ) -> ToKernel {
        if !self.end(platform, span) {
            return ToKernel::NotInUse;
        }
        let whole = (span.first(), span.page_count());
        if Self::releasable(platform, span) != Some(whole) || self.refusals.holds_back(now_ns) {
            self.enter(platform, span, SpanPlace::Free, now_ns);
            return ToKernel::Kept;
        }
        span.set_note(now_ns);
        span.set_place(SpanPlace::Releasing);
        ToKernel::Begun
    }

    /// Takes a span back that the application had, into no set yet; says whether it had it.
    fn end<E: Platform<Pages = P>>(&mut self, platform: &E, span: SpanHandle) -> bool {
        let pages = span.page_count();
        if !span.leave_use() {
            report_not_in_use::<P>(span.first(), &span);
            return false;
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
        true
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
        self.refusals.note(platform.clock(), true);
        self.enter(platform, span, SpanPlace::Released, now_ns);
    }

    /// Enters a span that the kernel refused as what it was; its age stays.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn undo_release<E: Platform<Pages = P>>(&mut self, platform: &E, span: SpanHandle) {
        self.release_failures += 1;
        self.refusals.note(platform.clock(), false);
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

    /// After pages came into use, which may have been unbacked: raises the peak.
    fn note_peak(&mut self) {
        self.peak_backed = self.peak_backed.max(self.in_use + self.free);
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
