//! The first lines.

use crate::properties::realized_fragmentation;
use crate::tcmalloc::{RULE, bytes_line, count_line, experiments, structures, sum_line, summary};
use crate::total::total;
use crate::{Category, Details, Ledger, PageHeapKind, Part, Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};
use strata_span::HUGEPAGE_BYTES;

pub(super) fn render(
    snapshot: &Snapshot,
    ledger: &Ledger,
    details: &Details,
    page_heap: PageHeapKind,
    out: &mut dyn Write,
) -> Result {
    writeln!(
        out,
        "See https://github.com/google/tcmalloc/tree/master/docs/stats.md for an explanation of this page"
    )?;
    if snapshot.heap.page_bytes == 4096 {
        writeln!(out, "NOTE:  SMALL MEMORY MODEL IS IN USE, PERFORMANCE MAY SUFFER.")?;
    }
    sums(ledger, out)?;
    metadata(snapshot, ledger, out)?;
    experiments::render(snapshot, page_heap, out)?;
    // Nobody can hook into Strata, and nothing is sampled.
    writeln!(out, "MALLOC HOOKS: NEW=0 DELETE=0 SAMPLED_NEW=0 SAMPLED_DELETE=0")?;
    writeln!(
        out,
        "MALLOC SAMPLED PROFILES: 0 bytes (current), 0 bytes (internal fragmentation), 0 bytes (peak), 0 count (total)"
    )?;
    process(snapshot, out)?;
    writeln!(out, "Machine-level hugepage fragmentation stats:")?;
    for node in details.nodes() {
        let (ratio, node) = (node.fragmentation(), node.node);
        writeln!(out, "TOTAL: {ratio:12.3} Hugepage fragmentation ratio (node{node})")?;
    }
    summary::render_hint(out)
}

/// The lines add up exactly. What the metadata arena has not handed out is part of them here; of the page map, what
/// was never touched counts as released.
fn sums(ledger: &Ledger, out: &mut dyn Write) -> Result {
    let of = |category| ledger.bytes(category);
    let (unallocated, unavailable) =
        (of(Category::ArenaUnallocated), of(Category::ArenaUnavailable));
    let released = ledger.part_bytes(Part::Released).wrapping_add(of(Category::PageMapReserved));
    let actual = ledger.actual_bytes().wrapping_add(unallocated).wrapping_add(unavailable);
    writeln!(out, "{RULE}")?;
    sum_line(out, ' ', of(Category::InUse), "Bytes in use by application")?;
    for (bytes, name) in [
        (ledger.free_pages_bytes(), "Bytes in page heap freelist"),
        (of(Category::Central), "Bytes in central cache freelist"),
        (of(Category::PerCpu), "Bytes in per-CPU cache freelist"),
        // Strata has no sharded transfer caches.
        (0, "Bytes in Sharded cache freelist"),
        (of(Category::Transfer), "Bytes in transfer cache freelist"),
        (ledger.thread_caches_bytes(), "Bytes in thread cache freelists"),
        (ledger.part_bytes(Part::Metadata), "Bytes in malloc metadata"),
        (unallocated, "Bytes in malloc metadata Arena unallocated"),
        (unavailable, "Bytes in malloc metadata Arena unavailable"),
    ] {
        sum_line(out, '+', bytes, name)?;
    }
    writeln!(out, "MALLOC:   ------------")?;
    sum_line(out, '=', actual, "Actual memory used (physical + swap)")?;
    sum_line(out, '+', released, "Bytes released to OS (aka unmapped)")?;
    writeln!(out, "MALLOC:   ------------")?;
    sum_line(out, '=', actual.wrapping_add(released), "Virtual address space used")?;
    writeln!(out, "MALLOC:")
}

fn metadata(snapshot: &Snapshot, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let heap = &snapshot.heap;
    structures(snapshot, out)?;
    bytes_line(heap.map.root_reserved_bytes, "Pagemap root size", out)?;
    bytes_line(heap.cpu.region_bytes, "per-CPU slab bytes used", out)?;
    bytes_line(snapshot.slab_resident_bytes, "per-CPU slab resident bytes", out)?;
    let non_resident = ledger.bytes(Category::PageMapReserved);
    bytes_line(non_resident, "malloc metadata Arena non-resident bytes", out)?;
    // Both are of the moment at which most was in spans.
    let peak = &heap.page_heap.peak;
    bytes_line(total([peak.in_use_bytes, peak.free_bytes]), "Actual memory used at peak", out)?;
    bytes_line(peak.in_use_bytes, "Estimated in-use at peak", out)?;
    let percent = 100.0 * realized_fragmentation(peak);
    writeln!(out, "MALLOC:   {percent:12.4}               Realized fragmentation (%)")?;
    count_line(heap.page_bytes, "Tcmalloc page size", out)?;
    count_line(HUGEPAGE_BYTES as u64, "Tcmalloc hugepage size", out)?;
    count_line(u64::from(snapshot.allowed_cpus), "CPUs Allowed in Mask", out)?;
    count_line(heap.arena.blocks, "Arena blocks", out)?;
    count_line(heap.arena.spare_blocks, "Arena freelist blocks", out)
}

/// What the kernel counts as the process's; the section is left out where it does not tell.
fn process(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    writeln!(out)?;
    let Some(process) = snapshot.process else { return Ok(()) };
    writeln!(out, "Total process stats (inclusive of non-malloc sources):")?;
    for (bytes, name) in [
        (process.resident_bytes, "Bytes resident (physical memory used)"),
        (process.mapped_bytes, "Bytes mapped (virtual memory used)"),
        (process.pte_bytes, "Bytes via VmPTE"),
    ] {
        writeln!(out, "TOTAL: {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes as u64))?;
    }
    writeln!(out)
}
