//! A page heap whose spans are touched as soon as they are handed out.

use core::fmt::{self, Debug, Formatter};
#[expect(clippy::disallowed_types, reason = "set once, before the heap has a span")]
use std::sync::OnceLock;

use strata_os::{AddressRange, SimulatedPages};
use strata_page_heap::{MemoryLimits, PageHeap, PageHeapStats, ReleaseReason, SpanRequest};
use strata_span::{PageCount, PageSize, Platform, SpanHandle};

/// A page heap over simulated pages, to which it says that each span is written to when it is handed out: what had been
/// released there counts as backed again, and as faulted in.
///
/// A program touches what it asked for; simulated pages cannot see that. It is told here, span by span.
pub struct Touching<'a, H> {
    heap: H,
    #[expect(clippy::disallowed_types, reason = "set once, before the heap has a span")]
    pages: OnceLock<&'a SimulatedPages>,
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

    fn touch(&self, range: AddressRange) {
        if let Some(pages) = self.pages.get() {
            pages.touch(range);
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
    const EMPTY: Self = Self { heap: H::EMPTY, pages: OnceLock::new() };

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

    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.deallocate(platform, span) };
    }

    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        // SAFETY: the caller's promise.
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

    fn set_limits(&self, limits: MemoryLimits) {
        self.heap.set_limits(limits);
    }

    fn stats(&self) -> PageHeapStats {
        self.heap.stats()
    }

    fn figures<E: Platform<Pages = P>>(&self, platform: &E) -> Self::Figures {
        self.heap.figures(platform)
    }

    fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.heap.for_each_reservation(visit);
    }

    fn acquire(&self) {
        self.heap.acquire();
    }

    unsafe fn release_lock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.release_lock() };
    }
}
