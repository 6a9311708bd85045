//! The sections of the hugepage-aware page heap.

use super::{PageHeapKind, ages, allocations, filler, spans};
use crate::{figure::Mebibytes, tcmalloc::RULE};
use core::fmt::{Result, Write};
use strata_span::HUGEPAGE_BYTES;
use strata_temeraire::{
    ComponentBytes, Components, HugeAllocatorFigures, HugeCacheFigures, RecentRange,
    RegionSetFigures, TemeraireFigures, UsageEpoch, UsageHistory,
};

pub(super) fn render(figures: &TemeraireFigures, out: &mut dyn Write) -> Result {
    let label = PageHeapKind::HugePageAware.label();
    let pages_per_hugepage = HUGEPAGE_BYTES as u64 / figures.page_bytes.max(1);
    spans::render(label, || figures.spans.lengths(), figures.spans.large, out)?;
    components(&figures.components, Form::First, out)?;
    writeln!(out, "{label}: filler donations {}", figures.filler.counters.donations)?;
    filler::render(&figures.filler, pages_per_hugepage, out)?;
    regions(&figures.regions, pages_per_hugepage, out)?;
    huge_cache(&figures.cache, Form::First, out)?;
    huge_allocator(&figures.allocator, out)?;
    allocations::render(label, &figures.allocations, allocations::Rate::ThreeDigits, out)?;
    ages::render(label, &figures.ages, out)
}

pub(crate) fn components(components: &Components, form: Form, out: &mut dyn Write) -> Result {
    let room = if form == Form::Today { 8 } else { 7 };
    writeln!(out)?;
    writeln!(out, "Huge page aware allocator components:")?;
    writeln!(out, "{RULE}")?;
    writeln!(out, "HugePageAware: breakdown of used / free / unmapped space:")?;
    for (name, bytes) in [
        ("filler", components.filler),
        ("region", components.region),
        ("cache", components.cache),
        ("alloc", components.allocator),
    ] {
        let ComponentBytes { used, free, unmapped } = bytes;
        writeln!(
            out,
            "HugePageAware: {name:6} {:room$.1} MiB used, {:6.1} MiB free, {:6.1} MiB unmapped",
            Mebibytes(used),
            Mebibytes(free),
            Mebibytes(unmapped),
        )?;
    }
    writeln!(out)
}

fn regions(set: &RegionSetFigures, pages_per_hugepage: u64, out: &mut dyn Write) -> Result {
    region_lines(set, out)?;
    let (backed, all) = (set.backed_hugepages, set.hugepages);
    writeln!(out, "HugeRegionSet: {backed} hugepages backed out of {all} total")?;
    region_share(set, pages_per_hugepage, out)
}

/// What regions there are.
pub(crate) fn region_lines(set: &RegionSetFigures, out: &mut dyn Write) -> Result {
    writeln!(out, "HugeRegionSet: 1 MiB+ allocations best-fit into 1024 MiB slabs")?;
    writeln!(out, "HugeRegionSet: {} total regions", set.regions)?;
    for region in set.shown() {
        writeln!(
            out,
            "HugeRegion: {} KiB used, {} KiB free, {} KiB contiguous space, {} MiB unbacked, {} MiB unbacked lifetime",
            region.used_bytes >> 10,
            region.free_bytes >> 10,
            region.longest_free_bytes >> 10,
            region.unbacked_bytes >> 20,
            region.unbacked_bytes_since_start >> 20,
        )?;
    }
    let silent = set.regions.saturating_sub(RegionSetFigures::MOST_SHOWN as u64);
    if silent != 0 {
        writeln!(out, "HugeRegionSet: {silent} more regions")?;
    }
    Ok(())
}

/// How much of what is backed is free.
pub(crate) fn region_share(
    set: &RegionSetFigures,
    pages_per_hugepage: u64,
    out: &mut dyn Write,
) -> Result {
    writeln!(
        out,
        "HugeRegionSet: {} pages free in backed region, {:.4} free",
        set.free_pages,
        set.free_share(pages_per_hugepage),
    )?;
    writeln!(out)
}

/// Which of TCMalloc's two forms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// That of April 2020.
    First,
    /// Today's.
    Today,
}

pub(crate) fn huge_cache(cache: &HugeCacheFigures, form: Form, out: &mut dyn Write) -> Result {
    let time = if form == Form::Today { " (cache_time = 1000ms)" } else { "" };
    writeln!(out, "HugeCache: contains unused, backed hugepage(s){time}")?;
    writeln!(
        out,
        "HugeCache: {} / {} hugepages cached / cache limit ({:.3} hit rate, {:.3} overflow rate)",
        cache.cached_hugepages,
        cache.limit_hugepages,
        cache.hit_rate(),
        cache.overflow_rate(),
    )?;
    writeln!(
        out,
        "HugeCache: {} MiB fast unbacked, {} MiB periodic",
        mebibytes(cache.fast_unbacked_hugepages),
        mebibytes(cache.periodic_unbacked_hugepages),
    )?;
    if form == Form::First {
        writeln!(out, "HugeCache: {} MiB*s cached since startup", cache.regret_mib_seconds)?;
    }
    // The first of the ranges has one blank more before its greatest value.
    for (name, blank, range) in
        [("usage", " ", cache.usage), ("offpeak", "", cache.off_peak), ("cache", "", cache.size)]
    {
        let RecentRange { least, current, greatest } = range;
        writeln!(
            out,
            "HugeCache: recent {name} range: {} min - {} curr - {blank}{} max MiB",
            mebibytes(least),
            mebibytes(current),
            mebibytes(greatest),
        )?;
    }
    writeln!(out)?;
    if form == Form::Today { usage_history(&cache.history, out) } else { Ok(()) }
}

/// One element an epoch: its place in the time that is remembered, when it began, and the least and the greatest number of
/// hugepages in use.
fn usage_history(history: &UsageHistory, out: &mut dyn Write) -> Result {
    let (length_ms, count) = (history.epoch_ms, history.remembered());
    writeln!(out, "HugeCache: epoch length {length_ms}ms, number of records {count}")?;
    let reported = || history.epochs.iter().rev().filter(|epoch| epoch.number != 0);
    let Some(newest) = reported().next_back() else { return Ok(()) };
    write!(out, "HugeCache: Usage timeseries ")?;
    for UsageEpoch { number, least, greatest } in reported() {
        let number = u64::from(*number);
        let place = number.saturating_add(count).saturating_sub(u64::from(newest.number) + 1);
        let began_ms = number.saturating_sub(1).saturating_mul(length_ms);
        write!(out, "{place}:{began_ms}:{least}:{greatest},")?;
    }
    writeln!(out)
}

pub(crate) fn huge_allocator(allocator: &HugeAllocatorFigures, out: &mut dyn Write) -> Result {
    writeln!(out, "HugeAllocator: contiguous, unbacked hugepage(s)")?;
    writeln!(
        out,
        "HugeAddressMap: treap {} / {} nodes used / created",
        allocator.nodes_used, allocator.nodes_created,
    )?;
    writeln!(
        out,
        "HugeAddressMap: {} contiguous hugepages available",
        allocator.longest_hugepages
    )?;
    writeln!(
        out,
        "HugeAllocator: {} requested - {} in use = {} hugepages free",
        allocator.requested_hugepages, allocator.in_use_hugepages, allocator.free_hugepages,
    )?;
    writeln!(out)
}

/// Hugepages in MiB.
const fn mebibytes(hugepages: u64) -> u64 {
    hugepages.saturating_mul(HUGEPAGE_BYTES as u64 >> 20)
}

#[cfg(test)]
mod tests;
