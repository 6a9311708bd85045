//! The hugepage-aware page heap.

use crate::{
    advice::HugepageAdvice,
    books::Parts,
    demand::SkipIntervals,
    departures::{Departures, Destination},
    extend::Growing,
    figures::TemeraireFigures,
    routes::Found,
    state::{State, Stays},
};
use strata_os::AddressRange;
use strata_page_heap::{
    Ended, HugepageBreak, HugepageFigures, MemoryLimits, PageHeap, PageHeapStats, Published,
    ReleaseReason, SharedHugepage, SpanRequest, Underway,
};
use strata_span::{
    Hugepage, MetadataKind, PageCount, PageSize, Platform, PoolItem, SpanHandle, SpanPlace,
    report_not_in_use,
};

/// A page heap that keeps memory on hugepages and gives back what nobody needs: Temeraire.
///
/// | length of a span | where it comes from |
/// |---|---|
/// | up to half a hugepage | the *filler*: packed into hugepages, the fullest that can serve first |
/// | up to 1 GiB, not whole hugepages | the filler, if less than a hugepage and there is room; a *region*, where programs waste much otherwise; else whole hugepages, and the unused part of the last is *donated* to the filler |
/// | whole hugepages, or longer | the *huge cache* of backed hugepages, else the *huge allocator* of unbacked ones |
///
/// A span grows where it is into free pages of its hugepage or region; one that begins with a
/// hugepage also through its donated tail, if nobody uses that, and into the free hugepages behind
/// it, backed or not, where the last is donated anew.
///
/// What a span's temperature is decides about advice alone: no hugepage is asked for behind sampled and cold spans.
/// Heaps of their own for these has [`Temeraire`](crate::Temeraire).
///
/// Any thread may call any method at any time. One lock, held for some tens of instructions and
/// never across a call that gives memory back; an allocation that needs more address space holds it
/// across the calls that get some. Costs do not depend on the size of the heap, or by its
/// logarithm.
///
/// (Hunter, Kennelly, Turner, Gove, Moseley, Ranganathan: "Beyond malloc efficiency to fleet
/// efficiency: a hugepage-aware memory allocator", OSDI 2021.)
///
/// The state stands last, for what each heap uses of it lies at its front.
#[repr(C)]
#[derive(Debug)]
pub struct HugePageAware<P: PageSize> {
    pub(crate) advice: HugepageAdvice,
    /// Releases and the like with the lock dropped; a fork waits for them.
    pub(crate) underway: Underway,
    /// Guards all parts. Rank: above the page map's and the metadata arena's locks, which are taken
    /// under it.
    pub(crate) state: Published<State<P>>,
}

impl<P: PageSize> HugePageAware<P> {
    /// Longest span, in pages: their number has to fit into a span's field.
    const LONGEST: usize = u32::MAX as usize;

    strata_sync::const_fn! {
        /// A heap that has nothing yet.
        pub const fn new() -> Self {
            Self {
                state: Published::new(State::new()),
                advice: HugepageAdvice::new(),
                underway: Underway::new(),
            }
        }
    }

    /// Says how far back demand is looked at before memory that it may want again is given back.
    pub fn set_skip_intervals(&self, intervals: SkipIntervals) {
        self.state.lock().skip_intervals = Some(intervals);
    }

    /// How far back it is looked at.
    pub fn skip_intervals(&self) -> SkipIntervals {
        self.state.lock().skip_intervals.unwrap_or(SkipIntervals::STANDARD)
    }

    /// The parts of the heap, and how often they came into play.
    pub(crate) fn parts(&self) -> Parts {
        self.state.lock().parts()
    }

    /// Whether a hugepage lies in address space of this heap.
    pub(crate) fn has(&self, hugepage: Hugepage) -> bool {
        let address = hugepage.address().value();
        let mut has = false;
        let state = self.state.lock();
        state.allocator.reserve().for_each_reservation(|range| has |= range.contains(address));
        has
    }

    /// How often the hard limit was the reason that nothing was handed out.
    pub(crate) fn failures(&self) -> u64 {
        self.state.figures().limits.hard_failures
    }

    /// Pages for a span, within the limits.
    fn find<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<Found<P>> {
        let (found, beyond) = {
            let mut state = self.state.lock();
            if state.is_forbidden(platform, request.pages) {
                return None;
            }
            state.backing = self.advice.backing(platform);
            let found = state.allocate(platform, request);
            let beyond = state.is_beyond_limits(platform, PageCount::ZERO);
            if found.as_ref().is_some_and(|found| found.from_filler) {
                state.only_spans_changed();
            }
            (found, beyond)
        };
        let (found, beyond) = match found {
            Some(found) => (found, beyond),
            None => (self.allocate_at_last(platform, request)?, true),
        };
        if beyond && !self.hold_limits(platform, PageCount::ZERO) {
            self.put_back(platform, &found, request.pages);
            return None;
        }
        Some(found)
    }

