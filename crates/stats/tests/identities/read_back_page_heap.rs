//! The same for the sections of a page heap.

use crate::read_back::{all, line_has, same};
use strata_page_heap::{AllocationFigures, FreeSpans, SpanAges};
use strata_stats::{Line, PageHeapDetails, Report};
use strata_temeraire::{
    FillerFigures, Fullness, Histogram, HugeCacheFigures, Population, TemeraireFigures,
    coarse_bounds_of, histogram_bounds_of,
};

/// Compares the sections of the page heap that a heap has.
pub(crate) fn page_heap(details: PageHeapDetails<'_>, report: &Report<'_>) {
    match details {
        PageHeapDetails::Legacy(figures) => {
            spans(figures.lengths().chain([figures.large]), report);
            ages(&figures.ages, report);
            allocations(&figures.allocations, report);
        }
        PageHeapDetails::Temeraire(figures) => {
            spans(figures.spans.lengths().chain([figures.spans.large]), report);
            ages(&figures.ages, report);
            allocations(&figures.allocations, report);
            temeraire(figures, report);
        }
        _ => panic!("the heap has one of these"),
    }
}

fn spans(spans: impl Iterator<Item = FreeSpans>, report: &Report<'_>) {
    let mut lines = report.lines("spans").chain(report.lines("large_spans"));
    for spans in spans {
        let line = lines.next().expect("each length has a line");
        let count = spans.backed_spans + spans.unmapped_spans;
        line_has(line, &[("pages", spans.pages), ("spans", count)]);
    }
    assert!(lines.next().is_none());
}

/// Today's form has no ages.
fn ages(ages: &SpanAges, report: &Report<'_>) {
    for (kind, table) in [("live", &ages.live), ("unmapped", &ages.unmapped)] {
        let Some(total) = report.lines(&format!("{kind}_total")).next() else { return };
        assert_eq!(all(total, "pages_by_age"), table.total.pages);
        let rows = format!("{kind}_ages");
        let mut lines = report.lines(&rows);
        for (pages, row) in table.rows() {
            let line = lines.next().expect("each length has a row");
            line_has(line, &[("pages", pages)]);
            assert_eq!(all(line, "pages_by_age"), row.pages);
        }
        if let Some(line) = lines.next() {
            assert_eq!(all(line, "pages_by_age"), table.long.pages);
        }
    }
}

fn allocations(figures: &AllocationFigures, report: &Report<'_>) {
    same(
        report,
        &[
            ("num_small_allocation_pages", figures.small_live_pages),
            ("num_slack_pages", figures.slack_pages),
            ("largest_allocation_pages", figures.largest_pages),
        ],
    );
    let mut lines = report.lines("per_size").chain(report.lines("per_size_range"));
    for record in figures.records() {
        let line = lines.next().expect("each record has a line");
        let figures =
            [("allocated", record.allocated), ("freed", record.freed), ("live", record.live())];
        line_has(line, &figures);
    }
    assert!(lines.next().is_none());
}

