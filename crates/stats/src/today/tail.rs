//! What comes behind the page heap.

use super::{classes::heading, page_heaps::background, parameters};
use crate::tcmalloc::tail;
use crate::{Ledger, PageHeapDetails, Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};

pub(super) fn render(
    snapshot: &Snapshot,
    ledger: &Ledger,
    page_heap: PageHeapDetails<'_>,
    out: &mut dyn Write,
) -> Result {
    tail::render_guarded(&GUARDED_LINES, out)?;
    limits(snapshot, out)?;
    heading(&["Parameters"], out)?;
    tail::render_parameters(snapshot, out)?;
    parameters::render(snapshot, page_heap, out)?;
    tail::render_low_level(snapshot, ledger, out)
}

/// What is said of guarded sampling, which Strata does not do.
const GUARDED_LINES: [&str; 9] = [
    "Successful Allocations: 0",
    "Failed Allocations: 0",
    "Skipped Allocations (No Slots): 0",
    "Skipped Allocations (Filtered): 0",
    "Skipped Allocations (Too Large): 0",
    "Currently Allocated: 0 / 0",
    "Allocated High-Watermark: 0 / 0",
    "Object Pages Touched: 0 / 0",
    "Currently Quarantined: 0",
];

fn limits(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    heading(&["Configured limits and related statistics"], out)?;
    tail::render_limits(snapshot, out)?;
    let figures = &snapshot.heap.page_heap.limits;
    writeln!(out, "Number of times soft limit was hit: {}", figures.soft_hits)?;
    writeln!(out, "Number of times hard limit was hit: {}", figures.hard_hits)?;
    writeln!(out, "Number of times memory shrank below soft limit: {}", figures.soft_successes)?;
    let shrank = figures.hard_hits.saturating_sub(figures.hard_failures);
    writeln!(out, "Number of times memory shrank below hard limit: {shrank}")?;
    let released = &snapshot.heap.page_heap.released;
    let page_bytes = snapshot.heap.page_bytes.max(1);
    for (bytes, what) in [
        (released.total(), "Total number of pages released"),
        (released.call, "Number of pages released by ReleaseMemoryToSystem"),
        (background(released), "Number of pages released by ProcessBackgroundActions"),
        (released.soft_limit, "Number of pages released after soft limit hits"),
        (released.hard_limit, "Number of pages released after hard limit hits"),
    ] {
        writeln!(out, "{what}: {} ({:7.1} MiB)", bytes / page_bytes, Mebibytes(bytes))?;
    }
    writeln!(out, "Number of active partitions: 1")
}