    /// Takes pages back that were found a moment ago.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    fn put_back<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        found: &Found<P>,
        pages: PageCount<P>,
    ) {
        let mut departures = Departures::new();
        {
            let mut state = self.state.lock();
            state.deallocate(platform, found.first, pages, found.donated_tail, &mut departures);
            if departures.is_empty() {
                return;
            }
            self.underway.begin();
        }
        self.carry_out(platform, &departures);
    }

    /// Tries again after nothing was found: when others have given back what they have in hand; then after the
    /// cache was emptied, since what it held may lie beside free hugepages that are not backed, so that both
    /// together are long enough.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_at_last<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<Found<P>> {
        if self.underway.has_others()
            && let Some(found) = self.allocate_after_others(platform, request)
        {
            return Some(found);
        }
        let everything = self.state.lock().cache.size().pages();
        if everything > PageCount::ZERO {
            let given = self.give_back_cached(platform, everything);
            self.state.lock().released.add(ReleaseReason::HardLimit, given.bytes() as u64);
            if let Some(found) = self.allocate_after_others(platform, request) {
                return Some(found);
            }
        }
        // In pieces none of which is long enough there may be as much address space as the source has not any more.
        let mut gave = false;
        while self.give_back_space(platform) {
            gave = true;
        }
        if gave { self.allocate_after_others(platform, request) } else { None }
    }

    /// Pages for a span, if need be after others gave back what they have in hand.
    fn allocate_after_others<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: &SpanRequest<P>,
    ) -> Option<Found<P>> {
        self.underway.retry_after_others(|| {
            let mut state = self.state.lock();
            let found = state.allocate(platform, request);
            (found, self.underway.has_others() && state.has_free(request.pages))
        })
    }

    /// Takes a span back; its whole hugepages go to where is said. Says what became of it.
    ///
    /// # Safety
    ///
    /// As for [`PageHeap::deallocate`].
    unsafe fn end<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        whole: Destination,
    ) -> Ended {
        self.underway.let_forks_pass();
        // All that is needed of the span is read before its structure goes.
        let (first, pages) = (span.first::<P>(), span.page_count::<P>());
        let donated_tail = span.has_donated_tail();
        if !span.leave_use() {
            report_not_in_use(first, &span);
            return Ended::NotInUse;
        }
        if span.is_watched() {
            self.advice.learn(platform, pages.range_from(first));
        }
        platform.map().clear_ends(first, pages);
        // SAFETY: the caller gives the span up, and its entries in the page map are gone: the
        // caller took out those that it had put in.
        unsafe { platform.spans().deallocate_span(span) };
        let mut departures = Departures::with(whole);
        {
            let mut state = self.state.lock();
            let stays = state.deallocate(platform, first, pages, donated_tail, &mut departures);
            if stays == Stays::InFiller {
                state.only_spans_changed();
                return Ended::Kept;
            }
            if departures.is_empty() {
                return Ended::Kept;
            }
            self.underway.begin();
        }
        let (_, all) = self.carry_out(platform, &departures);
        if all && departures.has_from(first.hugepage()) { Ended::Released } else { Ended::Kept }
    }

    /// Where address space is short, a part of what is not backed goes back to the source. False if there is none.
    #[unsafe(link_section = ".text_rarely")]
    fn give_back_space<E: Platform<Pages = P>>(&self, platform: &E) -> bool {
        let mut state = self.state.lock();
        let State { allocator, nodes, .. } = &mut *state;
        allocator.give_back_space(platform, nodes)
    }

    /// Carries out departures, and puts the books right. Says how many pages the kernel took, and
    /// whether it took them all.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn carry_out<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        departures: &Departures,
    ) -> (PageCount<P>, bool) {
        let mut answers = [None; Departures::MOST];
        for (departure, answer) in departures.iter().zip(&mut answers) {
            *answer = Some(departure.carry_out(platform));
            if departure.forbidden {
                // What comes to stand there next may have a hugepage.
                self.advice.allow(platform, departure.range.first.range(departure.range.count));
            }
        }
        let mut pages = PageCount::ZERO;
        let mut state = self.state.lock();
        for (departure, taken) in departures.iter().zip(answers.iter().flatten()) {
            state.note_answer(platform, *taken);
            pages += state.settle(platform, &departure, *taken);
        }
        self.underway.end();
        (pages, !answers.contains(&Some(false)))
    }
}

// SAFETY: 1. `EMPTY_IS_ZERO`. 2. It has no drop, and is larger than a pointer.
unsafe impl<P: PageSize> PoolItem for HugePageAware<P> {
    const KIND: MetadataKind = MetadataKind::Hugepages;

    #[cfg(strata_loom)]
    unsafe fn construct(place: core::ptr::NonNull<Self>) {
        // SAFETY: the caller has the place alone.
        unsafe { place.write(Self::new()) };
    }
}

impl<P: PageSize> Default for HugePageAware<P> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: 1. Every page is in one place: a used bit of a tracker or region, a range of the cache or
// the allocator, a span, or a departure; the allocator's ranges come from a `Reserve`, which
// commits them. 2. Lengths and alignments are met by best fits over bitmaps and ranges of whole
// hugepages; a span reads as zero if all its pages have their bit in `zeroed`, which is set for
// fresh and forcibly released pages alone. 3. Spans of this heap are on no list of its own. 4.
// Pages are numbers throughout.
unsafe impl<P: PageSize> PageHeap<P> for HugePageAware<P> {
    #[cfg(not(strata_loom))]
    const EMPTY: Self = Self::new();

