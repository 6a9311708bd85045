//! The sections of both page heaps.

use crate::page_heap_report::{
    HeapApart, PageHeapKind, allocations, filler, render_common, spans, temeraire,
};
use crate::{Backing, PageHeapDetails, RenderPageHeap, Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};
use strata_page_heap::{LegacyFigures, ReleasedBytes};
use strata_span::HUGEPAGE_BYTES;
use strata_temeraire::{
    CollapseError, CollapseFigures, DensityFigures, FillerFigures, TemeraireFigures,
};

/// A page heap that Strata does not know has the section that every page heap has.
pub(super) fn render<F: RenderPageHeap>(
    page_heap: &F,
    snapshot: &Snapshot,
    backing: Option<&Backing>,
    out: &mut dyn Write,
) -> Result {
    match page_heap.details() {
        PageHeapDetails::Temeraire(figures) => {
            // Those of files that were written before each heap told it are of all heaps together.
            let released = figures.released.unwrap_or(snapshot.heap.page_heap.released);
            render_temeraire(figures, Some(&released), backing, out)?;
        }
        PageHeapDetails::Legacy(figures) => render_legacy(figures, snapshot, out)?,
        PageHeapDetails::Other => render_common(page_heap.kind(), snapshot, out)?,
    }
    page_heap.for_each_apart(&mut |HeapApart { tag, details, backing }| {
        let PageHeapDetails::Temeraire(figures) = details else { return Ok(()) };
        writeln!(out)?;
        writeln!(out, ">>>>>>> Begin {tag} page allocator <<<<<<<")?;
        render_temeraire(figures, figures.released.as_ref(), backing, out)?;
        writeln!(out, ">>>>>>> End {tag} page allocator <<<<<<<")
    })
}

fn render_legacy(figures: &LegacyFigures, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let label = PageHeapKind::Legacy.label();
    spans::render(label, || figures.lengths(), figures.large, out)?;
    allocations::render(label, &figures.allocations, allocations::Rate::Decimals, out)?;
    released(label, &snapshot.heap.page_heap.released, snapshot.heap.page_bytes, out)
}

fn render_temeraire(
    figures: &TemeraireFigures,
    went_back: Option<&ReleasedBytes>,
    backing: Option<&Backing>,
    out: &mut dyn Write,
) -> Result {
    let label = PageHeapKind::HugePageAware.label();
    let pages_per_hugepage = HUGEPAGE_BYTES as u64 / figures.page_bytes.max(1);
    spans::render(label, || figures.spans.lengths(), figures.spans.large, out)?;
    temeraire::components(&figures.components, temeraire::Form::Today, out)?;
    let filler = &figures.filler;
    writeln!(
        out,
        "{label}: filler donations {} ({} pages from abandoned donations)",
        filler.counters.donations, filler.abandoned_pages,
    )?;
    filler_section(figures, backing, pages_per_hugepage, out)?;
    regions(figures, pages_per_hugepage, out)?;
    temeraire::huge_cache(&figures.cache, temeraire::Form::Today, out)?;
    temeraire::huge_allocator(&figures.allocator, out)?;
    allocations::render(label, &figures.allocations, allocations::Rate::Decimals, out)?;
    went_back.map_or(Ok(()), |bytes| released(label, bytes, figures.page_bytes, out))?;
    // What is abandoned counts as slack where it is decided whether a region is worth it; and hugepages are broken
    // when a release asks for it.
    writeln!(out, "PARAMETER use_huge_region_more_often 1")?;
    writeln!(out, "PARAMETER hpaa_subrelease 1")
}

fn filler_section(
    figures: &TemeraireFigures,
    backing: Option<&Backing>,
    pages_per_hugepage: u64,
    out: &mut dyn Write,
) -> Result {
    let filler = &figures.filler;
    writeln!(out, "HugePageFiller: densely pack small requests into hugepages")?;
    let overall = DensityFigures {
        hugepages: filler.hugepages,
        full: filler.full_hugepages,
        partial: filler.partial_hugepages,
        released: filler.released_hugepages,
        partially_released: filler.partially_released_hugepages,
    };
    for (whose, figures) in [
        ("Overall", overall),
        ("those with sparsely-accessed spans", filler.sparse()),
        ("those with densely-accessed spans", filler.dense()),
    ] {
        let DensityFigures { hugepages, full, partial, released, partially_released } = figures;
        writeln!(
            out,
            "HugePageFiller: {whose}, {hugepages} total, {full} full, {partial} partial, {released} released \
             ({partially_released} partially), 0 quarantined"
        )?;
    }
    filler::shares(filler, pages_per_hugepage, out)?;
    let counters = &filler.counters;
    writeln!(
        out,
        "HugePageFiller: Since startup, {} pages subreleased, {} hugepages broken, ({} pages, {} hugepages due to \
         reaching tcmalloc limit)",
        counters.subreleased_pages,
        counters.broken_hugepages,
        counters.subreleased_pages_for_limit,
        counters.broken_hugepages_for_limit,
    )?;
    collapse(&figures.collapse, out)?;
    writeln!(out)?;
    writeln!(out, "HugePageFiller: fullness histograms")?;
    writeln!(out)?;
    filler::populations(filler, backing, pages_per_hugepage, out)?;
    let refilled = counters.refilled_hugepages;
    write!(
        out,
        "HugePageFiller: {refilled} hugepages became full after being previously released"
    )?;
    match backing.map(|backing| backing.refilled_backed_hugepages) {
        Some(backed) => writeln!(out, ", out of which {backed} pages are hugepage backed.")?,
        None => writeln!(out)?,
    }
    writeln!(out)?;
    filler::completed_lifetimes(filler, out)?;
    history(filler, figures.page_bytes, out)
}

