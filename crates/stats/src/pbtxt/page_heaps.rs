//! Both page heaps.

use super::{Message, filler};
use crate::{Backing, HeapApart, PageHeapDetails, RenderPageHeap, today::COLLAPSE_ERRORS};
use core::fmt::Result;
use strata_page_heap::{
    AGE_BOUNDS_SECONDS, AgeRow, AllocationFigures, FreeSpans, LegacyFigures, SpanAges,
};
use strata_span::HUGEPAGE_BYTES;
use strata_temeraire::{
    ComponentBytes, HugeCacheFigures, RecentRange, TemeraireFigures, UsageHistory,
};

/// A page heap that Strata does not know has no fields of its own.
pub(super) fn render<F: RenderPageHeap>(
    page_heap: &F,
    todays: bool,
    backing: Option<&Backing>,
    message: &mut Message<'_>,
) -> Result {
    match page_heap.details() {
        PageHeapDetails::Temeraire(figures) => {
            render_temeraire("NORMAL", figures, todays, backing, message)?;
        }
        PageHeapDetails::Legacy(figures) => render_legacy(figures, todays, message)?,
        PageHeapDetails::Other => {}
    }
    if !todays {
        return Ok(());
    }
    page_heap.for_each_apart(&mut |HeapApart { tag, details, backing }| match details {
        PageHeapDetails::Temeraire(figures) => {
            render_temeraire(tag, figures, todays, backing, message)
        }
        _ => Ok(()),
    })
}

fn render_legacy(figures: &LegacyFigures, todays: bool, message: &mut Message<'_>) -> Result {
    let ages = (!todays).then_some(&figures.ages);
    frame("NORMAL", todays, message, |message| {
        spans(figures.lengths(), figures.large, figures.page_bytes, ages, message)?;
        message.message("huge_page_allocator", |heap| {
            heap.field("using_hpaa", false)?;
            heap.field("using_hpaa_subrelease", false)?;
            records(&figures.allocations, heap)
        })
    })
}

fn render_temeraire(
    tag: &str,
    figures: &TemeraireFigures,
    todays: bool,
    backing: Option<&Backing>,
    message: &mut Message<'_>,
) -> Result {
    frame(tag, todays, message, |message| {
        // The ages of the hugepage-aware heap were in the text alone.
        let lengths = figures.spans.lengths();
        spans(lengths, figures.spans.large, figures.page_bytes, None, message)?;
        message.message("huge_page_allocator", |heap| temeraire(figures, todays, backing, heap))
    })
}

