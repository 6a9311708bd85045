//! The report in TCMalloc's form of April 2020.

mod background_lines;
mod classes;
pub(crate) mod cpus;
pub(crate) mod experiments;
mod ledger_lines;
mod lines;
mod metadata;
pub(crate) mod summary;
pub(crate) mod tail;

use crate::page_heap_report::temeraire::Form;
use crate::workspace::{Extra, FiguresOf, with_figures};
use crate::{Ledger, PageHeapKind, RenderPageHeap, Snapshot};
use core::fmt::{Error, Result, Write};
use strata_alloc::{Core, HeapConfig};

pub(crate) use lines::{bytes_line, count_line, pool_lines, sum_line};
pub(crate) use metadata::structures;

/// What frames titles.
pub(crate) const RULE: &str = "------------------------------------------------";

/// Writes the report about a heap, as it is now.
///
/// As [`report`](crate::report) does.
///
/// # Errors
///
/// Those of `out`; and there is no memory for the figures.
pub fn report_tcmalloc<C: HeapConfig>(core: &Core<C>, out: &mut dyn Write) -> Result
where
    FiguresOf<C>: RenderPageHeap,
{
    let written = with_figures(core, Extra::Nothing, |taken| {
        render_tcmalloc(taken.snapshot, taken.page_heap, out)
    });
    written.unwrap_or(Err(Error))
}

/// Writes the report about a snapshot and the page heap's figures that belong to it.
pub fn render_tcmalloc<F: RenderPageHeap>(
    snapshot: &Snapshot,
    page_heap: &F,
    out: &mut dyn Write,
) -> Result {
    let ledger = Ledger::of(snapshot);
    render_head(snapshot, &ledger, page_heap.kind(), out)?;
    classes::render(&snapshot.classes, out)?;
    cpus::render(&snapshot.cpus, Form::First, out)?;
    page_heap.render(snapshot, out)?;
    tail::render_guarded(&tail::GUARDED_LINES, out)?;
    tail::render_limits(snapshot, out)?;
    tail::render_parameters(snapshot, out)?;
    tail::render_low_level(snapshot, &ledger, out)?;
    ledger_lines::render(&ledger, out)?;
    background_lines::render(snapshot, out)
}

/// What comes before the tables.
fn render_head(
    snapshot: &Snapshot,
    ledger: &Ledger,
    page_heap: PageHeapKind,
    out: &mut dyn Write,
) -> Result {
    summary::render(ledger, out)?;
    metadata::render(snapshot, ledger, out)?;
    experiments::render(snapshot, page_heap, out)?;
    // Nothing is sampled.
    writeln!(out, "MALLOC SAMPLED PROFILES: 0 bytes (current), 0 bytes (peak)")?;
    summary::render_process(snapshot.process, out)?;
    summary::render_hint(out)
}
