//! The page heap that is chosen at start.

use crate::PageHeapChoice;
use strata_os::AddressRange;
use strata_page_heap::{
    Ended, HugepageBreak, HugepageFigures, LegacyFigures, LegacyPageHeap, MemoryLimits, PageHeap,
    PageHeapStats, ReleaseReason, SharedHugepage, SpanRequest, Temperature, copy_into_place,
};
use strata_size_classes::PageSize;
use strata_span::{Hugepage, PageCount, Platform, SpanHandle};
use strata_sync::atomic::{AtomicBool, Ordering};
use strata_temeraire::{SkipIntervals, Temeraire, TemeraireFigures};

/// The hugepage-aware page heap or the legacy one, as [`select`](Self::select) says before the first span.
///
/// The question costs one predictable branch a span. It stands in front, beside what each heap uses.
#[repr(C)]
#[derive(Debug)]
pub struct SelectedPageHeap<P: PageSize> {
    /// Written by `select`, before the heap is used; read by every operation.
    is_legacy: AtomicBool,
    temeraire: Temeraire<P>,
    legacy: LegacyPageHeap<P>,
}

/// The figures of the page heap that was chosen.
#[expect(
    clippy::large_enum_variant,
    reason = "they stand on the stack of whoever asks, and nothing may be allocated"
)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SelectedFigures {
    /// Of the hugepage-aware page heap.
    Temeraire(TemeraireFigures),
    /// Of the legacy page heap.
    Legacy(LegacyFigures),
}

impl SelectedFigures {
    /// Those of a hugepage-aware page heap without pages.
    pub const NONE: Self = Self::Temeraire(TemeraireFigures::NONE);

    /// The figures of the hugepage-aware page heap; what stands there goes, if it is not of such a one.
    fn temeraire(&mut self) -> Option<&mut TemeraireFigures> {
        if let Self::Legacy(_) = self {
            copy_into_place(self, &Self::NONE);
        }
        if let Self::Temeraire(figures) = self { Some(figures) } else { None }
    }

    /// The same of the legacy page heap.
    fn legacy(&mut self) -> Option<&mut LegacyFigures> {
        if let Self::Temeraire(_) = self {
            copy_into_place(self, &const { Self::Legacy(LegacyFigures::NONE) });
        }
        if let Self::Legacy(figures) = self { Some(figures) } else { None }
    }
}

impl Default for SelectedFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl<P: PageSize> SelectedPageHeap<P> {
    /// Chooses. Only before the first span is asked for.
    pub fn select(&self, choice: PageHeapChoice) {
        self.is_legacy.store(choice == PageHeapChoice::Legacy, Ordering::Relaxed);
    }

    /// What was chosen.
    pub fn choice(&self) -> PageHeapChoice {
        if self.is_legacy() { PageHeapChoice::Legacy } else { PageHeapChoice::Temeraire }
    }

    /// How far back the hugepage-aware page heap looks at demand before it gives back what that may want again;
    /// none where the legacy one was chosen, which does not look back.
    pub fn skip_intervals(&self) -> Option<SkipIntervals> {
        (!self.is_legacy()).then(|| self.temeraire.skip_intervals())
    }

    /// Sets that; false where the legacy page heap was chosen.
    pub fn set_skip_intervals(&self, intervals: SkipIntervals) -> bool {
        if !self.is_legacy() {
            self.temeraire.set_skip_intervals(intervals);
        }
        !self.is_legacy()
    }

    fn is_legacy(&self) -> bool {
        self.is_legacy.load(Ordering::Relaxed)
    }
}

/// Calls a method of the chosen page heap.
macro_rules! chosen {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        if $self.is_legacy() {
            $self.legacy.$method($($argument),*)
        } else {
            $self.temeraire.$method($($argument),*)
        }
    };
    (unsafe $self:ident.$method:ident($($argument:expr),*)) => {
        if $self.is_legacy() {
            // SAFETY: what the caller promises of this page heap holds for the legacy one, since the choice never changes:
            // spans came from it, and its lock is the one that was taken.
            unsafe { $self.legacy.$method($($argument),*) }
        } else {
            // SAFETY: the same of Temeraire, which was chosen before the first span.
            unsafe { $self.temeraire.$method($($argument),*) }
        }
    };
}

// SAFETY: all calls go to one of two implementations, the same one always, which answer for 1 to 4.
unsafe impl<P: PageSize> PageHeap<P> for SelectedPageHeap<P> {
    const EMPTY: Self = Self {
        is_legacy: AtomicBool::new(false),
        temeraire: Temeraire::EMPTY,
        legacy: LegacyPageHeap::EMPTY,
    };

    const EMPTY_IS_ZERO: bool = <Temeraire<P> as PageHeap<P>>::EMPTY_IS_ZERO
        && <LegacyPageHeap<P> as PageHeap<P>>::EMPTY_IS_ZERO;

    type Figures = SelectedFigures;

    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle> {
        chosen!(self.allocate(platform, request))
    }

    // Who gives back what did not fit is deep in the stack already, and would have the room for all of this as its own.
    #[inline(never)]
    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool {
        chosen!(unsafe self.deallocate(platform, span))
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        chosen!(unsafe self.deallocate_to_kernel(platform, span))
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        chosen!(unsafe self.extend(platform, span, pages))
    }

    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P> {
        chosen!(self.release(platform, wanted, reason))
    }

    fn break_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        chosen!(self.break_hugepage(platform, hugepage, bytes))
    }

    fn take_peak_bytes(&self) -> u64 {
        chosen!(self.take_peak_bytes())
    }

    #[unsafe(link_section = ".text_rarely")]
    fn maintain<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        chosen!(self.maintain(platform, now_ns))
    }

    fn for_each_part(&self, visit: impl FnMut(&'static str, u64)) {
        chosen!(self.for_each_part(visit));
    }

    fn set_limits(&self, limits: MemoryLimits) {
        chosen!(self.set_limits(limits))
    }

    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        chosen!(self.give_back_reserve(platform))
    }

    #[unsafe(link_section = ".text_rarely")]
    fn stats(&self) -> PageHeapStats {
        chosen!(self.stats())
    }

    fn in_use_bytes(&self) -> u64 {
        chosen!(self.in_use_bytes())
    }

    fn for_each_shared_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        visit: impl FnMut(&SharedHugepage),
    ) {
        chosen!(self.for_each_shared_hugepage(platform, visit));
    }

    fn for_each_shared_hugepage_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        visit: impl FnMut(&SharedHugepage),
    ) {
        chosen!(self.for_each_shared_hugepage_of(platform, temperature, visit));
    }

    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut SelectedFigures) {
        let _ = self.read_figures_of(platform, Temperature::Normal, figures);
    }

    fn stats_of(&self, temperature: Temperature) -> Option<PageHeapStats> {
        chosen!(self.stats_of(temperature))
    }

    fn read_figures_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        figures: &mut SelectedFigures,
    ) -> bool {
        if self.is_legacy() {
            let figures = figures.legacy();
            figures.is_some_and(|it| self.legacy.read_figures_of(platform, temperature, it))
        } else {
            let figures = figures.temeraire();
            figures.is_some_and(|it| self.temeraire.read_figures_of(platform, temperature, it))
        }
    }

    fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        chosen!(self.hugepage_figures(platform, hugepage))
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        chosen!(self.for_each_reservation(visit))
    }

    fn acquire(&self) {
        chosen!(self.acquire())
    }

    unsafe fn release_lock(&self) {
        chosen!(unsafe self.release_lock())
    }
}
