use crate::{
    PageHeap, ReleaseReason,
    legacy_page_heap::tests::{
        HUGEPAGE, Heap, Site, first, get, put, release_all, row, site, site_on,
    },
};
use std::vec::Vec;
use strata_os::{
    AddressRange, CallKinds, FailingPages, Fault, PageSource, PageSourceLayer, SimulatedPages,
};
use strata_span::{PageCount, SpanHandle, SpanPlace};

fn extend<S: PageSource>(heap: &Heap, site: &Site<S>, span: SpanHandle, pages: usize) -> bool {
    // SAFETY: the tests extend spans that they have from this heap, and enter no pages.
    unsafe { heap.extend(site, span, PageCount::new(pages)) }
}

#[test]
fn a_span_takes_the_front_of_the_free_span_behind_it() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[4, 10, 2]);
    let start = first(spans[0]);
    put(&heap, &site, spans[1]);
    assert!(extend(&heap, &site, spans[0], 7));
    assert_eq!((first(spans[0]), spans[0].pages()), (start, 7));
    assert_eq!(site.map.span_of(start + PageCount::new(3)), None, "it ended there");
    assert_eq!(site.map.span_of(start + PageCount::new(6)), Some(spans[0]));
    let rest = site.map.span_of(start + PageCount::new(7)).expect("free pages");
    assert_eq!((rest.pages(), rest.place()), (7, SpanPlace::Free));
    assert_eq!(site.map.span_of(start + PageCount::new(13)), Some(rest));
    let stats = heap.stats();
    assert_eq!((stats.free_bytes, stats.in_use_bytes), (7 * 8192, (256 - 7) * 8192));
    assert_eq!(stats.spans_in_use, 3, "no span came or went");
    // All of it, and its structure is of use to others.
    let structures = site.spans.stats().in_use;
    assert!(extend(&heap, &site, spans[0], 14));
    assert_eq!(site.spans.stats().in_use, structures - 1);
    assert_eq!(heap.stats().free_bytes, 0);
    assert!(!extend(&heap, &site, spans[0], 15), "somebody has the page behind it");
    assert_eq!(spans[0].pages(), 14);
}

#[test]
fn what_is_left_behind_a_span_that_grew_is_as_old_as_it_was() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[4, 10, 2]);
    put(&heap, &site, spans[1]);
    site.clock.advance(40_000_000_000);
    assert!(extend(&heap, &site, spans[0], 5));
    let ages = heap.figures(&site).ages.live;
    assert_eq!(ages.total.pages[2], 9, "nine pages have waited for 30 seconds to a minute");
}

#[test]
fn backed_and_released_pages_are_taken_alike_and_counted_apart() {
    let (site, heap) = (site(), Heap::EMPTY);
    let spans = row(&heap, &site, &[4, 3, 5, 2]);
    put(&heap, &site, spans[2]);
    release_all(&heap, &site);
    put(&heap, &site, spans[1]);
    let before = heap.stats();
    assert_eq!((before.free_bytes, before.unmapped_bytes), (3 * 8192, 5 * 8192));
    assert!(!extend(&heap, &site, spans[0], 13), "there are twelve");
    assert!(extend(&heap, &site, spans[0], 9));
    let after = heap.stats();
    assert_eq!((after.free_bytes, after.unmapped_bytes), (0, 3 * 8192));
    assert_eq!(after.in_use_bytes, before.in_use_bytes + 5 * 8192);
}

#[test]
fn a_span_at_the_end_of_the_heap_grows_with_it() {
    let (site, heap) = (site(), Heap::EMPTY);
    let span = get(&heap, &site, 64);
    let start = first(span);
    for pages in [128, HUGEPAGE, 2 * HUGEPAGE, 2 * HUGEPAGE + 1, 8 * HUGEPAGE] {
        assert!(extend(&heap, &site, span, pages), "{pages}");
        assert_eq!((first(span), span.pages()), (start, pages));
    }
    let stats = heap.stats();
    assert_eq!((stats.system_bytes, stats.in_use_bytes), (16 << 20, 16 << 20));
    // The first reservation has 32 MiB, and no further one is made for that.
    assert!(extend(&heap, &site, span, 16 * HUGEPAGE));
    let reserved = heap.stats().reserved_bytes;
    assert!(!extend(&heap, &site, span, 16 * HUGEPAGE + 1));
    assert_eq!(heap.stats().reserved_bytes, reserved);
    put(&heap, &site, span);
    assert_eq!(heap.stats().free_bytes, 32 << 20);
}

#[test]
fn a_span_that_cannot_grow_for_want_of_memory_stays_as_it_is() {
    let (site, heap) = (site_on(FailingPages::new(SimulatedPages::new())), Heap::EMPTY);
    let span = get(&heap, &site, HUGEPAGE - 1);
    site.source.arm(Fault::always().of(CallKinds::COMMIT));
    let before = heap.stats();
    while extend(&heap, &site, span, span.pages() + HUGEPAGE) {}
    let refused = span.pages();
    assert!(!extend(&heap, &site, span, refused + HUGEPAGE));
    assert_eq!(span.pages(), refused);
    site.source.disarm();
    assert!(extend(&heap, &site, span, refused + HUGEPAGE));
    assert!(heap.stats().system_bytes > before.system_bytes);
    put(&heap, &site, span);
    assert_eq!(heap.stats().in_use_bytes, 0);
}

#[test]
fn ranges_that_the_source_keeps_apart_are_not_made_one() {
    let (site, heap) = (site_on(Apart(SimulatedPages::new())), Heap::EMPTY);
    let spans = [get(&heap, &site, HUGEPAGE), get(&heap, &site, HUGEPAGE)];
    assert_eq!(spans[0].end::<strata_size_classes::Pages8K>(), first(spans[1]));
    put(&heap, &site, spans[1]);
    assert!(!extend(&heap, &site, spans[0], HUGEPAGE + 1));
}

#[test]
fn a_span_that_grew_counts_in_the_record_of_its_new_length() {
    let (site, heap) = (site(), Heap::EMPTY);
    let span = get(&heap, &site, 3);
    assert!(extend(&heap, &site, span, 5));
    let live = |heap: &Heap| {
        let allocations = heap.figures(&site).allocations;
        allocations.records().map(|record| (record.least_pages, record.live())).collect::<Vec<_>>()
    };
    assert_eq!(live(&heap), [(3, 0), (5, 1)]);
    put(&heap, &site, span);
    assert_eq!(live(&heap), [(3, 0), (5, 0)]);
    assert_eq!(heap.release(&site, PageCount::new(5), ReleaseReason::Call), PageCount::new(5));
}

/// Pages whose hugepages must not be treated as one range.
#[derive(Debug)]
struct Apart(SimulatedPages);

// SAFETY: all answers are the simulated pages', but that nothing may be merged, which is a wish.
unsafe impl PageSourceLayer for Apart {
    type Beneath = SimulatedPages;

    fn beneath(&self) -> &SimulatedPages {
        &self.0
    }

    fn may_merge(&self, _: AddressRange, _: AddressRange) -> bool {
        false
    }
}
