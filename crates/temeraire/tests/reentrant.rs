//! Programs that use the heap while it gives memory back: they run inside the source's `release`,
//! where the heap's lock is dropped, and so do what other threads could do at that moment.

use core::cell::{Cell, RefCell};
use strata_os::{
    AddressRange, Advice, ManualClock, MapError, PageSource, Release, Reservation, ReserveRequest,
    Residency, SimulatedPages, SystemPages,
};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::Pages8K;
use strata_span::{Ground, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

type TestGround = Ground<Pages8K, CallingPages, SystemPages, ManualClock>;

static HEAP: HugePageAware<Pages8K> = HugePageAware::EMPTY;

thread_local! {
    static GROUND: &'static TestGround = Box::leak(Box::new(Ground::new(
        CallingPages(SimulatedPages::new()),
        SystemPages::new(),
        ManualClock::new(1 << 50),
    )));
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static SEED: Cell<u64> = const { Cell::new(20) };
    static LIVE: RefCell<Vec<SpanHandle>> = const { RefCell::new(Vec::new()) };
}

/// Simulated pages that run a program whenever some are released.
struct CallingPages(SimulatedPages);

// SAFETY: all four promises are those of the simulated pages, to which every call is passed on.
unsafe impl PageSource for CallingPages {
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        self.0.reserve(request)
    }
    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.unreserve(range) }
    }
    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        self.0.commit(range)
    }
    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.decommit(range) }
    }
    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        if DEPTH.get() < 5 {
            DEPTH.set(DEPTH.get() + 1);
            (0..below(6)).for_each(|_| step());
            DEPTH.set(DEPTH.get() - 1);
        }
        let used = LIVE.with_borrow(|live| {
            live.iter().any(|span| {
                let span = span.range::<Pages8K>();
                span.start < range.end() && range.start < span.end()
            })
        });
        assert!(!used, "what is on its way to the kernel was handed out: {range:?}");
        if below(20) == 0 {
            return Err(MapError::new(range.bytes, 12));
        }
        // SAFETY: the caller's promise is passed on.
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

/// A random number below `end` (the program is the same in each run).
fn below(end: usize) -> usize {
    let seed = SEED.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    SEED.set(seed);
    (seed >> 33) as usize % end
}

fn ground() -> &'static TestGround {
    GROUND.with(|ground| *ground)
}

fn step() {
    let pages = |pages| PageCount::new(1 + below(pages));
    match below(20) {
        0..9 => {
            let longest = [3, 128, 1024, 8192][below(4)];
            let request = SpanRequest::of(pages(longest));
            let span = HEAP.allocate(ground(), request).expect("simulated pages do not end");
            LIVE.with_borrow_mut(|live| live.push(span));
        }
        9..17 => {
            let count = LIVE.with_borrow(Vec::len);
            if count > 0 {
                let span = LIVE.with_borrow_mut(|live| live.swap_remove(below(count)));
                // SAFETY: it came from this heap, and is live no more.
                unsafe { HEAP.deallocate(ground(), span) };
            }
        }
        17 => ground().clock.advance(below(1 << 36) as u64),
        _ => {
            let reason = [ReleaseReason::Call, ReleaseReason::SoftLimit][below(2)];
            HEAP.release(ground(), pages(4000), reason);
        }
    }
}

#[test]
fn programs_that_run_inside_a_release_find_the_heap_in_order() {
    for _ in 0..20_000 {
        step();
        let stats = HEAP.stats();
        let live: usize =
            LIVE.with_borrow(|live| live.iter().map(|span| span.bytes::<Pages8K>()).sum());
        assert_eq!(stats.in_use_bytes, live as u64);
        assert_eq!(
            stats.system_bytes,
            stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes,
            "{stats:?}"
        );
    }
    let figures = HEAP.figures(ground());
    let counters = figures.filler.counters;
    assert!(counters.subreleased_pages > 0 && figures.cache.periodic_unbacked_hugepages > 0);
    let (backed, unmapped) = figures.spans.total_bytes();
    let stats = HEAP.stats();
    assert_eq!((backed, unmapped), (stats.free_bytes, stats.unmapped_bytes));
    assert!(stats.release_failures > 0);
}
