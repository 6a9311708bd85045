//! The heap over real memory: what it says of the memory is so.

use strata_os::{Clock, MonotonicClock, PageSource, SystemPages, ThpMode, thp_mode};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, HUGEPAGE_BYTES, PageCount, SpanHandle};
use strata_temeraire::{HugePageAware, SkipIntervals};

type RealGround = Ground<Pages8K, SystemPages, SystemPages, MonotonicClock>;

struct Heap {
    ground: RealGround,
    heap: Box<HugePageAware<Pages8K>>,
}

impl Heap {
    fn new() -> Self {
        let ground = Ground::new(SystemPages::new(), SystemPages::new(), MonotonicClock::new());
        Self { ground, heap: Box::new(HugePageAware::new()) }
    }

    fn allocate(&self, pages: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::new(pages));
        self.heap.allocate(&self.ground, request).expect("memory is not short")
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    fn release_all(&self) {
        self.heap.release(&self.ground, PageCount::new(1 << 30), ReleaseReason::HardLimit);
    }

    fn resident_bytes(&self) -> usize {
        let mut bytes = 0;
        self.heap.for_each_reservation(|range| {
            bytes += self.ground.source.residency(range).map_or(0, |found| found.resident_bytes);
        });
        bytes
    }
}

impl Drop for Heap {
    /// Every test ends with sums that hold.
    fn drop(&mut self) {
        let stats = self.heap.stats();
        let pages = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
        assert!(pages == stats.system_bytes || std::thread::panicking(), "{stats:#?}");
        self.heap.for_each_reservation(|range| {
            // SAFETY: the heap is at its end, and with it all spans.
            let _ = unsafe { self.ground.source.unreserve(range) };
        });
    }
}

/// The memory of a span.
fn memory(span: SpanHandle) -> &'static mut [u8] {
    // SAFETY: the span is out, its memory committed, and the test uses it through one slice at a time.
    unsafe {
        core::slice::from_raw_parts_mut(span.start::<Pages8K>().pointer(), span.bytes::<Pages8K>())
    }
}

fn random(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

#[test]
fn spans_that_are_called_zeroed_read_as_zero_and_others_keep_what_was_written() {
    let heap = Heap::new();
    let (mut seed, mut live, mut zeroed) = (31, Vec::<(SpanHandle, u8)>::new(), 0);
    for step in 0..1500 {
        match random(&mut seed) % 20 {
            0..10 if live.len() < 300 => {
                let pages = 1 + random(&mut seed) % [3, 40, 500][random(&mut seed) % 3];
                let span = heap.allocate(pages);
                if span.is_zeroed() {
                    zeroed += 1;
                    assert!(memory(span).iter().all(|byte| *byte == 0), "{span:?} in step {step}");
                }
                let mark = (step % 250 + 1) as u8;
                memory(span).fill(mark);
                live.push((span, mark));
            }
            19 => {
                let wanted = PageCount::new(random(&mut seed) % 2000);
                heap.heap.release(&heap.ground, wanted, ReleaseReason::SoftLimit);
            }
            _ if !live.is_empty() => {
                let (span, mark) = live.swap_remove(random(&mut seed) % live.len());
                assert!(memory(span).iter().all(|byte| *byte == mark), "{span:?} was overwritten");
                heap.deallocate(span);
            }
            _ => {}
        }
    }
    assert!(zeroed > 50, "{zeroed} spans were called zeroed");
}

#[test]
fn the_kernel_agrees_with_what_the_heap_calls_backed() {
    let heap = Heap::new();
    let spans: Vec<_> = (0..2000).map(|index| heap.allocate(1 + index % 40)).collect();
    spans.iter().for_each(|span| memory(*span).fill(1));
    let backed = heap.heap.stats().in_use_bytes as usize;
    // Of the last hugepage, and of donated tails, a part was never touched.
    let resident = heap.resident_bytes();
    assert!((backed..=backed + 64 * HUGEPAGE_BYTES).contains(&resident), "{backed} {resident}");
    for span in spans.iter().step_by(2) {
        heap.deallocate(*span);
    }
    heap.release_all();
    let stats = heap.heap.stats();
    assert_eq!((stats.free_bytes, stats.release_failures), (0, 0));
    assert_eq!(heap.resident_bytes(), stats.in_use_bytes as usize, "to the byte");
    for span in spans.iter().skip(1).step_by(2) {
        heap.deallocate(*span);
    }
    heap.release_all();
    assert_eq!(heap.resident_bytes(), 0);
    assert_eq!(heap.heap.stats().unmapped_bytes, heap.heap.stats().system_bytes);
}

#[test]
fn hugepages_are_asked_for_once_the_heap_is_large_and_forbidden_where_it_is_broken() {
    let heap = Heap::new();
    let advised = || heap.heap.figures(&heap.ground).advice;
    let per_mib = (1 << 20) / Pages8K::BYTES;
    // A program that touches what it has.
    let touched = || {
        let span = heap.allocate(1);
        memory(span).fill(1);
        span
    };
    let small: Vec<_> = (0..10 * per_mib).map(|_| touched()).collect();
    assert_eq!(advised().advised_bytes, 0, "a heap of 10 MiB asks for nothing");
    let large: Vec<_> = (0..20 * per_mib).map(|_| touched()).collect();
    let asked = thp_mode() == ThpMode::Madvise;
    assert_eq!(advised().advised_bytes > 10 << 20, asked);
    let block = heap.allocate(64 * per_mib);
    assert_eq!(advised().advised_bytes > 70 << 20, asked);
    heap.heap.set_skip_intervals(SkipIntervals::NONE);
    large.iter().step_by(2).for_each(|span| heap.deallocate(*span));
    heap.heap.release(&heap.ground, PageCount::new(4 * per_mib), ReleaseReason::Call);
    let forbidden = matches!(thp_mode(), ThpMode::Madvise | ThpMode::Always);
    assert_eq!(advised().forbidden_hugepages >= 4, forbidden);
    // A broken hugepage that empties may be whole again.
    large.iter().skip(1).step_by(2).for_each(|span| heap.deallocate(*span));
    small.into_iter().chain([block]).for_each(|span| heap.deallocate(span));
    assert_eq!((advised().forbidden_hugepages, advised().failures), (0, 0));
}

/// Hands out forty spans of 8 MiB, touches `touched` bytes of each, and says what the kernel says of all.
fn residency_of_large_spans(touched: usize) -> strata_os::Residency {
    let heap = Heap::new();
    let spans: Vec<_> = (0..40)
        .map(|_| {
            let span = heap.allocate((8 << 20) / Pages8K::BYTES);
            memory(span).iter_mut().take(touched).step_by(4096).for_each(|byte| *byte = 1);
            span
        })
        .collect();
    let mut sum = strata_os::Residency::default();
    heap.heap.for_each_reservation(|range| {
        let found = heap.ground.source.residency(range).unwrap_or_default();
        sum.resident_bytes += found.resident_bytes;
        sum.hugepage_bytes += found.hugepage_bytes;
    });
    spans.into_iter().for_each(|span| heap.deallocate(span));
    sum
}

#[test]
fn large_spans_of_a_program_that_touches_little_stay_on_small_pages() {
    let found = residency_of_large_spans(1);
    // The first few are on hugepages, until the first trial is looked at.
    assert!(found.resident_bytes < 12 * HUGEPAGE_BYTES, "{found:?}");
}

/// Bytes of hugepages that the kernel had none for when they were touched, of all processes since it started.
fn hugepage_bytes_refused() -> usize {
    let counts = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let refused = counts.lines().find_map(|line| line.strip_prefix("thp_fault_fallback "));
    refused.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0) * HUGEPAGE_BYTES
}