fn temeraire(figures: &TemeraireFigures, report: &Report<'_>) {
    let (filler, regions) = (&figures.filler, &figures.regions);
    let counters = &filler.counters;
    let (cache, allocator) = (&figures.cache, &figures.allocator);
    same(
        report,
        &[
            ("filler_donated_huge_pages", filler.counters.donations),
            ("filler_abandoned_pages", filler.abandoned_pages),
            ("total", filler.hugepages),
            ("filler_full_huge_pages", filler.full_hugepages),
            ("filler_partial_huge_pages", filler.partial_hugepages),
            ("filler_released_huge_pages", filler.released_hugepages),
            ("filler_partially_released_huge_pages", filler.partially_released_hugepages),
            ("filler_free_pages", filler.free_pages),
            ("filler_used_pages_in_subreleased", filler.used_pages_in_released),
            ("filler_num_pages_subreleased", filler.counters.subreleased_pages),
            ("filler_num_hugepages_broken", filler.counters.broken_hugepages),
            ("min_free_pages", filler.history.least_free_pages),
            ("min_free_backed_pages", filler.history.least_free_backed_pages),
            ("regions", regions.regions),
            ("backed_hugepages", regions.backed_hugepages),
            ("backed_free_hugepages", regions.backed_free_hugepages),
            ("cached_hugepages", cache.cached_hugepages),
            ("limit_hugepages", cache.limit_hugepages),
            ("huge_cache_regret", cache.regret_mib_seconds),
            ("fast_unbacked_mib", 2 * cache.fast_unbacked_hugepages),
            ("periodic_unbacked_mib", 2 * cache.periodic_unbacked_hugepages),
            ("filler_used_pages_in_partial_released", filler.used_pages_in_partially_released),
            ("filler_num_pages_subreleased_due_to_limit", counters.subreleased_pages_for_limit),
            ("filler_num_hugepages_broken_due_to_limit", counters.broken_hugepages_for_limit),
            ("filler_previously_released_huge_pages", counters.refilled_hugepages),
            ("subreleases", filler.skipped.skipped_decisions),
            ("skipped_pages", filler.skipped.skipped_pages),
            ("pending_decisions", filler.skipped.pending_decisions),
            ("pending_pages", filler.skipped.pending_pages),
            ("eligible", figures.collapse.asked),
            ("collapsed", figures.collapse.collapsed),
            ("intervals", figures.collapse.pause_ns / figures.collapse.least_pause_ns.max(1)),
            ("least_backed_free_hugepages", regions.least_backed_free_hugepages),
            ("nodes_used", allocator.nodes_used),
            ("nodes_created", allocator.nodes_created),
            ("longest_hugepages", allocator.longest_hugepages),
            ("num_total_requested_huge_pages", allocator.requested_hugepages),
            ("num_in_use_huge_pages", allocator.in_use_hugepages),
            ("num_free_huge_pages", allocator.free_hugepages),
        ],
    );
    histograms(filler, figures.page_bytes, report);
    components(figures, report);
    peaks(filler, report);
    of_the_cache(cache, report);
    lifetimes(filler, report);
    for (line, region) in report.lines("region").zip(regions.shown()) {
        let figures = [
            ("used_kib", region.used_bytes >> 10),
            ("free_kib", region.free_bytes >> 10),
            ("longest_free_kib", region.longest_free_bytes >> 10),
            ("unbacked_mib", region.unbacked_bytes >> 20),
            ("unbacked_lifetime_mib", region.unbacked_bytes_since_start >> 20),
        ];
        line_has(line, &figures);
    }
    let lately = report.lines("filler_subreleased_lately").next();
    if let Some(line) = lately {
        line_has(line, &[("pages", filler.subreleased_pages_last_hour)]);
    }
    for line in report.lines("filler_collapse_errors") {
        assert_eq!(all(line, "count"), figures.collapse.failures_by_error);
    }
}

fn components(figures: &TemeraireFigures, report: &Report<'_>) {
    let of = &figures.components;
    let mut lines = report.lines("component");
    for bytes in [of.filler, of.region, of.cache, of.allocator] {
        let line = lines.next().expect("each component has a line");
        for (name, bytes) in
            [("used_mib", bytes.used), ("free_mib", bytes.free), ("unmapped_mib", bytes.unmapped)]
        {
            let mib = line.real(name).expect("a number");
            assert!((mib - bytes as f64 / 1_048_576.0).abs() <= 0.051, "{line:?}");
        }
    }
}

fn peaks(filler: &FillerFigures, report: &Report<'_>) {
    let history = &filler.history;
    let moments = [("demand", &history.at_peak_demand), ("hps", &history.at_peak_hugepages)];
    for (name, moment) in moments {
        let is_its = |line: &&Line<'_>| {
            line.figure("of").is_some_and(|of| of.text().trim_end_matches(':') == name)
        };
        if let Some(line) = report.lines("peak_pages").find(is_its) {
            let figures = [
                ("used", moment.used_pages),
                ("free", moment.free_pages),
                ("unmapped", moment.unmapped_pages),
            ];
            line_has(line, &figures);
        }
        if let Some(line) = report.lines("peak_hugepages").find(is_its) {
            let figures = [
                ("hugepages", moment.hugepages()),
                ("regular", moment.regular_hugepages),
                ("donated", moment.donated_hugepages),
                ("partial", moment.partial_hugepages),
                ("released", moment.released_hugepages),
            ];
            line_has(line, &figures);
        }
    }
    assert!(report.lines("peak_pages").next().is_some());
}