/// How hugepages that lost their backing were made whole.
fn collapse(figures: &CollapseFigures, out: &mut dyn Write) -> Result {
    let attempted = figures.collapsed.wrapping_add(figures.failures);
    writeln!(
        out,
        "HugePageFiller: Out of {} eligible hugepages, {attempted} were attempted, and {} were collapsed.",
        figures.asked, figures.collapsed,
    )?;
    write!(
        out,
        "HugePageFiller: Of the failed collapse operations, number of operations that failed per error type"
    )?;
    for (name, count) in COLLAPSE_ERRORS.iter().zip(figures.failures_by_error) {
        write!(out, ", ETYPE_{name}: {count}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "HugePageFiller: Latency of collapse operations: {:.6} ms (total), {:.6} us (maximum)",
        figures.total_ns as f64 / 1e6,
        figures.longest_ns as f64 / 1e3,
    )?;
    writeln!(
        out,
        "HugePageFiller: Backoff delay for collapse currently is {} interval(s), number of intervals skipped due to backoff \
         is {}",
        figures.pause_ns / figures.least_pause_ns.max(1),
        figures.skipped_steps,
    )?;
    // What makes hugepages whole gives nothing back.
    writeln!(out, "HugePageFiller: In the previous treatment interval, subreleased 0 pages.")?;
    writeln!(
        out,
        "HugePageFiller: In the previous treatment interval, subreleased 0 stale pages."
    )?;
    writeln!(
        out,
        "HugePageFiller: In the previous treatment interval, marked 0 unbacked pages as subreleased. Since startup, 0."
    )
}

/// The names of [`CollapseError::ALL`](strata_temeraire::CollapseError::ALL).
pub(crate) const COLLAPSE_ERRORS: [&str; CollapseError::COUNT] =
    ["NOMEM", "BUSY", "INVAL", "AGAIN", "INTR", "OTHER"];

fn history(filler: &FillerFigures, page_bytes: u64, out: &mut dyn Write) -> Result {
    let (history, skipped) = (&filler.history, &filler.skipped);
    writeln!(out, "HugePageFiller: time series over 5 min interval")?;
    writeln!(out)?;
    // Free for as long as five minutes: the least at any moment.
    let free = history.least_free_pages.saturating_mul(page_bytes);
    writeln!(out, "HugePageFiller: realized fragmentation: {:.1} MiB", Mebibytes(free))?;
    filler::least_free(history, out)?;
    filler::pages_at_peak("demand", &history.at_peak_demand, out)?;
    writeln!(out)?;
    writeln!(
        out,
        "HugePageFiller: Since the start of the execution, {} subreleases ({} pages) were skipped due to either recent (0s) \
         peaks, or the sum of short-term ({}s) fluctuations and long-term ({}s) trends.",
        skipped.skipped_decisions,
        skipped.skipped_pages,
        filler.skip_short_ns / 1_000_000_000,
        filler.skip_long_ns / 1_000_000_000,
    )?;
    let percent = |correct: u64, incorrect: u64| match correct.wrapping_add(incorrect) {
        0 => 0.0,
        judged => 100.0 * correct as f64 / judged as f64,
    };
    writeln!(
        out,
        "HugePageFiller: {:.4}% of decisions confirmed correct, {} pending ({:.4}% of pages, {} pending), as per \
         anticipated 300s realized fragmentation.",
        percent(skipped.correct_decisions, skipped.incorrect_decisions),
        skipped.pending_decisions,
        percent(skipped.correct_pages, skipped.incorrect_pages),
        skipped.pending_pages,
    )?;
    writeln!(
        out,
        "HugePageFiller: Subrelease stats last 60 min: total {} pages subreleased.",
        filler.subreleased_pages_last_hour,
    )?;
    writeln!(out)
}

fn regions(figures: &TemeraireFigures, pages_per_hugepage: u64, out: &mut dyn Write) -> Result {
    let set = &figures.regions;
    temeraire::region_lines(set, out)?;
    writeln!(
        out,
        "HugeRegionSet: {} hugepages backed, {} backed and free, {} low water mark free backed, out of {} total",
        set.backed_hugepages,
        set.backed_free_hugepages,
        set.least_backed_free_hugepages,
        set.hugepages,
    )?;
    temeraire::region_share(set, pages_per_hugepage, out)
}

/// What background work gave back, whether the memory had been wanted of late or not.
pub(super) const fn background(released: &ReleasedBytes) -> u64 {
    released.policy.wrapping_add(released.idle)
}

/// What went back to the kernel, by reason.
fn released(label: &str, released: &ReleasedBytes, page_bytes: u64, out: &mut dyn Write) -> Result {
    let page_bytes = page_bytes.max(1);
    // The words are TCMalloc's, the second unit included.
    for (bytes, what) in [
        (released.total(), "released in total"),
        (released.call, "released from ReleaseMemoryToSystem"),
        (background(released), "MiB released from ProcessBackgroundActions"),
        (released.soft_limit, "MiB released from soft malloc limit hits"),
        (released.hard_limit, "MiB released from hard malloc limit hits"),
    ] {
        let pages = bytes / page_bytes;
        writeln!(out, "{label}: {pages} pages ({:6.1} MiB) {what}", Mebibytes(bytes))?;
    }
    Ok(())
}
