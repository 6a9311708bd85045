//! The filler.

use super::Message;
use crate::page_heap_report::filler::population_name;
use crate::{Backing, PopulationBacking, kernel_bounds};
use core::fmt::Result;
use strata_span::HUGEPAGE_BYTES;
use strata_temeraire::{
    DensityFigures, FillerEpoch, FillerFigures, FillerHistory, FillerMoment, Fullness, Histogram,
    LIFETIME_BOUNDS_MS, LIFETIME_BUCKETS, Population, coarse_bounds_of, histogram_bounds_of,
};

pub(super) fn render(
    filler: &FillerFigures,
    page_bytes: u64,
    todays: bool,
    backing: Option<&Backing>,
    heap: &mut Message<'_>,
) -> Result {
    heap.numbers([
        ("filler_full_huge_pages", filler.full_hugepages),
        ("filler_partial_huge_pages", filler.partial_hugepages),
        ("filler_released_huge_pages", filler.released_hugepages),
        ("filler_partially_released_huge_pages", filler.partially_released_hugepages),
        ("filler_free_pages", filler.free_pages),
        ("filler_used_pages_in_subreleased", filler.used_pages_in_released),
        ("filler_used_pages_in_partial_released", filler.used_pages_in_partially_released),
        ("filler_unmapped_bytes", filler.unmapped_pages.saturating_mul(page_bytes)),
        (
            "filler_hugepageable_used_bytes",
            filler
                .used_pages
                .saturating_sub(filler.used_pages_in_released)
                .saturating_mul(page_bytes),
        ),
    ])?;
    let pages = usize::try_from(HUGEPAGE_BYTES as u64 / page_bytes.max(1)).unwrap_or(0);
    if todays {
        since_start(filler, backing, heap)?;
        Population::ALL.into_iter().try_for_each(|population| {
            let fullness = filler.fullness_of(population);
            heap.message("filler_tracker", |tracker| {
                // An enumerator: words with underscores.
                write_type(population_name(population), tracker)?;
                fine(&fullness, pages, tracker)?;
                let ages = filler.lifetimes_of(population);
                lifetimes("lifetime_histogram", &ages.all, tracker)?;
                lifetimes("low_occupancy_lifetime_histogram", &ages.nearly_free, tracker)?;
                let (name, counts) =
                    ("long_lived_allocations_histogram", &ages.old_by_allocations.counts);
                buckets(name, 0, pages, &histogram_bounds_of(pages), counts, tracker)?;
                backing.map_or(Ok(()), |backing| {
                    of_kernel(backing.kernel_pages, backing.of_population(population), tracker)
                })
            })
        })?;
    } else {
        for (kind, fullness) in [
            ("REGULAR", filler.regular()),
            ("DONATED", filler.donated()),
            ("RELEASED", filler.released()),
        ] {
            heap.message("filler_tracker", |tracker| {
                tracker.field("type", kind)?;
                coarse(&fullness, pages, tracker)
            })?;
        }
    }
    heap.message("filler_stats_timeseries", |series| {
        let history = &filler.history;
        series.numbers([
            ("window_ms", FillerHistory::EPOCH_MS),
            ("epochs", FillerHistory::EPOCHS as u64),
            ("min_free_pages_interval_ms", 300_000),
            ("min_free_pages", history.least_free_pages),
            ("min_free_backed_pages", history.least_free_backed_pages),
        ])?;
        let reported = history.epochs.iter().rev().filter(|epoch| epoch.number != 0);
        let newest = history.epochs.first().map_or(0, |epoch| epoch.number);
        reported.clone().try_for_each(|epoch| {
            series.message("measurements", |measurement| measure(epoch, newest, measurement))
        })
    })
}

/// Ten seconds, with their place among those that are remembered.
fn measure(epoch: &FillerEpoch, newest: u64, measurement: &mut Message<'_>) -> Result {
    let place = epoch
        .number
        .saturating_add(FillerHistory::EPOCHS as u64)
        .saturating_sub(newest.saturating_add(1));
    measurement.numbers([
        ("epoch", place),
        ("timestamp_ms", epoch.number.saturating_sub(1).saturating_mul(FillerHistory::EPOCH_MS)),
    ])?;
    for (name, moment) in [
        ("at_minimum_demand", &epoch.at_least_demand),
        ("at_maximum_demand", &epoch.at_peak_demand),
        ("at_minimum_huge_pages", &epoch.at_least_hugepages),
        ("at_maximum_huge_pages", &epoch.at_peak_hugepages),
    ] {
        measurement.message(name, |message| moment_of(&moment.into(), message))?;
    }
    Ok(())
}

