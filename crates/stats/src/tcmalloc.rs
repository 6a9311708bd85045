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

use crate::page_heap_report::{TRIES, agree, temeraire::Form};
use crate::{Ledger, PageHeapKind, RenderPageHeap, Snapshot};
use core::fmt::{Result, Write};
use strata_alloc::{Core, HeapConfig};
use strata_page_heap::PageHeap;

pub(crate) use lines::{bytes_line, count_line, pool_lines, sum_line};

/// What frames titles.
pub(crate) const RULE: &str = "------------------------------------------------";

/// Writes the report about a heap, as it is now.
///
/// Any thread may call it at any time; it allocates nothing and needs some 64 KiB of stack. The
/// layers' locks are held for a few instructions at a time, none while `out` is called. An error is one of `out`.
#[inline(never)]
pub fn report_tcmalloc<C: HeapConfig>(core: &Core<C>, out: &mut dyn Write) -> Result
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    (1..=TRIES).find_map(|number| try_report(core, number == TRIES, out)).unwrap_or(Ok(()))
}

/// None if the page heap was used between its figures and the snapshot.
#[inline(never)]
fn try_report<C: HeapConfig>(core: &Core<C>, is_last: bool, out: &mut dyn Write) -> Option<Result>
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let page_heap = core.page_heap().figures(core);
    render_now(core, &page_heap, is_last, out)
}

/// Takes the snapshot in a frame of its own, which stands only when the page heap has gathered its figures: each
/// needs some 25 KiB.
#[inline(never)]
fn render_now<C: HeapConfig, F: RenderPageHeap>(
    core: &Core<C>,
    page_heap: &F,
    is_last: bool,
    out: &mut dyn Write,
) -> Option<Result> {
    let still = core.hold_background();
    let mut snapshot = Snapshot::without_tables(core, &still);
    snapshot.read_tables(core, still);
    (is_last || agree(page_heap, &snapshot)).then(|| render_tcmalloc(&snapshot, page_heap, out))
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
