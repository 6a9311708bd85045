//! A page heap whose spans are touched as soon as they are handed out.

use core::fmt::{self, Debug, Formatter};
use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::collections::BTreeSet;
#[expect(
    clippy::disallowed_types,
    reason = "one is set once, before the heap has a span; the other is of a simulation's own"
)]
use std::sync::{Mutex, OnceLock, PoisonError};

use strata_os::{AddressRange, PageSource, SimulatedPages};
use strata_page_heap::{
    Ended, HugepageBreak, HugepageFigures, MemoryLimits, PageHeap, PageHeapStats, ReleaseReason,
    SpanRequest, Temperature,
};
use strata_span::{Hugepage, HugepageCount, PageCount, PageSize, Platform, SpanHandle, SpanPlace};

/// A page heap over simulated pages, to which it says that each span is written to when it is handed out: what had been
/// released there counts as backed again, and as faulted in.
///
/// A program touches what it asked for; simulated pages cannot see that. It is told here, span by span.
pub struct Touching<'a, H> {
    heap: H,
    #[expect(clippy::disallowed_types, reason = "set once, before the heap has a span")]
    pages: OnceLock<&'a SimulatedPages>,
    /// Bytes inside of spans that are out, and not in memory: they were given back, and not touched since.
    away_inside: AtomicI64,
    /// The hugepage inside of whose spans memory may be going back now, by its number, and what of it was in memory
    /// at the last look. 0: none.
    watched: AtomicUsize,
    watched_bytes: AtomicUsize,
    /// The hugepages, by their numbers, inside of whose spans something went and may still be away.
    #[expect(clippy::disallowed_types, reason = "a simulation's own")]
    with_away: Mutex<BTreeSet<usize>>,
}

impl<'a, H> Touching<'a, H> {
    /// Says which pages it is about; to be called once, before the first span.
    pub fn tell(&self, pages: &'a SimulatedPages) {
        self.pages.get_or_init(|| pages);
    }

    /// The page heap that is told about.
    pub const fn heap(&self) -> &H {
        &self.heap
    }

    /// Bytes inside of spans that are out, and not in memory.
    pub fn away_inside(&self) -> u64 {
        u64::try_from(self.away_inside.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Ends a step of work that may have given back memory inside of spans: `is_in_use` says whether a hugepage has
    /// spans still.
    pub fn end_step(&self, is_in_use: impl FnOnce(Hugepage) -> bool) {
        let watched = Hugepage::new(self.watched.load(Ordering::Relaxed));
        if watched.number() != 0 {
            // One that emptied went as a whole, which is the page heap's affair.
            if is_in_use(watched) {
                self.look_at_watched();
            }
            self.watched.store(0, Ordering::Relaxed);
        }
    }

    /// Begins to watch a hugepage.
    fn watch(&self, hugepage: Hugepage) {
        self.watched.store(hugepage.number(), Ordering::Relaxed);
        self.watched_bytes.store(self.resident_bytes(hugepage), Ordering::Relaxed);
    }

    /// Counts what went back inside of spans of the watched hugepage since the last look.
    fn look_at_watched(&self) {
        let watched = Hugepage::new(self.watched.load(Ordering::Relaxed));
        let now = self.resident_bytes(watched);
        let gone = self.watched_bytes.swap(now, Ordering::Relaxed).saturating_sub(now);
        self.away_inside.fetch_add((gone as u64).cast_signed(), Ordering::Relaxed);
        if gone > 0 {
            let mut with_away = self.with_away.lock().unwrap_or_else(PoisonError::into_inner);
            with_away.insert(watched.number());
        }
    }

    fn resident_bytes(&self, hugepage: Hugepage) -> usize {
        let range = hugepage.range(HugepageCount::ONE);
        self.pages.get().map_or(0, |pages| {
            pages.residency(range).map_or(0, |residency| residency.resident_bytes)
        })
    }

    /// Says that a block of a span was written to: kernel pages of it that had gone come again.
    pub fn touch_block(&self, address: usize, bytes: usize) {
        if self.away_inside() == 0 {
            return;
        }
        let Some(pages) = self.pages.get() else { return };
        let granule = pages.page_bytes();
        let start = address & !(granule - 1);
        let end = (address + bytes).next_multiple_of(granule);
        let came = pages.touch(AddressRange::new(start, end - start)) as u64;
        self.note_back(came);
    }

    fn touch(&self, range: AddressRange) {
        if let Some(pages) = self.pages.get() {
            pages.touch(range);
        }
    }

    /// A span is about to go home: what of it is away is not inside of a span any more.
    fn note_home(&self, range: AddressRange) {
        let watched = Hugepage::new(self.watched.load(Ordering::Relaxed));
        if watched.number() != 0 && watched == Hugepage::from_address(range.start) {
            self.look_at_watched();
        }
        if self.away_inside() == 0 {
            return;
        }
        let Some(pages) = self.pages.get() else { return };
        let there = pages.residency(range).map_or(range.bytes, |found| found.resident_bytes);
        self.note_back((range.bytes - there) as u64);
    }

    fn note_back(&self, bytes: u64) {
        self.away_inside.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }
}

impl<H> Touching<'_, H> {
    fn all_resident_bytes(&self) -> u64 {
        self.pages.get().map_or(0, |pages| pages.figures().resident_bytes as u64)
    }

    /// Counts anew what is away inside of spans. Costs a look at each page of the hugepages of which something was.
    fn count_away<E: Platform>(&self, platform: &E) {
        let Some(pages) = self.pages.get() else { return };
        let mut away = 0;
        let mut with_away = self.with_away.lock().unwrap_or_else(PoisonError::into_inner);
        with_away.retain(|&number| {
            let before = away;
            for_each_span_on(platform, Hugepage::new(number), |span| {
                let range = span.range::<E::Pages>();
                let there =
                    pages.residency(range).map_or(range.bytes, |found| found.resident_bytes);
                away += range.bytes - there;
            });
            away > before
        });
        drop(with_away);
        self.away_inside.store((away as u64).cast_signed(), Ordering::Relaxed);
        let watched = Hugepage::new(self.watched.load(Ordering::Relaxed));
        if watched.number() != 0 {
            self.watched_bytes.store(self.resident_bytes(watched), Ordering::Relaxed);
        }
    }
}

/// Calls `visit` for each span in use that begins on the hugepage.
fn for_each_span_on<E: Platform>(
    platform: &E,
    hugepage: Hugepage,
    mut visit: impl FnMut(SpanHandle),
) {
    let mut page = hugepage.first_page::<E::Pages>();
    let end = (hugepage + HugepageCount::ONE).first_page();
    while page < end {
        let span = platform.map().span_of(page).filter(|span| span.first() == page);
        page = page + PageCount::new(span.map_or(1, |span| span.pages().max(1)));
        if let Some(span) = span.filter(|span| span.place() == SpanPlace::InUse) {
            visit(span);
        }
    }
}

impl<H> Debug for Touching<'_, H> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Touching").finish_non_exhaustive()
    }
}

