//! Reports that others wrote: TCMalloc's documentation, and TCMalloc itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use strata_stats::{Figure, Report, parse, parse_whole};

/// The samples of TCMalloc's documentation, from several programs.
const DOCUMENTATION: &str = include_str!("samples/documentation.txt");

/// A report of TCMalloc's, of August 2026: two lines of each form.
const TODAY: &str = include_str!("samples/today.txt");

fn assert_known(report: &Report<'_>) {
    let unknown: Vec<_> = report.unknown().collect();
    assert!(
        unknown.is_empty(),
        "{} lines, {:#?}",
        unknown.len(),
        &unknown[..unknown.len().min(20)]
    );
}

#[test]
fn every_line_of_the_documentation_s_samples_is_known() {
    assert_known(&parse(DOCUMENTATION));
}

#[test]
fn every_line_of_today_s_report_is_known() {
    assert_known(&parse(TODAY));
}

/// A whole report, where there is one: `STRATA_SAMPLE_REPORT` names the file.
#[test]
fn every_line_of_a_given_report_is_known() {
    let Some(path) = std::env::var_os("STRATA_SAMPLE_REPORT") else { return };
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let report = parse_whole(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_known(&report);
    today_s_identities(&report);
}

#[test]
fn the_documentation_s_figures_are_read() {
    let report = parse(DOCUMENTATION);
    for (name, number) in [
        ("in_use_by_app", 16_709_337_136),
        ("page_heap_freelist", 503_480_320),
        ("central_cache_freelist", 363_974_808),
        ("per_cpu_cache_freelist", 120_122_560),
        ("transfer_cache_freelist", 415_232),
        ("thread_cache_freelists", 76_920),
        ("malloc_metadata", 52_258_953),
        ("actual_mem_used", 17_749_665_929),
        ("unmapped", 333_905_920),
        ("virtual_address_space_used", 18_083_571_849),
        ("num_spans", 236_176),
        ("num_spans_created", 238_709),
        ("num_thread_heaps", 8),
        ("num_thread_heaps_created", 46),
        ("num_stack_traces", 13_517),
        ("num_stack_traces_created", 13_742),
        ("num_table_buckets", 0),
        ("num_table_buckets_created", 2808),
        ("pagemap_size", 11_665_416),
        ("pagemap_root_residence", 4_067_336),
        ("tcmalloc_page_size", 32_768),
        ("tcmalloc_huge_page_size", 2_097_152),
        ("total_resident", 86_880_677_888),
        ("total_mapped", 89_124_790_272),
        ("per_cpu_limit", 3_145_728),
        ("successful_allocations", 1823),
        ("current_slots_allocated", 33),
        ("current_slots_quarantined", 95),
        ("max_slots_allocated", 51),
        ("allocated_slot_limit", 64),
        ("mmap_sys_allocator", 18_083_741_696),
        ("total", 19_882),
        ("filler_full_huge_pages", 3870),
        ("filler_free_pages", 120_168),
        ("min_free_pages", 0),
        ("limit_hugepages", 10),
        ("huge_cache_regret", 1234),
        ("nodes_created", 10),
        ("longest_hugepages", 256),
        ("num_total_requested_huge_pages", 20_913),
        ("num_in_use_huge_pages", 20_336),
        ("num_free_huge_pages", 577),
    ] {
        assert_eq!(report.number(name), Some(number), "{name}");
    }
    assert!(report.real("released_share").is_some_and(f64::is_nan), "the program divided by 0");
}

#[test]
fn the_documentation_s_tables_are_read() {
    let report = parse(DOCUMENTATION);
    let classes: Vec<_> = report
        .lines("class")
        .map(|line| (line.number("object_bytes").unwrap(), line.number("objects").unwrap()))
        .collect();
    let expected = [(8, 413_460), (16, 103_410), (24, 525_973), (32, 275_250), (40, 1_047_443)];
    assert_eq!(classes, expected);
    let cpus: Vec<_> = report.lines("cpu").collect();
    assert_eq!(cpus.len(), 5);
    assert_eq!(cpus[4].number("unused"), Some(179_800));
    assert_eq!(
        (cpus[3].figure("state").map(Figure::text), cpus[4].figure("state")),
        (Some("active"), None)
    );
    let live = report.lines("live_total").next().unwrap();
    let ages: Vec<_> = live.figures("pages_by_age").filter_map(Figure::number).collect();
    assert_eq!(ages, [533, 13_322, 26, 1483, 0, 0, 0]);
    let first = report.lines("per_size").next().unwrap();
    assert_eq!(first.number("allocated"), Some(23_978_897));
    assert_eq!(first.real("allocations_per_second"), Some(2430.0));
    let regular = report.histogram("regular", "free pages").unwrap();
    assert_eq!(regular.len(), 24);
    assert_eq!(regular[5], (16, 103));
    let allocations = report.histogram("regular", "allocations").unwrap();
    assert_eq!(allocations[18], (225, 5062));
    let peak = report.lines("peak_hugepages").next().unwrap();
    assert_eq!((peak.number("hugepages"), peak.number("released")), (Some(8), Some(2)));
}

/// What adds up in the documentation's own figures.
#[test]
fn the_documentation_s_identities_hold() {
    let report = parse(DOCUMENTATION);
    let number = |name| report.number(name).unwrap();
    let sums =
        ["in_use_by_app", "page_heap_freelist", "central_cache_freelist", "per_cpu_cache_freelist"];
    let more = ["transfer_cache_freelist", "thread_cache_freelists", "malloc_metadata"];
    let sum: u64 = sums.into_iter().chain(more).map(number).sum();
    assert_eq!(sum, number("actual_mem_used"));
    assert_eq!(sum + number("unmapped"), number("virtual_address_space_used"));
    let unmapped = report.lines("unmapped_total").next().unwrap();
    let pages: u64 = unmapped.figures("pages_by_age").filter_map(Figure::number).sum();
    assert_eq!(pages * number("tcmalloc_page_size"), number("unmapped"));
    assert_eq!(
        number("num_total_requested_huge_pages") - number("num_in_use_huge_pages"),
        number("num_free_huge_pages")
    );
    for line in report.lines("per_size") {
        let of = |name| line.number(name).unwrap();
        assert_eq!(of("allocated") - of("freed"), of("live"));
    }
}

#[test]
fn today_s_figures_are_read() {
    let report = parse(TODAY);
    today_s_identities(&report);
    for (name, number) in [
        ("sharded_transfer_cache_freelist", 0),
        ("peak_backed", 586_209_782),
        ("peak_application_demand", 415_457_411),
        ("cpus_allowed", 2),
        ("arena_blocks", 3),
        ("total_vmpte", 1_236_992),
        ("max_allowed_capacity", 247),
        ("filler_abandoned_pages", 11_163),
        ("backed_free_hugepages", 11),
        ("least_backed_free_hugepages", 5),
        ("num_released_process_background_actions_pages", 5632),
        ("total_pages", 128),
        ("mmap_sys_allocator", 5_368_709_120),
    ] {
        assert_eq!(report.number(name), Some(number), "{name}");
    }
    assert_eq!(report.real("realized_fragmentation_percent"), Some(41.0998));
    let interval = report.parameter("tcmalloc_skip_subrelease_short_interval").unwrap();
    assert_eq!(interval.text(), "1m");
    assert!(report.all().any(|line| line.page_heap == "SAMPLED"));
    let batches = report.lines("spans_a_batch").next().unwrap();
    assert_eq!((batches.number("bound"), batches.number("batches")), (Some(1), Some(17)));
    let lists = report.lines("span_occupancy").next().unwrap();
    assert_eq!(lists.figures("list").count(), 8);
    assert_eq!(report.lines("span_utilization").next().unwrap().figures("bound").count(), 16);
}

fn today_s_identities(report: &Report<'_>) {
    let number = |name| report.number(name).unwrap();
    let sum: u64 = [
        "in_use_by_app",
        "page_heap_freelist",
        "central_cache_freelist",
        "per_cpu_cache_freelist",
        "sharded_transfer_cache_freelist",
        "transfer_cache_freelist",
        "thread_cache_freelists",
        "malloc_metadata",
        "malloc_metadata_arena_unallocated",
        "malloc_metadata_arena_unavailable",
    ]
    .into_iter()
    .map(number)
    .sum();
    assert_eq!(sum, number("actual_mem_used"));
    assert_eq!(sum + number("unmapped"), number("virtual_address_space_used"));
}
