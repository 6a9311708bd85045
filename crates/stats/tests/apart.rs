//! Sampled and cold spans have page heaps of their own, and these have sections of their own.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use strata_alloc::{Config, Heap};
use strata_page_heap::{PageHeap, SpanRequest, Temperature};
use strata_span::PageCount;
use strata_stats::{Dialect, Document, Extent, parse_whole, report, report_json};

#[test]
fn page_heaps_of_sampled_and_cold_spans_have_sections_of_their_own() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(300_000);
    let core = heap.core().unwrap();
    let text = |dialect| {
        let mut text = String::new();
        report(core, dialect, &mut text).unwrap();
        text
    };
    assert!(!text(Dialect::TcmallocTextToday).contains(" page allocator <<<<<<<"));

    // Nobody has sampled or cold blocks yet: so spans are asked for.
    let spans = [(Temperature::Cold, 3), (Temperature::Sampled, 7)].map(|(temperature, pages)| {
        let request = SpanRequest { temperature, ..SpanRequest::of(PageCount::new(pages)) };
        core.page_heap().allocate(core, request).unwrap()
    });
    let today = text(Dialect::TcmallocTextToday);
    let read = parse_whole(&today).unwrap();
    let tags: Vec<_> =
        read.lines("begin_page_heap").map(|line| line.figure("tag").unwrap().text()).collect();
    assert_eq!(tags, ["SAMPLED", "COLD"]);
    assert_eq!(read.lines("end_page_heap").count(), 2);
    for (tag, pages) in [("SAMPLED", 7), ("COLD", 3)] {
        let of =
            |form: &'static str| read.lines(form).find(move |line| line.page_heap == tag).unwrap();
        assert_eq!(of("filler").number("total"), Some(1), "{tag}");
        let live = of("per_size");
        assert_eq!((live.number("pages"), live.number("live")), (Some(pages), Some(1)), "{tag}");
        // The kernel was asked about its hugepage, where it tells about any.
        let asked = |page_heap: &str| {
            let lines = read.lines("filler_huge_backed").filter(|line| {
                line.page_heap == page_heap
                    && line.figure("what").unwrap().text() == "hugepage backed"
            });
            lines.map(|line| line.number("all").unwrap()).sum::<u64>()
        };
        assert_eq!(asked(tag), asked("").min(1), "{tag}");
        let went = read.lines("released_pages").filter(|line| line.page_heap == tag);
        assert_eq!(went.count(), 5, "{tag}: what went back, by reason");
    }
    let pbtxt = text(Dialect::TcmallocPbtxtToday);
    for tag in ["NORMAL", "SAMPLED", "COLD"] {
        assert_eq!(pbtxt.matches(&format!(" tag: {tag} ")).count(), 1, "{tag}");
    }
    // The forms of April 2020 knew one page heap.
    assert!(!text(Dialect::TcmallocText).contains("COLD"));
    assert!(!text(Dialect::TcmallocPbtxt).contains("COLD"));

    // Files have them, too.
    let mut json = String::new();
    report_json(core, Extent::Figures, &mut json).unwrap();
    let document = Document::read(json.as_bytes()).unwrap();
    let mut again = String::new();
    document.render(Dialect::TcmallocTextToday, &mut again).unwrap();
    let tags = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with(">>>>>>>"))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(&again), tags(&today));
    let mut written = String::new();
    document.write(&mut written).unwrap();
    assert_eq!(Document::read(written.as_bytes()).unwrap().page_heaps_apart.len(), 2);

    for span in spans {
        // SAFETY: the spans came from this page heap, and nobody uses them.
        unsafe { core.page_heap().deallocate(core, span) };
    }
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(block) };
}
