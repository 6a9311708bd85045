//! One whole heap for each kind of span that is to be apart.

mod others;
mod shared_limits;
mod shared_peak;

use crate::{demand::SkipIntervals, figures::TemeraireFigures, hugepage_aware::HugePageAware};
use shared_limits::SharedLimits;
use shared_peak::SharedPeak;
use strata_os::AddressRange;
use strata_page_heap::{
    Ended, HugepageBreak, HugepageFigures, MemoryLimits, PageHeap, PageHeapStats, ReleaseReason,
    SharedHugepage, SpanRequest, Temperature,
};
use strata_span::{Hugepage, PageCount, PageSize, Platform, Pool, PublishOnce, SpanHandle};

/// Temeraire whole: a [`HugePageAware`] heap for ordinary spans, and one each for sampled and for cold ones.
///
/// What is sampled or cold lies in address space of its own, on hugepages of its own, down to the last cache of
/// free hugepages; so it neither keeps ordinary hugepages from emptying nor is it asked for hugepages. The heaps
/// apart are made when the first such span is asked for, of metadata; a program without such spans has two words of
/// them. Where there is no metadata for one, its spans stand with the ordinary ones.
///
/// Figures are sums, but for [`figures`](PageHeap::figures), which are those of the ordinary spans' heap; each heap
/// has its own by [`stats_of`](PageHeap::stats_of) and [`figures_of`](PageHeap::figures_of). Limits hold for all
/// heaps together; what is to go back goes from the cold heap first, then from the ordinary one, then from the
/// sampled one. (TCMalloc's page allocator since 2023 has the same heaps, and this order.)
///
/// Any thread may call any method at any time. Each heap has a lock of its own.
///
/// ```
/// use strata_os::{MonotonicClock, SystemPages};
/// use strata_page_heap::{PageHeap, SpanRequest, Temperature};
/// use strata_size_classes::Pages8K;
/// use strata_span::{Ground, PageCount};
/// use strata_temeraire::Temeraire;
///
/// static HEAP: Temeraire<Pages8K> = Temeraire::EMPTY;
///
/// let ground = Ground::<Pages8K, _, _, _>::new(SystemPages::new(), SystemPages::new(), MonotonicClock::new());
/// let ordinary = SpanRequest::of(PageCount::ONE);
/// let one = HEAP.allocate(&ground, ordinary).expect("memory for a page");
/// assert_eq!(HEAP.stats_of(Temperature::Cold), None);
///
/// let cold = SpanRequest { temperature: Temperature::Cold, ..ordinary };
/// let other = HEAP.allocate(&ground, cold).expect("memory for a page");
/// assert_eq!(HEAP.stats_of(Temperature::Cold).expect("made").in_use_bytes, 8192);
/// assert_eq!(HEAP.stats().in_use_bytes, 2 * 8192);
///
/// for span in [one, other] {
///     // SAFETY: the spans came from this heap, and nobody uses them.
///     unsafe { HEAP.deallocate(&ground, span) };
/// }
/// assert_eq!(HEAP.stats().in_use_bytes, 0);
/// ```
///
/// What all three heaps share stands in front of the normal one, whose front each program uses.
#[repr(C)]
#[derive(Debug)]
pub struct Temeraire<P: PageSize> {
    /// Published under the normal heap's lock, which a fork takes first: so it finds as many heaps when it leaves
    /// as when it came.
    sampled: PublishOnce<HugePageAware<P>>,
    cold: PublishOnce<HugePageAware<P>>,
    /// Where the two are from.
    pool: Pool<HugePageAware<P>>,
    limits: SharedLimits,
    peak: SharedPeak,
    normal: HugePageAware<P>,
}

// SAFETY: heaps may be used by any thread, and those behind the pointers are never given back.
unsafe impl<P: PageSize> Send for Temeraire<P> {}
// SAFETY: heaps lock for themselves.
unsafe impl<P: PageSize> Sync for Temeraire<P> {}

/// The order in which heaps give back.
const COLDEST_FIRST: [Temperature; 3] =
    [Temperature::Cold, Temperature::Normal, Temperature::Sampled];

impl<P: PageSize> Temeraire<P> {
    strata_sync::const_fn! {
        /// A heap that has nothing yet.
        pub const fn new() -> Self {
            Self {
                normal: HugePageAware::new(),
                sampled: PublishOnce::new(),
                cold: PublishOnce::new(),
                pool: Pool::new(),
                limits: SharedLimits::new(),
                peak: SharedPeak::new(),
            }
        }
    }

    /// Says for all heaps how far back demand is looked at before memory that it may want again is given back.
    pub fn set_skip_intervals(&self, intervals: SkipIntervals) {
        self.heaps().for_each(|heap| heap.set_skip_intervals(intervals));
    }

