//! How long a step of giving memory back can hold the heap's lock: it holds it between two calls of the source,
//! never across one, so that the time between two calls bounds each hold.
//!
//! `cargo test --release --package strata-temeraire --test release_cost -- --ignored --nocapture` prints the figures that
//! `docs/notes/performance.md` has.

use core::mem::MaybeUninit;
use strata_os::{
    AddressRange, Advice, ManualClock, MapError, PageSource, Release, SimulatedPages, SystemPages,
};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::Pages8K;
use strata_span::{Ground, PageCount, Platform};
use strata_sync::Mutex;
use strata_temeraire::HugePageAware;

/// Time that this thread ran, in nanoseconds: what else runs on the machine does not show.
fn ran_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the place is ours, and as large as a time.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call succeeded, and has filled it.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Pages that note how long the heap ran between two calls.
struct Watched<S> {
    pages: S,
    /// When the last call ended, and the times between calls.
    seen: Mutex<(u64, Vec<u64>)>,
}

impl<S> Watched<S> {
    fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        self.note();
        let answer = call();
        self.seen.lock().0 = ran_ns();
        answer
    }

    fn note(&self) {
        let mut seen = self.seen.lock();
        let between = ran_ns() - seen.0;
        seen.1.push(between);
    }
}

// SAFETY: all calls go to the pages inside, which answer for every number.
unsafe impl<S: PageSource> strata_os::PageSourceLayer for Watched<S> {
    type Beneath = S;

    fn beneath(&self) -> &S {
        &self.pages
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        self.call(|| unsafe { self.pages.release(range, how) })
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.call(|| self.pages.advise(range, advice))
    }
}

#[test]
#[ignore = "prints figures"]
fn what_steps_of_giving_back_take() {
    for mebibytes in [1 << 10, 32 << 10] {
        measure("simulated", SimulatedPages::new(), mebibytes);
    }
}

#[test]
#[ignore = "prints figures, and touches 512 MiB"]
fn a_step_of_giving_back_memory_of_the_kernel_is_short() {
    measure("the kernel's", SystemPages::new(), 512);
}

/// Gives back a heap half of whose spans are free, a mebibyte a step.
fn measure<S: PageSource>(whose: &str, pages: S, mebibytes: usize) {
    let ground = Ground::<Pages8K, _, _, _>::new(
        Watched { pages, seen: Mutex::default() },
        SystemPages::new(),
        ManualClock::new(1),
    );
    let heap = Box::new(HugePageAware::<Pages8K>::new());
    let mut seed = 7_u64;
    let mut below = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % end
    };
    let mut spans = Vec::new();
    let mut taken = 0;
    while taken < mebibytes << 7 {
        let length = 1 + below(8);
        taken += length;
        let span = heap.allocate(&ground, SpanRequest::of(PageCount::new(length)));
        let span = span.expect("memory");
        if ground.source().touchable() {
            let place: *mut u8 =
                core::ptr::with_exposed_provenance_mut(span.start::<Pages8K>().value());
            // SAFETY: the span is ours, and as long.
            unsafe { place.write_bytes(1, span.bytes::<Pages8K>()) };
        }
        spans.push(span);
    }
    for span in spans {
        if below(2) == 0 {
            // SAFETY: had above, and used no more.
            unsafe { heap.deallocate(&ground, span) };
        }
    }
    let mut count = 0;
    ground.source().seen.lock().1.clear();
    loop {
        ground.source().seen.lock().0 = ran_ns();
        let given = heap.release(&ground, PageCount::new(128), ReleaseReason::Idle);
        ground.source().note();
        count += 1;
        if given == PageCount::ZERO {
            break;
        }
    }
    let mut steps = core::mem::take(&mut ground.source().seen.lock().1);
    steps.sort_unstable();
    let at = |share: f64| steps[((steps.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{mebibytes:>6} MiB, {whose}, {count} steps of 1 MiB, {} times between calls: median {:.1} µs, p99 {:.1}, p99.9 {:.1}, longest {:.1}",
        steps.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    heap.for_each_reservation(|range| {
        // SAFETY: the heap is at its end, and with it all spans.
        let _ = unsafe { ground.source().unreserve(range) };
    });
}
