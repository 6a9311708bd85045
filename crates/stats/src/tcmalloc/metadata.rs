//! What the allocator needs for itself.

use crate::{Ledger, Part, Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};
use strata_span::{HUGEPAGE_BYTES, PoolStats};

pub(super) fn render(snapshot: &Snapshot, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let heap = &snapshot.heap;
    pool("Spans", &heap.spans, out)?;
    pool("Thread heaps", &heap.threads.caches, out)?;
    // Nothing is sampled, so that no stack trace is kept.
    pool("Stack traces", &PoolStats::default(), out)?;
    pool("Table buckets", &PoolStats::default(), out)?;
    let map = &heap.map;
    bytes(map.root_touched_bytes + map.leaf_touched_bytes, "Pagemap bytes used", out)?;
    bytes(map.root_touched_bytes, "Pagemap root resident bytes", out)?;
    bytes(snapshot.heap.cpu.region_bytes, "per-CPU slab bytes used", out)?;
    bytes(snapshot.slab_resident_bytes, "per-CPU slab resident bytes", out)?;
    bytes(ledger.part_bytes(Part::NeverUsed), "Bytes reserved and never used", out)?;
    number(heap.page_bytes, "Tcmalloc page size", out)?;
    number(HUGEPAGE_BYTES as u64, "Tcmalloc hugepage size", out)
}

fn pool(name: &str, stats: &PoolStats, out: &mut dyn Write) -> Result {
    let created_bytes = stats.created.saturating_mul(stats.item_bytes);
    writeln!(out, "MALLOC:   {:12}               {name} in use", stats.in_use)?;
    writeln!(
        out,
        "MALLOC:   {:12} ({:7.1} MiB) {name} created",
        stats.created,
        Mebibytes(created_bytes)
    )
}

fn bytes(bytes: u64, name: &str, out: &mut dyn Write) -> Result {
    writeln!(out, "MALLOC:   {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes))
}

fn number(number: u64, name: &str, out: &mut dyn Write) -> Result {
    writeln!(out, "MALLOC:   {number:12}               {name}")
}
