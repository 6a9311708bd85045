//! Address space from the kernel, with a count of its own.

use core::sync::atomic::{AtomicU64, Ordering};
use strata_alloc::{Config, HeapConfig, SelectedPageHeap};
use strata_os::{
    AddressRange, MapError, MonotonicClock, PageSource, PageSourceLayer, Reservation,
    ReserveRequest, SystemPages,
};
use strata_size_classes::Pages8K;

/// A heap whose source counts what it hands out.
pub(crate) struct Counted;

/// The kernel's pages, counted.
pub(crate) struct CountedPages(SystemPages);

static OUTSTANDING: AtomicU64 = AtomicU64::new(0);

/// Bytes that were reserved and not given back.
pub(crate) fn outstanding_bytes() -> u64 {
    OUTSTANDING.load(Ordering::Relaxed)
}

impl HeapConfig for Counted {
    type Pages = Pages8K;
    type Source = CountedPages;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static CountedPages {
        static SOURCE: CountedPages = CountedPages(SystemPages::new());
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }

    fn configure(page_heap: &SelectedPageHeap<Pages8K>, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

// SAFETY: every call goes to the kernel's pages, which keep the promises; counting changes nothing.
unsafe impl PageSourceLayer for CountedPages {
    type Beneath = SystemPages;

    fn beneath(&self) -> &SystemPages {
        &self.0
    }

    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        let reservation = self.0.reserve(request)?;
        OUTSTANDING.fetch_add(reservation.range.bytes as u64, Ordering::Relaxed);
        Ok(reservation)
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.unreserve(range)? };
        OUTSTANDING.fetch_sub(range.bytes as u64, Ordering::Relaxed);
        Ok(())
    }
}