    const EMPTY_IS_ZERO: bool = true;

    type Figures = TemeraireFigures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        let valid = (1..=Self::LONGEST).contains(&request.pages.get());
        if !valid || !request.align.get().is_power_of_two() {
            return None;
        }
        self.underway.let_forks_pass();
        let span = platform.spans().allocate_span(platform.arena(), platform.metadata())?;
        let Some(found) = self.find(platform, &request) else {
            // SAFETY: it was had a moment ago, and nobody knows it.
            unsafe { platform.spans().deallocate_span(span) };
            return None;
        };
        if let Some(run) = found.modest {
            self.advice.note_small(run.0.range(run.1), request.pages.bytes());
            self.keep_small(platform, run);
        }
        let watched = found.advise.is_some_and(|(first, count)| {
            if self.advice.has_modest_runs() {
                self.allow_large(platform);
            }
            let span = AddressRange::new(found.first.address().value(), request.pages.bytes());
            let in_use_bytes = self.state.figures().in_use_bytes;
            self.advice.tell(platform, first.range(count), span, in_use_bytes)
        });
        if let Some((first, count)) = found.added {
            self.advice.tell_grown(platform, first.range(count), false);
        }
        if found.ahead > PageCount::ZERO {
            self.fault_in_ahead(platform, found.first, request.pages, found.ahead);
        }
        span.set_watched(watched);
        span.set_range(found.first, request.pages);
        span.set_place(SpanPlace::InUse);
        span.set_zeroed(found.zeroed);
        span.set_donated_tail(found.donated_tail);
        platform.map().set_ends(span);
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        // SAFETY: the caller's promise is the same.
        let ended = unsafe { self.end(platform, span, Destination::Cache) };
        ended != Ended::NotInUse
    }

    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        // SAFETY: the caller's promise is the same.
        unsafe { self.end(platform, span, Destination::Kernel) }
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        let (first, from) = (span.first::<P>(), span.page_count::<P>());
        if pages <= from || pages.get() > Self::LONGEST {
            return pages <= from;
        }
        self.underway.let_forks_pass();
        // The last hugepage may be backed whole for a part of it.
        let most = pages.hugepages_up().pages() - from;
        if !self.may_grow(platform, pages - from, most) {
            return false;
        }
        let growing = Growing { first, from, to: pages, donated_tail: span.has_donated_tail() };
        let grown = {
            let mut state = self.state.lock();
            state.backing = self.advice.backing(platform);
            state.extend(platform, growing)
        };
        let Some(grown) = grown else { return false };
        // Spans of heaps apart are sampled or cold.
        if let Some((first, count)) = grown.advise.filter(|_| span.heap() == 0) {
            self.advice.tell_grown(platform, first.range(count), span.is_watched());
        }
        if from > PageCount::ONE {
            platform.map().clear_range(first + from - PageCount::ONE, PageCount::ONE);
        }
        span.set_range(first, pages);
        span.set_donated_tail(grown.donated_tail);
        platform.map().set_ends(span);
        true
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        self.underway.let_forks_pass();
        let given = self.give_back(platform, wanted, reason);
        while self.give_back_space(platform) {}
        given
    }

    fn break_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        self.underway.let_forks_pass();
        self.break_used(platform, hugepage, bytes)
    }

    fn maintain<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        self.underway.let_forks_pass();
        self.treat(platform, now_ns)
    }

    fn for_each_part(&self, mut visit: impl FnMut(&'static str, u64)) {
        self.parts().into_iter().for_each(|(name, count)| visit(name, count));
    }

    fn set_limits(&self, limits: MemoryLimits) {
        self.state.lock().limits.limits = limits;
    }

    fn take_peak_bytes(&self) -> u64 {
        self.state.lock().records.take_peak_pages().bytes() as u64
    }

    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        let mut state = self.state.lock();
        let State { allocator, nodes, .. } = &mut *state;
        allocator.give_back_reserve(platform, nodes)
    }

    fn stats(&self) -> PageHeapStats {
        self.state.figures()
    }

    fn in_use_bytes(&self) -> u64 {
        self.state.in_use_bytes()
    }

    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut TemeraireFigures) {
        self.survey(platform, figures);
    }

    fn for_each_shared_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        visit: impl FnMut(&SharedHugepage),
    ) {
        self.visit_shared(platform, visit);
    }

    fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        self.state.lock().hugepage_figures(platform, hugepage)
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.state.lock().allocator.reserve().for_each_reservation(visit);
    }

    fn acquire(&self) {
        // What is underway would stay so for ever in a child that has no such thread.
        self.underway.acquire(&self.state);
    }

    unsafe fn release_lock(&self) {
        // SAFETY: the caller took it with `acquire`.
        unsafe { self.underway.release(&self.state) };
    }
}

#[cfg(test)]
mod tests;