/// What it did since the start, and its hugepages by what their spans hold.
fn since_start(
    filler: &FillerFigures,
    backing: Option<&Backing>,
    heap: &mut Message<'_>,
) -> Result {
    let (counters, skipped) = (&filler.counters, &filler.skipped);
    heap.numbers([
        ("filler_previously_released_huge_pages", counters.refilled_hugepages),
        ("filler_num_pages_subreleased", counters.subreleased_pages),
        ("filler_num_pages_subreleased_due_to_limit", counters.subreleased_pages_for_limit),
        ("filler_num_hugepages_broken", counters.broken_hugepages),
        ("filler_num_hugepages_broken_due_to_limit", counters.broken_hugepages_for_limit),
    ])?;
    if let Some(backing) = backing {
        let backed = backing.refilled_backed_hugepages;
        heap.field("filler_previously_released_backed_huge_pages", backed)?;
    }
    for (name, figures) in [
        ("filler_sparsely_accessed_alloc_stats", filler.sparse()),
        ("filler_densely_accessed_alloc_stats", filler.dense()),
    ] {
        let DensityFigures { full, partial, released, partially_released, .. } = figures;
        heap.message(name, |stats| {
            stats.numbers([
                ("full_huge_pages", full),
                ("partial_huge_pages", partial),
                ("released_huge_pages", released),
                ("partially_released_huge_pages", partially_released),
            ])
        })?;
    }
    heap.message("filler_skipped_subrelease", |stats| {
        stats.numbers([
            ("skipped_subrelease_interval_ms", 0),
            ("skipped_subrelease_short_interval_ms", filler.skip_short_ns / 1_000_000),
            ("skipped_subrelease_long_interval_ms", filler.skip_long_ns / 1_000_000),
            ("skipped_subrelease_pages", skipped.skipped_pages),
            ("correctly_skipped_subrelease_pages", skipped.correct_pages),
            ("pending_skipped_subrelease_pages", skipped.pending_pages),
            ("skipped_subrelease_count", skipped.skipped_decisions),
            ("correctly_skipped_subrelease_count", skipped.correct_decisions),
            ("pending_skipped_subrelease_count", skipped.pending_decisions),
        ])
    })?;
    heap.field("filler_num_pages_subreleased_last_hour", filler.subreleased_pages_last_hour)?;
    for (name, counts) in [
        "filler_sparsely_accessed_completed_lifetime_histogram",
        "filler_densely_accessed_completed_lifetime_histogram",
    ]
    .iter()
    .zip(&counters.completed_lifetimes)
    {
        lifetimes(name, counts, heap)?;
    }
    Ok(())
}

/// What the kernel has of a population.
fn of_kernel(kernel_pages: u64, backing: &PopulationBacking, tracker: &mut Message<'_>) -> Result {
    let pages = usize::try_from(kernel_pages).unwrap_or(0);
    let bounds = kernel_bounds(kernel_pages);
    for (name, histogram) in [
        ("unbacked_histogram", &backing.unbacked),
        ("swapped_histogram", &backing.swapped),
        ("free_unbacked_histogram", &backing.free_unbacked),
        ("free_swapped_histogram", &backing.free_swapped),
    ] {
        buckets(name, 0, pages, &bounds, &histogram.counts, tracker)?;
    }
    tracker.numbers([
        ("num_free_swapped_native_pages", backing.free_swapped_pages),
        ("num_used_swapped_native_pages", backing.used_swapped_pages),
        ("num_free_unbacked_native_pages", backing.free_unbacked_pages),
        ("num_used_unbacked_native_pages", backing.used_unbacked_pages),
        ("num_hugepage_backed", backing.backed_hugepages),
        ("num_free_pages_non_hugepage_backed", backing.free_heap_pages_on_small),
        ("num_used_pages_non_hugepage_backed", backing.used_heap_pages_on_small),
        ("num_free_pages_hugepage_backed", backing.free_heap_pages_on_huge),
        ("num_used_pages_hugepage_backed", backing.used_heap_pages_on_huge),
        ("num_treated", backing.treated),
        ("num_skipped_collapse", backing.passed_over),
    ])?;
    backing.samples.iter().flatten().try_for_each(|sample| {
        tracker.message("sampled_tracker", |message| {
            message.numbers([
                ("allocations", sample.allocations),
                ("longest_free_range", sample.longest_free_pages),
                ("objects", sample.objects),
            ])?;
            message.field("is_hugepage_backed", sample.backed)?;
            message.field("density", u8::from(sample.dense))?;
            message.field("reallocation_time_ns", sample.between_allocations_ns)
        })
    })
}