    /// How far back it is looked at.
    pub fn skip_intervals(&self) -> SkipIntervals {
        self.normal.skip_intervals()
    }

    /// The heap for spans of a temperature, if it was made.
    #[inline]
    fn heap(&self, temperature: Temperature) -> Option<&HugePageAware<P>> {
        let Some(place) = self.place_of_apart(temperature) else { return Some(&self.normal) };
        // SAFETY: what is published is a heap, and stays one: it never goes back to the pool.
        place.get().map(|heap| unsafe { heap.as_ref() })
    }

    /// Where the heap for spans of a temperature is published, if these have one apart.
    #[inline]
    fn place_of_apart(&self, temperature: Temperature) -> Option<&PublishOnce<HugePageAware<P>>> {
        match temperature {
            Temperature::Normal => None,
            Temperature::Sampled => Some(&self.sampled),
            Temperature::Cold => Some(&self.cold),
        }
    }

    /// All heaps that were made, in the order in which they give back.
    fn heaps(&self) -> impl Iterator<Item = &HugePageAware<P>> {
        COLDEST_FIRST.into_iter().filter_map(|temperature| self.heap(temperature))
    }

    /// The heaps apart that were made.
    fn heaps_apart(&self) -> impl Iterator<Item = &HugePageAware<P>> {
        let apart = [Temperature::Sampled, Temperature::Cold];
        apart.into_iter().filter_map(|temperature| self.heap(temperature))
    }

    /// The sums of all heaps' figures.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn sums(&self) -> PageHeapStats {
        self.heaps_apart().fold(self.normal.stats(), |sum, heap| sum.plus(&heap.stats()))
    }

    /// Where there are several heaps: raises the peaks that they have together.
    #[inline]
    fn note_peak(&self) {
        if self.is_apart() {
            self.peak.note(&self.sums());
        }
    }

    /// Whether there are heaps apart.
    #[inline]
    fn is_apart(&self) -> bool {
        self.sampled.get().is_some() || self.cold.get().is_some()
    }

    /// Makes the heap for spans of a temperature. None where there is no metadata for it.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn make<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
    ) -> Option<&HugePageAware<P>> {
        let Some(place) = self.place_of_apart(temperature) else { return Some(&self.normal) };
        let made = self.pool.allocate(platform.arena(), platform.metadata())?;
        // SAFETY: zero bits are a heap, and nobody else knows it.
        let heap = unsafe { made.as_ref() };
        heap.set_skip_intervals(self.skip_intervals());
        let held = self.normal.state.lock();
        if !self.is_apart() {
            self.peak.begin(&self.normal.stats());
        }
        let published = place.publish(made);
        drop(held);
        if published != made {
            // SAFETY: it was had above, and another thread's was published in its place.
            unsafe { self.pool.deallocate(made) };
        }
        self.heap(temperature)
    }

    /// The heap that a span is from.
    #[inline]
    fn heap_of(&self, span: SpanHandle) -> &HugePageAware<P> {
        self.heap(temperature_of(span.heap())).unwrap_or(&self.normal)
    }

    /// The heap that has a hugepage.
    fn heap_with(&self, hugepage: Hugepage) -> &HugePageAware<P> {
        self.heaps_apart().find(|heap| heap.has(hugepage)).unwrap_or(&self.normal)
    }
}

impl<P: PageSize> Default for Temeraire<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// The number by which a span knows its heap.
const fn number_of(temperature: Temperature) -> u8 {
    match temperature {
        Temperature::Normal => 0,
        Temperature::Sampled => 1,
        Temperature::Cold => 2,
    }
}

const fn temperature_of(number: u8) -> Temperature {
    match number {
        1 => Temperature::Sampled,
        2 => Temperature::Cold,
        _ => Temperature::Normal,
    }
}

// SAFETY: each span is of one heap, which it knows by its number, and each heap answers for 1 to 4; their
// reservations do not overlap, since all are of one source.
unsafe impl<P: PageSize> PageHeap<P> for Temeraire<P> {
    #[cfg(not(strata_loom))]
    const EMPTY: Self = Self::new();

    const EMPTY_IS_ZERO: bool = HugePageAware::<P>::EMPTY_IS_ZERO;

