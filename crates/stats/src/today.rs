//! The report in the form that TCMalloc has today.

mod classes;
mod cpus;
mod head;
mod page_heaps;
pub(crate) mod parameters;
mod tail;

pub(crate) use page_heaps::COLLAPSE_ERRORS;

use crate::{Details, Ledger, RenderPageHeap, Snapshot};
use core::fmt::{Result, Write};

/// Writes the whole report. What TCMalloc prints and Strata has no figures of is left out: see `docs/LIMITS.md`.
#[inline(never)]
pub(crate) fn render<F: RenderPageHeap>(
    snapshot: &Snapshot,
    details: &Details,
    page_heap: &F,
    out: &mut dyn Write,
) -> Result {
    let ledger = Ledger::of(snapshot);
    head::render(snapshot, &ledger, details, page_heap.kind(), out)?;
    classes::render(&snapshot.classes, details, out)?;
    cpus::render(snapshot, details, out)?;
    page_heaps::render(page_heap, snapshot, details.backing.as_ref(), out)?;
    tail::render(snapshot, &ledger, page_heap.details(), out)
}