#[test]
fn large_spans_of_a_program_that_fills_them_are_on_hugepages() {
    let before = hugepage_bytes_refused();
    let found = residency_of_large_spans(8 << 20);
    let refused = hugepage_bytes_refused() - before;
    assert!(found.resident_bytes >= 320 << 20, "{found:?}");
    if matches!(thp_mode(), ThpMode::Madvise | ThpMode::Always) {
        assert!(found.hugepage_bytes + refused >= 240 << 20, "{found:?}, {refused} refused");
    }
}

#[test]
fn full_hugepages_on_small_pages_are_put_together_where_the_kernel_can() {
    let heap = Heap::new();
    let per_mib = (1 << 20) / Pages8K::BYTES;
    // The first 16 MiB are not advised, and stand on small pages where the system waits for advice.
    let spans: Vec<_> = (0..24 * per_mib).map(|_| heap.allocate(1)).collect();
    spans.iter().for_each(|span| memory(*span).fill(7));
    let hugepage_bytes = || {
        let mut bytes = 0;
        heap.heap.for_each_reservation(|range| {
            bytes += heap.ground.source.residency(range).map_or(0, |found| found.hugepage_bytes);
        });
        bytes
    };
    let (before, resident) = (hugepage_bytes(), heap.resident_bytes());
    let now_ns = heap.ground.clock.now_ns();
    heap.heap.maintain(&heap.ground, now_ns);
    let figures = heap.heap.figures(&heap.ground).collapse;
    if thp_mode() == ThpMode::Never {
        assert_eq!(figures.asked, 0, "nothing is asked for where the system wants no hugepages");
    } else {
        assert!(figures.asked > 0);
        let grown = hugepage_bytes() - before;
        assert!(grown as u64 >= figures.collapsed * HUGEPAGE_BYTES as u64, "{grown} {figures:?}");
        assert!(heap.resident_bytes() <= resident + figures.collapsed as usize * (64 << 12));
    }
    assert!(spans.iter().all(|span| memory(*span).iter().all(|byte| *byte == 7)));
    spans.into_iter().for_each(|span| heap.deallocate(span));
}
