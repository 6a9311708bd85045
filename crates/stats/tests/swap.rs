//! Memory that the kernel has put into swap.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use core::fmt::Write;
use strata_alloc::{Config, Heap, HeapConfig, SelectedPageHeap};
use strata_os::{
    AddressRange, MapError, MonotonicClock, PageScan, PageSource, PageSourceLayer, Residency,
    SystemPages,
};
use strata_page_heap::PageHeap;
use strata_size_classes::Pages8K;
use strata_stats::{
    Category, Document, Extent, Figures, Finding, Ledger, Place, RenderPageHeap, Snapshot, explain,
    reconcile, render_brief, report_json,
};

const MIB: usize = 1 << 20;

/// Asks the kernel to put what stands in memory from `start` on into swap.
fn page_out(start: *mut u8, bytes: usize) {
    let first = start.map_addr(|address| address.next_multiple_of(4096));
    let bytes = bytes - (first.addr() - start.addr());
    // SAFETY: the caller's block. What it holds stays, in memory or not.
    let answer = unsafe { libc::madvise(first.cast(), bytes & !4095, libc::MADV_PAGEOUT) };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

fn bytes_of_pattern(block: *mut u8, bytes: usize) -> u8 {
    // SAFETY: the caller's block, which is written.
    unsafe { core::slice::from_raw_parts(block, bytes) }.iter().fold(0, |all, byte| all | byte)
}

/// A heap on whose machine a quarter of what stands in memory is always in swap.
struct ShortOfMemory;

/// The kernel's pages, of which a quarter is told to be in swap.
struct QuarterSwapped(SystemPages);

impl HeapConfig for ShortOfMemory {
    type Pages = Pages8K;
    type Source = QuarterSwapped;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static QuarterSwapped {
        static SOURCE: QuarterSwapped = QuarterSwapped(SystemPages::new());
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
}

// SAFETY: every call goes to the kernel's pages, which keep the promises; what is told of residency changes nothing.
unsafe impl PageSourceLayer for QuarterSwapped {
    type Beneath = SystemPages;

    fn beneath(&self) -> &SystemPages {
        &self.0
    }

    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        let mut residency = self.0.residency(range)?;
        residency.swapped_bytes = (residency.resident_bytes / 4) & !4095;
        residency.resident_bytes -= residency.swapped_bytes;
        residency.hugepage_bytes = residency.hugepage_bytes.min(residency.resident_bytes);
        Ok(residency)
    }

    fn residency_by(&self, _: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        PageSource::residency(self, range)
    }
}

#[test]
fn what_is_in_swap_is_told_by_every_form_and_counts_as_had() {
    let heap: Heap<ShortOfMemory> = Heap::with(Config::DEFAULT);
    let blocks = [(); 2].map(|()| heap.allocate(32 * MIB));
    for block in blocks {
        // SAFETY: the block is ours and so long.
        unsafe { block.write_bytes(7, 32 * MIB) };
    }
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(blocks[0]) };
    let core = heap.core().unwrap();
    let kernel = reconcile(core);
    println!("{kernel}");
    let (spans, pages) = (kernel.place(Place::Spans), kernel.place(Place::FreePages));
    assert_eq!((spans.swapped_bytes, spans.untouched_bytes()), (8 << 20, 0), "{kernel}");
    assert!(pages.swapped_bytes >= 2 << 20, "{kernel}");
    let in_swap: u64 = Place::ALL.iter().map(|place| kernel.place(*place).swapped_bytes).sum();
    // The other source, the totals of mappings, has nothing of that: what does not agree is told.
    assert!(!kernel.agrees(), "{kernel}");
    let snapshot = Snapshot::take(core);
    assert!(Ledger::of(&snapshot).bytes(Category::Core) > 0);

    let page_heap = core.page_heap().figures(core);
    let figures =
        Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: Some(&kernel) };
    let findings = explain(figures, None);
    let swapped = findings.iter().find_map(|finding| match finding {
        Finding::Swapped { swapped_bytes, free_bytes } => Some((*swapped_bytes, *free_bytes)),
        _ => None,
    });
    assert_eq!(swapped, Some((in_swap, pages.swapped_bytes)), "{findings}");
    assert!(findings.to_string().contains("are in swap"), "{findings}");
    // Without the kernel's side nobody knows.
    let silent = explain(Figures { kernel: None, ..figures }, None);
    assert!(!silent.iter().any(|finding| matches!(finding, Finding::Swapped { .. })));
    let mut brief = String::new();
    render_brief(figures, None, &mut brief).unwrap();
    assert!(brief.contains("  of it in swap\n"), "{brief}");

    let mut file = String::new();
    report_json(core, Extent::Map, &mut file).unwrap();
    let document = Document::read(file.as_bytes()).unwrap();
    let mapped: u64 = document.map.unwrap().iter().map(|run| run.swapped_bytes).sum();
    let read = document.kernel.unwrap();
    let (spans, pages) = (read.place(Place::Spans), read.place(Place::FreePages));
    assert_eq!(spans.swapped_bytes, 8 << 20);
    assert_eq!(mapped, spans.swapped_bytes + pages.swapped_bytes);
    let mut words = String::new();
    write!(words, "{read}").unwrap();
    assert!(words.contains("they do not agree"));
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(blocks[1]) };
}