fn of_the_cache(cache: &HugeCacheFigures, report: &Report<'_>) {
    let ranges = [cache.usage, cache.off_peak, cache.size];
    for (line, range) in report.lines("huge_cache_range").zip(ranges) {
        let figures = [
            ("min_mib", 2 * range.least),
            ("current_mib", 2 * range.current),
            ("max_mib", 2 * range.greatest),
        ];
        line_has(line, &figures);
    }
    if report.lines("huge_cache_epochs").next().is_none() {
        return;
    }
    let epochs = || cache.history.epochs.iter().rev().filter(|epoch| epoch.number != 0);
    let read = |name| report.lines("huge_cache_series").flat_map(move |line| all(line, name));
    assert!(read("least").eq(epochs().map(|epoch| u64::from(epoch.least))));
    assert!(read("greatest").eq(epochs().map(|epoch| u64::from(epoch.greatest))));
    assert!(
        read("began_ms")
            .eq(epochs().map(|epoch| (u64::from(epoch.number) - 1) * cache.history.epoch_ms))
    );
}

/// Of each population how long its hugepages have been there, and what left.
fn lifetimes(filler: &FillerFigures, report: &Report<'_>) {
    let rows: Vec<_> = report.lines("buckets_ms").flat_map(|line| all(line, "value")).collect();
    if rows.is_empty() {
        return;
    }
    let of = |population| {
        let lifetimes = filler.lifetimes_of(population);
        lifetimes.all.into_iter().chain(lifetimes.nearly_free)
    };
    let [sparse, dense] = filler.counters.completed_lifetimes;
    let expected = Population::ALL.into_iter().flat_map(of).chain(dense).chain(sparse);
    assert!(rows.into_iter().eq(expected.map(u64::from)));
}

fn histograms(filler: &FillerFigures, page_bytes: u64, report: &Report<'_>) {
    let pages = usize::try_from((2 << 20) / page_bytes).expect("few pages");
    let of_kind = |kind: &str, fullness: &Fullness, is_coarse: bool| {
        let measures: [(&str, &Histogram, u64); 3] = [
            ("free pages", &fullness.free_pages, 0),
            ("longest free range", &fullness.longest_free_range, 0),
            ("allocations", &fullness.allocations_less_one, 1),
        ];
        for (measure, histogram, above) in measures {
            let Some(read) = report.histogram(kind, measure) else { continue };
            let buckets: Vec<(u16, u32)> = if is_coarse {
                coarse_bounds_of(pages).into_iter().zip(histogram.coarse(pages)).collect()
            } else {
                histogram_bounds_of(pages).into_iter().zip(histogram.counts).collect()
            };
            let expected: Vec<_> = buckets
                .into_iter()
                .map(|(bound, count)| (u64::from(bound) + above, u64::from(count)))
                .collect();
            assert_eq!(read, expected, "{kind}: {measure}");
        }
    };
    if report.lines("filler_density").next().is_none() {
        of_kind("regular", &filler.regular(), true);
        of_kind("donated", &filler.donated(), true);
        of_kind("released", &filler.released(), true);
        return;
    }
    for (kind, population) in POPULATIONS {
        of_kind(kind, &filler.fullness_of(population), false);
    }
}

/// What reports call them.
pub(crate) const POPULATIONS: [(&str, Population); Population::COUNT] = [
    ("sparsely-accessed regular", Population::SparseRegular),
    ("densely-accessed regular", Population::DenseRegular),
    ("donated", Population::Donated),
    ("sparsely-accessed partial released", Population::SparsePartial),
    ("densely-accessed partial released", Population::DensePartial),
    ("sparsely-accessed released", Population::SparseReleased),
    ("densely-accessed released", Population::DenseReleased),
];