/// Of today's fields, those of a page heap are a message.
fn frame(
    tag: &str,
    todays: bool,
    message: &mut Message<'_>,
    write: impl FnOnce(&mut Message<'_>) -> Result,
) -> Result {
    if !todays {
        return write(message);
    }
    message.message("page_allocator", |allocator| {
        allocator.field("tag", tag)?;
        write(allocator)
    })
}

/// A `page_heap` for each length of free spans.
fn spans(
    lengths: impl Iterator<Item = FreeSpans>,
    large: FreeSpans,
    page_bytes: u64,
    ages: Option<&SpanAges>,
    message: &mut Message<'_>,
) -> Result {
    for spans in lengths {
        message.message("page_heap", |entry| {
            entry.field("span_size", spans.pages.wrapping_mul(page_bytes))?;
            bytes_and_spans(&spans, entry)?;
            let rows = ages.and_then(|ages| {
                Some((ages.live.row(spans.pages)?, ages.unmapped.row(spans.pages)?))
            });
            rows.map_or(Ok(()), |rows| ages_of(rows, page_bytes, entry))
        })?;
    }
    message.message("page_heap", |entry| {
        entry.field("span_size", -1)?;
        bytes_and_spans(&large, entry)?;
        let rows = ages.map(|ages| (&ages.live.long, &ages.unmapped.long));
        rows.map_or(Ok(()), |rows| ages_of(rows, page_bytes, entry))
    })?;
    message.field("min_large_span_size", large.pages.wrapping_mul(page_bytes))
}

fn bytes_and_spans(spans: &FreeSpans, entry: &mut Message<'_>) -> Result {
    entry.numbers([
        ("present", spans.backed_bytes),
        ("released", spans.unmapped_bytes),
        ("num_spans", spans.backed_spans.wrapping_add(spans.unmapped_spans)),
    ])
}

fn ages_of(rows: (&AgeRow, &AgeRow), page_bytes: u64, entry: &mut Message<'_>) -> Result {
    entry.field("avg_live_age_secs", rows.0.mean_seconds())?;
    entry.field("avg_released_age_secs", rows.1.mean_seconds())?;
    for (name, row) in [("live_age_hist", rows.0), ("released_age_hist", rows.1)] {
        let ends = AGE_BOUNDS_SECONDS.iter().skip(1).map(Some).chain([None]);
        for ((pages, begin), end) in row.pages.iter().zip(AGE_BOUNDS_SECONDS).zip(ends) {
            entry.message(name, |bucket| {
                bucket.numbers([
                    ("bytes", pages.wrapping_mul(page_bytes)),
                    ("min_age_secs", begin),
                ])?;
                end.map_or(Ok(()), |end| bucket.field("max_age_secs", end))
            })?;
        }
    }
    Ok(())
}

fn temeraire(
    figures: &TemeraireFigures,
    todays: bool,
    backing: Option<&Backing>,
    heap: &mut Message<'_>,
) -> Result {
    heap.field("using_hpaa", true)?;
    heap.field("using_hpaa_subrelease", true)?;
    if todays {
        heap.field("use_huge_region_more_often", true)?;
    }
    let components = &figures.components;
    for (name, bytes) in [
        ("filler_usage", components.filler),
        ("region_usage", components.region),
        ("cache_usage", components.cache),
        ("alloc_usage", components.allocator),
    ] {
        let ComponentBytes { used, free, unmapped } = bytes;
        heap.message(name, |usage| {
            usage.numbers([("used", used), ("free", free), ("unmapped", unmapped)])
        })?;
    }
    filler::render(&figures.filler, figures.page_bytes, todays, backing, heap)?;
    regions(figures, todays, heap)?;
    huge_cache(&figures.cache, todays, heap)?;
    let allocator = &figures.allocator;
    heap.numbers([
        ("num_huge_address_map_treap_nodes_used", allocator.nodes_used),
        ("num_huge_address_map_treap_nodes_created", allocator.nodes_created),
        ("contiguous_free_bytes", hugepage_bytes(allocator.longest_hugepages)),
        ("num_total_requested_huge_pages", allocator.requested_hugepages),
        ("num_in_use_huge_pages", allocator.in_use_hugepages),
        ("filler_donated_huge_pages", figures.filler.counters.donations),
    ])?;
    if todays {
        heap.field("filler_abandoned_pages", figures.filler.abandoned_pages)?;
        let collapse = &figures.collapse;
        heap.message("filler_huge_page_treatment_stats", |stats| {
            stats.numbers([
                ("collapse_eligible", collapse.asked),
                ("collapse_attempted", collapse.collapsed.wrapping_add(collapse.failures)),
                ("collapse_succeeded", collapse.collapsed),
                ("collapse_time_total_ns", collapse.total_ns),
                ("collapse_time_max_ns", collapse.longest_ns),
                ("collapse_intervals_skipped", collapse.skipped_steps),
                ("collapse_backoff_interval_ns", collapse.pause_ns),
            ])?;
            for (name, count) in COLLAPSE_ERRORS.iter().zip(collapse.failures_by_error) {
                stats.message("collapse_errors", |error| {
                    error.field("type", format_args!("ETYPE_{name}"))?;
                    error.field("count", count)
                })?;
            }
            Ok(())
        })?;
    }
    records(&figures.allocations, heap)
}

fn regions(figures: &TemeraireFigures, todays: bool, heap: &mut Message<'_>) -> Result {
    let set = &figures.regions;
    heap.numbers([("min_huge_region_alloc_size", 1 << 20), ("huge_region_size", 1 << 30)])?;
    for region in set.shown() {
        heap.message("huge_region_details", |details| {
            details.numbers([
                ("used_bytes", region.used_bytes),
                ("free_bytes", region.free_bytes),
                ("longest_free_range_bytes", region.longest_free_bytes),
                ("unbacked_bytes", region.unbacked_bytes),
                ("total_unbacked_bytes", region.unbacked_bytes_since_start),
            ])
        })?;
    }
    if todays {
        heap.numbers([
            ("huge_region_low_water_mark_bytes", hugepage_bytes(set.least_backed_free_hugepages)),
            ("backed_fully_free_bytes", hugepage_bytes(set.backed_free_hugepages)),
        ])?;
    }
    Ok(())
}

fn huge_cache(cache: &HugeCacheFigures, todays: bool, heap: &mut Message<'_>) -> Result {
    heap.numbers([
        ("huge_cache_time_const", 1000),
        ("cached_huge_page_bytes", hugepage_bytes(cache.cached_hugepages)),
        ("max_cached_huge_page_bytes", hugepage_bytes(cache.limit_hugepages)),
    ])?;
    heap.field("huge_cache_hit_rate", cache.hit_rate())?;
    heap.field("huge_cache_overflow_rate", cache.overflow_rate())?;
    heap.numbers([
        ("fast_unbacked_bytes", hugepage_bytes(cache.fast_unbacked_hugepages)),
        ("periodic_unbacked_bytes", hugepage_bytes(cache.periodic_unbacked_hugepages)),
    ])?;
    if !todays {
        heap.field("huge_cache_regret", cache.regret_mib_seconds)?;
    }
    for (name, range) in [
        ("huge_cache_usage_stats", cache.usage),
        ("huge_cache_offpeak_stats", cache.off_peak),
        ("huge_cache_cache_stats", cache.size),
    ] {
        let RecentRange { least, current, greatest } = range;
        heap.message(name, |stats| {
            stats.numbers([
                ("min_bytes", hugepage_bytes(least)),
                ("current_bytes", hugepage_bytes(current)),
                ("max_bytes", hugepage_bytes(greatest)),
            ])
        })?;
    }
    heap.message("huge_cache_history", |message| usage_history(&cache.history, message))
}

/// Hugepages in use, by the epoch.
fn usage_history(history: &UsageHistory, message: &mut Message<'_>) -> Result {
    message.numbers([("window_ms", history.epoch_ms), ("epochs", history.remembered())])?;
    let newest = history.epochs.first().map_or(0, |epoch| u64::from(epoch.number));
    for epoch in history.epochs.iter().rev().filter(|epoch| epoch.number != 0) {
        let number = u64::from(epoch.number);
        let place = number.saturating_add(history.remembered()).saturating_sub(newest + 1);
        message.message("measurements", |measurement| {
            measurement.numbers([
                ("epoch", place),
                ("timestamp_ms", number.saturating_sub(1).saturating_mul(history.epoch_ms)),
                ("min_bytes", hugepage_bytes(epoch.least.into())),
                ("max_bytes", hugepage_bytes(epoch.greatest.into())),
            ])
        })?;
    }
    Ok(())
}

fn records(figures: &AllocationFigures, heap: &mut Message<'_>) -> Result {
    heap.numbers([
        ("num_small_allocation_pages", figures.small_live_pages),
        ("num_slack_pages", figures.slack_pages),
        ("largest_allocation_pages", figures.largest_pages),
    ])?;
    figures.records().try_for_each(|record| {
        heap.message("hpaa_stat", |stat| {
            stat.numbers([
                ("min_span_pages", record.least_pages),
                ("max_span_pages", record.greatest_pages),
                ("num_spans_allocated", record.allocated),
                ("num_spans_freed", record.freed),
                ("live_bytes", record.live_bytes),
            ])?;
            stat.field("spans_allocated_per_second", record.allocations_per_second)?;
            stat.field("bytes_allocated_per_second", record.bytes_per_second)
        })
    })
}

const fn hugepage_bytes(hugepages: u64) -> u64 {
    hugepages.saturating_mul(HUGEPAGE_BYTES as u64)
}
