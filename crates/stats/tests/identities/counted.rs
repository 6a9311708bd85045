//! Address space from the kernel, with a count of its own.

use core::sync::atomic::{AtomicU64, Ordering};
use strata_alloc::{Config, HeapConfig, SelectedPageHeap};
use strata_os::{
    AddressRange, Advice, MapError, MonotonicClock, PageSource, Release, Reservation,
    ReserveRequest, Residency, SystemPages,
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
unsafe impl PageSource for CountedPages {
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

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        self.0.commit(range)
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.decommit(range) }
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.release(range, how) }
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.0.advise(range, advice)
    }

    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        self.0.residency(range)
    }

    fn page_bytes(&self) -> usize {
        self.0.page_bytes()
    }

    fn address_bits(&self) -> u32 {
        self.0.address_bits()
    }

    fn touchable(&self) -> bool {
        self.0.touchable()
    }
}
