//! A snapshot with the figures of TCMalloc's own documentation is printed as the documentation has it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use strata_alloc::{Config, FrontEnd, Heap};
use strata_cpu_cache::{Fences, IdKind};
use strata_os::ProcessMemory;
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{ArenaStats, MetadataKind, PageMapStats};
use strata_stats::{
    ClassFigures, ClassTable, CpuFigures, CpuTable, Ledger, RenderPageHeap, Snapshot,
    render_tcmalloc,
};

/// A snapshot in which every figure that is printed is set, beginning with those of an actual heap.
fn snapshot() -> Snapshot {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(1);
    let mut snapshot = Snapshot::take(heap.core().expect("set up"));
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(block) };
    set_bytes(&mut snapshot);
    set_metadata(&mut snapshot);
    set_tables(&mut snapshot);
    snapshot.process = Some(ProcessMemory {
        resident_bytes: 86_880_677_888,
        mapped_bytes: 89_124_790_272,
        pte_bytes: 0,
        threads: 1,
    });
    snapshot.heap.front_end = FrontEnd::PerCpu(IdKind::Cpu);
    snapshot.heap.fences = Fences::Unknown;
    snapshot
}

fn set_bytes(snapshot: &mut Snapshot) {
    let heap = &mut snapshot.heap;
    heap.cpu.held_bytes = 120_122_560;
    heap.thread_caches.held_bytes = 76_920;
    heap.middle.transfer_bytes = 415_232;
    heap.middle.central_bytes = 363_974_808;
    let cached = 120_122_560 + 76_920 + 415_232;
    heap.middle.out_bytes = 709_337_136 + cached;
    heap.middle.span_bytes = heap.middle.out_bytes + heap.middle.central_bytes;
    // The rest of what the application has are large blocks.
    heap.page_heap.in_use_bytes = heap.middle.span_bytes + 16_000_000_000;
    heap.page_heap.free_bytes = 503_480_320;
    heap.page_heap.free_parts = strata_page_heap::FreeParts::default();
    heap.page_heap.unmapped_bytes = 333_905_920;
    heap.page_heap.system_bytes = heap.page_heap.in_use_bytes + 503_480_320 + 333_905_920;
    heap.page_heap.reserved_bytes = heap.page_heap.system_bytes;
    heap.page_heap.spans_in_use = 236_170;
    heap.page_heap.release_failures = 3;
    heap.threads.allocated_bytes = 20_000_000_000;
    heap.threads.deallocated_bytes = 20_000_000_000 - 16_709_337_136;
}

fn set_metadata(snapshot: &mut Snapshot) {
    let heap = &mut snapshot.heap;
    let mut bytes_by_kind = [0; MetadataKind::COUNT];
    bytes_by_kind[MetadataKind::PageMap as usize] = 11_665_416;
    bytes_by_kind[MetadataKind::Spans as usize] = 11_458_032;
    bytes_by_kind[MetadataKind::Other as usize] = 52_258_953 - 11_665_416 - 11_458_032;
    heap.arena = ArenaStats {
        reserved_bytes: 52_258_953 + 169_847,
        allocated_bytes: 52_258_953,
        unallocated_bytes: 169_847,
        bytes_by_kind,
        ..ArenaStats::default()
    };
    heap.map = PageMapStats {
        root_touched_bytes: 4_067_336,
        leaf_touched_bytes: 11_665_416 - 4_067_336,
        ..PageMapStats::default()
    };
    (heap.spans.in_use, heap.spans.created, heap.spans.item_bytes) = (236_176, 238_709, 48);
    let caches = &mut heap.threads.caches;
    (caches.in_use, caches.created, caches.item_bytes) = (8, 46, 1000);
    (heap.page_bytes, heap.core_bytes, heap.slab_reserved_bytes) = (32_768, 0, 0);
    (snapshot.core_resident_bytes, snapshot.slab_resident_bytes) = (0, 0);
}

fn set_tables(snapshot: &mut Snapshot) {
    let rows = [(8, 413_460), (16, 103_410), (24, 525_973), (32, 275_250), (40, 1_047_443)];
    snapshot.classes = ClassTable::EMPTY;
    for ((object_bytes, objects), class) in rows.into_iter().zip(Pages8K::TABLE.classes()) {
        let figures = ClassFigures {
            object_bytes,
            per_cpu_objects: objects / 2,
            central_objects: objects - objects / 2,
            ..ClassFigures::default()
        };
        snapshot.classes.set(class, figures);
    }
    snapshot.cpus = CpuTable::EMPTY;
    snapshot.cpus.limit_bytes = 3_145_728;
    snapshot.heap.cpu.region_bytes = 2 * (256 << 10);
    for (held_bytes, unallocated_bytes, active) in
        [(2_168_200, 52_536, true), (1_260_016, 179_800, false)]
    {
        snapshot.cpus.push(CpuFigures { held_bytes, unallocated_bytes, active, populated: true });
    }
}

#[test]
fn a_snapshot_with_the_figures_of_the_documentation_is_printed_like_it() {
    let mut report = String::new();
    let mut snapshot = snapshot();
    snapshot.config = Config::DEFAULT;
    render_tcmalloc(&snapshot, &(), &mut report).expect("strings take all that is written");
    assert_eq!(report, include_str!("sample/report.txt"));
}

#[test]
fn the_documentation_s_figures_add_up_in_the_ledger() {
    let ledger = Ledger::of(&snapshot());
    assert_eq!(ledger.in_use_bytes, 16_709_337_136);
    assert_eq!(ledger.in_use_difference(), 0);
    assert_eq!(ledger.actual_bytes(), 17_749_665_929);
    assert_eq!(ledger.virtual_bytes(), 18_083_571_849);
    assert_eq!(ledger.mapped_bytes, 18_083_741_696);
    assert_eq!(ledger.unexplained(), 0);
}

#[test]
fn caches_without_a_line_are_counted_in_one() {
    let mut snapshot = snapshot();
    snapshot.cpus = CpuTable::EMPTY;
    for _ in 0..CpuTable::LINES + 3 {
        snapshot.cpus.push(CpuFigures {
            held_bytes: 100,
            unallocated_bytes: 900,
            active: false,
            populated: true,
        });
    }
    let mut report = String::new();
    render_tcmalloc(&snapshot, &(), &mut report).expect("strings take all that is written");
    let line = "3 more:       300 bytes (    0.0 MiB) with        2700 bytes unallocated\n";
    assert!(report.contains(line), "{report}");
    assert_eq!(snapshot.cpus.held_bytes(), (CpuTable::LINES as u64 + 3) * 100);
}

#[test]
fn a_page_heap_of_ones_own_has_a_section() {
    struct Mine;
    impl RenderPageHeap for Mine {}
    let mut report = String::new();
    render_tcmalloc(&snapshot(), &Mine, &mut report).expect("strings take all that is written");
    assert!(report.contains("spans in use;  480.2 MiB free;  318.4 MiB unmapped\n"), "{report}");
}

#[test]
fn an_error_of_the_writer_ends_the_report() {
    struct Full(usize);
    impl core::fmt::Write for Full {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(core::fmt::Error)?;
            Ok(())
        }
    }
    assert!(render_tcmalloc(&snapshot(), &(), &mut Full(500)).is_err());
}
