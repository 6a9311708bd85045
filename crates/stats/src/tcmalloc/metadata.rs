//! What the allocator needs for itself.

use super::{bytes_line, count_line, pool_lines};
use crate::{Ledger, Part, Snapshot, total::total};
use core::fmt::{Result, Write};
use strata_span::{HUGEPAGE_BYTES, PoolStats};

pub(super) fn render(snapshot: &Snapshot, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let heap = &snapshot.heap;
    structures(snapshot, out)?;
    bytes_line(heap.cpu.region_bytes, "per-CPU slab bytes used", out)?;
    bytes_line(snapshot.slab_resident_bytes, "per-CPU slab resident bytes", out)?;
    bytes_line(ledger.part_bytes(Part::NeverUsed), "Bytes reserved and never used", out)?;
    count_line(heap.page_bytes, "Tcmalloc page size", out)?;
    count_line(HUGEPAGE_BYTES as u64, "Tcmalloc hugepage size", out)
}

/// The lines with which this part begins in the reports of either time: pools, and what stands in memory of the page map.
pub(crate) fn structures(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let heap = &snapshot.heap;
    pool_lines("Spans", &heap.spans, out)?;
    pool_lines("Thread heaps", &heap.threads.caches, out)?;
    // Nothing is sampled, so that no stack trace is kept.
    pool_lines("Stack traces", &PoolStats::default(), out)?;
    pool_lines("Table buckets", &PoolStats::default(), out)?;
    let map = &heap.map;
    bytes_line(total([map.root_touched_bytes, map.leaf_touched_bytes]), "Pagemap bytes used", out)?;
    bytes_line(map.root_touched_bytes, "Pagemap root resident bytes", out)
}
