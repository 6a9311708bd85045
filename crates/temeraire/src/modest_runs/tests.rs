use crate::hugepage_aware::HugePageAware;
use std::{boxed::Box, vec::Vec};
use strata_os::{AddressRange, Advice, MapError, MonotonicClock, PageSource, SystemPages, ThpMode};
use strata_page_heap::{PageHeap, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, HUGEPAGE_BYTES, PageCount, SpanHandle};
use strata_sync::Mutex;

/// The kernel's pages, and what it was told of them.
struct Told {
    advice: Mutex<Vec<(AddressRange, Advice)>>,
}

// SAFETY: all four promises are those of the kernel's pages, to which every call is passed on.
unsafe impl strata_os::PageSourceLayer for Told {
    type Beneath = SystemPages;

    fn beneath(&self) -> &SystemPages {
        &SystemPages
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.advice.lock().push((range, advice));
        SystemPages.advise(range, advice)
    }
}

struct Heap {
    ground: Ground<Pages8K, Told, SystemPages, MonotonicClock>,
    heap: Box<HugePageAware<Pages8K>>,
    live: Vec<SpanHandle>,
}

impl Heap {
    /// A heap that takes the system's mode to be `mode`.
    fn under(mode: ThpMode) -> Self {
        let told = Told { advice: Mutex::new(Vec::new()) };
        let heap = Box::new(HugePageAware::new());
        heap.advice.pretend(mode);
        let ground = Ground::new(told, SystemPages::new(), MonotonicClock::new());
        Self { ground, heap, live: Vec::new() }
    }

    /// Spans of one page, all of which the program writes to.
    fn grow_to(&mut self, mebibytes: usize) {
        self.grow_and_touch(mebibytes, Pages8K::BYTES);
    }

    /// The same, of each of which it writes so many bytes.
    fn grow_and_touch(&mut self, mebibytes: usize, bytes: usize) {
        while self.live.len() * Pages8K::BYTES < mebibytes << 20 {
            let request = SpanRequest::of(PageCount::ONE);
            let span = self.heap.allocate(&self.ground, request).expect("memory");
            // SAFETY: the span is ours, a page long, and the kernel's pages are memory.
            unsafe { span.start::<Pages8K>().pointer().write_bytes(1, bytes) };
            self.live.push(span);
        }
    }

    /// The last that the kernel was told of the hugepage that each span lies in.
    fn told(&self) -> Vec<Option<Advice>> {
        let advice = self.ground.source.advice.lock();
        let of = |span: &SpanHandle| {
            let address = span.start::<Pages8K>().value();
            advice.iter().rev().find(|(range, _)| range.contains(address)).map(|told| told.1)
        };
        self.live.iter().map(of).collect()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        self.heap.for_each_reservation(|range| {
            // SAFETY: the heap is at its end, and with it all spans.
            let _ = unsafe { self.ground.source.unreserve(range) };
        });
    }
}

#[test]
fn a_small_heap_stays_on_small_pages_where_everything_gets_hugepages_until_it_has_grown() {
    let mut heap = Heap::under(ThpMode::Always);
    heap.grow_to(10);
    assert!(heap.told().iter().all(|told| *told == Some(Advice::NoHugepage)));
    assert!(heap.ground.source.advice.lock().len() <= 6, "a call a hugepage");
    heap.grow_to(20);
    let told = heap.told();
    assert!(told.iter().all(|told| *told != Some(Advice::NoHugepage)), "all of it may be huge");
    let old = (10 << 20) / Pages8K::BYTES;
    assert!(told[..old].iter().all(|told| *told == Some(Advice::Hugepage)));
}

#[test]
fn a_heap_asks_for_hugepages_once_it_has_grown_where_the_system_waits_for_that() {
    let mut heap = Heap::under(ThpMode::Madvise);
    heap.grow_to(10);
    assert!(heap.told().iter().all(Option::is_none), "a small one asks for nothing");
    heap.grow_to(32);
    let told = heap.told();
    let late = told.len() - (14 << 20) / Pages8K::BYTES;
    assert!(told[late..].iter().all(|told| *told == Some(Advice::Hugepage)));
}

#[test]
fn a_heap_whose_blocks_are_hardly_touched_asks_for_no_hugepages_until_they_are() {
    for mode in [ThpMode::Madvise, ThpMode::Always] {
        let mut heap = Heap::under(mode);
        heap.grow_and_touch(60, 1);
        let late = (20 << 20) / Pages8K::BYTES;
        let told = heap.told();
        assert!(told[late..].iter().all(|told| *told != Some(Advice::Hugepage)), "{mode:?}");
        if mode == ThpMode::Always {
            assert!(told[late..].iter().all(|told| *told == Some(Advice::NoHugepage)));
        }
        heap.grow_to(80);
        let late = (70 << 20) / Pages8K::BYTES;
        let allowed = |told: &Option<Advice>| match mode {
            ThpMode::Madvise => *told == Some(Advice::Hugepage),
            _ => *told != Some(Advice::NoHugepage),
        };
        assert!(heap.told()[late..].iter().all(allowed), "{mode:?}");
    }
}

#[test]
fn nothing_is_asked_for_where_the_system_wants_no_hugepages() {
    let mut heap = Heap::under(ThpMode::Never);
    heap.grow_to(32);
    let large = heap.heap.allocate(
        &heap.ground,
        SpanRequest::of(PageCount::new(20 * HUGEPAGE_BYTES / Pages8K::BYTES)),
    );
    heap.live.extend(large);
    assert!(heap.told().iter().all(Option::is_none));
}