/// A message for each bucket, in milliseconds; the last has no upper bound.
pub(super) fn lifetimes(
    name: &str,
    counts: &[u32; LIFETIME_BUCKETS],
    message: &mut Message<'_>,
) -> Result {
    let ends = LIFETIME_BOUNDS_MS.iter().skip(1).map(Some).chain([None]);
    for ((begin, end), count) in LIFETIME_BOUNDS_MS.iter().zip(ends).zip(counts) {
        message.message(name, |bucket| {
            bucket.field("lower_bound", begin)?;
            end.map_or(Ok(()), |end| bucket.field("upper_bound", end - 1))?;
            bucket.field("value", count)
        })?;
    }
    Ok(())
}

/// `SPARSELY_ACCESSED_REGULAR` of `sparsely-accessed regular`.
fn write_type(name: &str, tracker: &mut Message<'_>) -> Result {
    let out = tracker.out();
    write!(out, " type: ")?;
    name.chars().try_for_each(|letter| {
        out.write_char(match letter {
            ' ' | '-' => '_',
            letter => letter.to_ascii_uppercase(),
        })
    })
}

/// The three histograms, each with a name and what its bounds are above those of its buckets.
fn measures(fullness: &Fullness) -> [(&'static str, &Histogram, u64); 3] {
    [
        ("free_pages_histogram", &fullness.free_pages, 0),
        ("longest_free_range_histogram", &fullness.longest_free_range, 0),
        ("allocations_histogram", &fullness.allocations_less_one, 1),
    ]
}

fn fine(fullness: &Fullness, pages: usize, tracker: &mut Message<'_>) -> Result {
    measures(fullness).into_iter().try_for_each(|(name, histogram, above)| {
        let bounds = histogram_bounds_of(pages);
        buckets(name, above, pages, &bounds, &histogram.counts, tracker)
    })
}

fn coarse(fullness: &Fullness, pages: usize, tracker: &mut Message<'_>) -> Result {
    measures(fullness).into_iter().try_for_each(|(name, histogram, above)| {
        let bounds = coarse_bounds_of(pages);
        buckets(name, above, pages, &bounds, &histogram.coarse(pages), tracker)
    })
}

/// A message for each bucket; the upper bound is the greatest number in it.
fn buckets(
    name: &str,
    above: u64,
    pages: usize,
    bounds: &[impl Copy + Into<u64>],
    counts: &[u32],
    tracker: &mut Message<'_>,
) -> Result {
    let ends = bounds.iter().skip(1).map(|bound| (*bound).into()).chain([pages as u64]);
    for ((begin, end), count) in bounds.iter().zip(ends).zip(counts) {
        let begin: u64 = (*begin).into();
        tracker.message(name, |bucket| {
            bucket.numbers([
                ("lower_bound", begin + above),
                ("upper_bound", end.saturating_sub(1).max(begin) + above),
                ("value", u64::from(*count)),
            ])
        })?;
    }
    Ok(())
}

fn moment_of(moment: &FillerMoment, message: &mut Message<'_>) -> Result {
    message.numbers([
        ("num_pages", moment.used_pages),
        ("num_free_pages", moment.free_pages),
        ("num_unmapped_pages", moment.unmapped_pages),
        ("num_regular_huge_pages", moment.regular_hugepages),
        ("num_donated_huge_pages", moment.donated_hugepages),
        ("num_partial_huge_pages", moment.partial_hugepages),
        ("num_released_huge_pages", moment.released_hugepages),
    ])
}