    type Figures = TemeraireFigures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        let temperature = request.temperature;
        let made = self.heap(temperature).or_else(|| self.make(platform, temperature));
        let (heap, number) = match made {
            Some(heap) => (heap, number_of(temperature)),
            None => (&self.normal, number_of(Temperature::Normal)),
        };
        if self.limits.any() && self.is_apart() {
            self.share_limits(platform, heap, request.pages);
        }
        let failures = if self.is_apart() { heap.failures() } else { 0 };
        let mut found = heap.allocate(platform, request);
        if found.is_none() && self.take_from_others(platform, heap, request.pages, failures) {
            found = heap.allocate(platform, request);
        }
        // What was found and given up again may have been a peak, too.
        self.note_peak();
        let span = found?;
        if number != number_of(Temperature::Normal) {
            span.set_heap(number);
        }
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        // SAFETY: the span came from this heap, as the caller says.
        let taken = unsafe { self.heap_of(span).deallocate(platform, span) };
        self.note_peak();
        taken
    }

    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        // SAFETY: the span came from this heap, as the caller says.
        let ended = unsafe { self.heap_of(span).deallocate_to_kernel(platform, span) };
        self.note_peak();
        ended
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        let heap = self.heap_of(span);
        if self.limits.any() && self.is_apart() {
            let most = pages.hugepages_up().pages();
            self.share_limits(platform, heap, most.saturating_sub(span.page_count()));
        }
        // SAFETY: as the caller says; the heap is the span's.
        let grew = unsafe { heap.extend(platform, span, pages) };
        self.note_peak();
        grew
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        let mut given = PageCount::ZERO;
        for heap in self.heaps() {
            given += heap.release(platform, wanted.saturating_sub(given), reason);
        }
        given
    }

    fn break_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        self.heap_with(hugepage).break_hugepage(platform, hugepage, bytes)
    }

    /// Hugepages of sampled and cold spans are not put together: none was asked for.
    fn maintain<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        let due_ns = self.normal.maintain(platform, now_ns);
        // What was missing of hugepages that were put together stands in memory now.
        self.note_peak();
        due_ns
    }

    fn for_each_part(&self, mut visit: impl FnMut(&'static str, u64)) {
        let mut sums = self.normal.parts();
        let mut apart = 0;
        for heap in self.heaps_apart() {
            apart += 1;
            sums.iter_mut().zip(heap.parts()).for_each(|(sum, (_, count))| sum.1 += count);
        }
        sums.into_iter().for_each(|(name, count)| visit(name, count));
        visit("heaps apart", apart);
    }

    fn set_limits(&self, limits: MemoryLimits) {
        self.limits.set(limits);
        // Where there are several, each learns what is its own when it grows next.
        self.heaps().for_each(|heap| heap.set_limits(limits));
    }

    fn take_peak_bytes(&self) -> u64 {
        self.heaps().map(PageHeap::take_peak_bytes).sum()
    }

    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        self.heaps().map(|heap| heap.give_back_reserve(platform)).sum()
    }

    fn stats(&self) -> PageHeapStats {
        if !self.is_apart() {
            return self.normal.stats();
        }
        let sums = self.sums();
        // A growth that is not noted yet is told, and what was told stays.
        self.peak.note(&sums);
        self.peak.put_into(PageHeapStats { limits: self.limits.figures(sums.limits), ..sums })
    }

    fn in_use_bytes(&self) -> u64 {
        self.heaps().map(PageHeap::in_use_bytes).sum()
    }

    fn stats_of(&self, temperature: Temperature) -> Option<PageHeapStats> {
        self.heap(temperature).map(PageHeap::stats)
    }

    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut TemeraireFigures) {
        self.normal.read_figures(platform, figures);
    }

    fn for_each_shared_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        visit: impl FnMut(&SharedHugepage),
    ) {
        self.normal.for_each_shared_hugepage(platform, visit);
    }

    fn for_each_shared_hugepage_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        visit: impl FnMut(&SharedHugepage),
    ) {
        if let Some(heap) = self.heap(temperature) {
            heap.for_each_shared_hugepage(platform, visit);
        }
    }

    fn read_figures_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        figures: &mut TemeraireFigures,
    ) -> bool {
        let heap = self.heap(temperature);
        heap.inspect(|heap| heap.read_figures(platform, figures)).is_some()
    }

    fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        self.heap_with(hugepage).hugepage_figures(platform, hugepage)
    }

    fn for_each_reservation(&self, mut visit: impl FnMut(AddressRange)) {
        self.heaps().for_each(|heap| heap.for_each_reservation(&mut visit));
    }

    fn acquire(&self) {
        // The normal one first: with its lock held no other is made.
        self.normal.acquire();
        self.heaps_apart().for_each(PageHeap::acquire);
        self.pool.acquire();
    }

    unsafe fn release_lock(&self) {
        // SAFETY: `acquire` took it.
        unsafe { self.pool.release() };
        for heap in self.heaps_apart() {
            // SAFETY: `acquire` took it, since no heap was made in between.
            unsafe { heap.release_lock() };
        }
        // SAFETY: `acquire` took it.
        unsafe { self.normal.release_lock() };
    }
}

#[cfg(test)]
mod tests;