/// Small and large blocks, and free pages, go into swap and come back: what is where is told, and nothing is counted twice.
#[test]
#[ignore = "it needs 64 MiB of free swap: see docs/notes/snapshots.md"]
fn what_was_swapped_out_is_a_line_of_its_own() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let large = heap.allocate(32 * MIB);
    let free = heap.allocate(8 * MIB);
    let small: Vec<_> = (0..4 * MIB / 64).map(|_| heap.allocate(64)).collect();
    // SAFETY: the blocks are ours and so long.
    unsafe { large.write_bytes(7, 32 * MIB) };
    // SAFETY: the blocks are ours and so long.
    unsafe { free.write_bytes(7, 8 * MIB) };
    for block in &small {
        // SAFETY: the blocks are ours and so long.
        unsafe { block.write_bytes(7, 64) };
    }
    let core = heap.core().unwrap();
    let before = reconcile(core);
    assert_eq!(before.mappings_swapped_bytes, 0);
    let ledger_before = Ledger::of(&Snapshot::take(core));

    page_out(large, 16 * MIB);
    page_out(free, 8 * MIB);
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(free) };
    let lowest = small.iter().copied().min().unwrap();
    page_out(lowest, 2 * MIB);
    let after = reconcile(core);
    println!("{after}");
    let (spans, pages) = (after.place(Place::Spans), after.place(Place::FreePages));
    assert!(spans.swapped_bytes > 15 << 20, "{after}");
    assert!(pages.swapped_bytes > 6 << 20, "{after}");
    assert!(after.agrees(), "{after}");
    let swapped: u64 = Place::ALL.iter().map(|place| after.place(*place).swapped_bytes).sum();
    assert_eq!(swapped, after.mappings_swapped_bytes, "two sources: {after}");
    let never =
        |kernel: &strata_stats::Reconciliation| kernel.place(Place::Spans).untouched_bytes();
    assert!(never(&after) <= never(&before), "what is swapped was touched: {after}");
    let snapshot = Snapshot::take(core);
    let page_heap = core.page_heap().figures(core);
    let figures =
        Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: Some(&after) };
    let findings = explain(figures, None);
    println!("{findings}");
    assert!(findings.iter().any(|finding| matches!(finding, Finding::Swapped { .. })));
    let ledger = Ledger::of(&snapshot);
    assert_eq!(ledger.unexplained(), 0);
    let moved = ledger_before.bytes(Category::InUse) - ledger.bytes(Category::InUse);
    assert_eq!(moved, 8 << 20, "what is swapped is in use still");
    assert_eq!(bytes_of_pattern(large, 32 * MIB), 7);
    let back = reconcile(core);
    assert!(back.place(Place::Spans).swapped_bytes < spans.swapped_bytes - (15 << 20), "{back}");
    assert!(back.agrees(), "{back}");
}