// SAFETY: 1. to 4. are the inner heap's, whose spans are passed on as they are; nothing is read or written here.
unsafe impl<P: PageSize, H: PageHeap<P>> PageHeap<P> for Touching<'_, H> {
    #[expect(clippy::disallowed_types, reason = "as above")]
    const EMPTY: Self = Self {
        heap: H::EMPTY,
        pages: OnceLock::new(),
        away_inside: AtomicI64::new(0),
        watched: AtomicUsize::new(0),
        watched_bytes: AtomicUsize::new(0),
        with_away: Mutex::new(BTreeSet::new()),
    };

    type Figures = H::Figures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        let span = self.heap.allocate(platform, request)?;
        self.touch(span.range::<P>());
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        self.note_home(span.range::<P>());
        // SAFETY: the span came from the inner heap, by `allocate`, and goes back as it came.
        unsafe { self.heap.deallocate(platform, span) }
    }

    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        self.note_home(span.range::<P>());
        // SAFETY: the span came from the inner heap, by `allocate`, and goes back as it came.
        unsafe { self.heap.deallocate_to_kernel(platform, span) }
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        // SAFETY: the span came from the inner heap, by `allocate`, and its owner alone knows it.
        let grown = unsafe { self.heap.extend(platform, span, pages) };
        if grown {
            self.touch(span.range::<P>());
        }
        grown
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        self.heap.release(platform, wanted, reason)
    }

    fn break_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        self.watch(hugepage);
        self.heap.break_hugepage(platform, hugepage, bytes)
    }

    fn maintain<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        let resident = self.all_resident_bytes();
        let due_ns = self.heap.maintain(platform, now_ns);
        // A collapse fills what is away, inside of spans and where the page heap believed memory that nobody has touched.
        if self.all_resident_bytes() != resident {
            self.count_away(platform);
        }
        due_ns
    }

    fn take_peak_bytes(&self) -> u64 {
        self.heap.take_peak_bytes()
    }

    fn for_each_part(&self, visit: impl FnMut(&'static str, u64)) {
        self.heap.for_each_part(visit);
    }

    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        self.heap.give_back_reserve(platform)
    }

    fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        self.heap.hugepage_figures(platform, hugepage)
    }

    fn set_limits(&self, limits: MemoryLimits) {
        self.heap.set_limits(limits);
    }

    fn stats(&self) -> PageHeapStats {
        self.heap.stats()
    }

    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut Self::Figures) {
        self.heap.read_figures(platform, figures);
    }

    fn stats_of(&self, temperature: Temperature) -> Option<PageHeapStats> {
        self.heap.stats_of(temperature)
    }

    fn read_figures_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        figures: &mut Self::Figures,
    ) -> bool {
        self.heap.read_figures_of(platform, temperature, figures)
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.heap.for_each_reservation(visit);
    }

    fn acquire(&self) {
        self.heap.acquire();
    }

    unsafe fn release_lock(&self) {
        // SAFETY: `acquire` took the inner heap's lock.
        unsafe { self.heap.release_lock() };
    }
}
