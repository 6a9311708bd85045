//! What has to add up: fifteen identities that the figures of TCMalloc's documentation keep to, by their numbers.
//!
//! | | |
//! |---|---|
//! | 1 | the categories add up to the actual memory |
//! | 2 | actual and released memory are the virtual memory |
//! | 3 | what was mapped and is not virtual memory was never used |
//! | 4 | the pages in the table of unmapped ages are what was released, but for what was released inside of spans in use |
//! | 5 | the pages in the table of live ages are what the page heap has free |
//! | 6 | the filler's free pages are what its component has free; all components' are what the page heap has |
//! | 7 | the filler's hugepages are what its component has used, free and unmapped |
//! | 8 | hugepages requested less those in use are free, and unmapped |
//! | 9 | each hugepage in use is in the filler, with a large span, cached or in a region |
//! | 10 | shares are the quotients that they are said to be |
//! | 11 | full, partial and released hugepages are all |
//! | 12 | allocated less freed is live, and so many pages have so many bytes |
//! | 13 | without regions and abandoned tails, the filler's used pages are small spans and whole donated hugepages |
//! | 14 | all histograms of a population count the same hugepages |
//! | 15 | cumulative columns are running sums, rounded when printed |
//!
//! Strata's own: what demand keeps of the filler's free pages is no more than these, nor than what a release leaves; and
//! the rate leaves as large a part of it as came back.

use crate::reading::Taken;
use strata_stats::{
    Backing, Figure, Ledger, Line, PageHeapDetails, RenderPageHeap, Report, Snapshot,
};
use strata_temeraire::{FillerFigures, KeptForDemand, Population, TemeraireFigures};

const MIB: f64 = 1_048_576.0;
const HUGEPAGE: f64 = 2.0 * MIB;

/// All that must hold when nobody allocates or frees.
pub(crate) fn at_rest<F: RenderPageHeap>(taken: &Taken<F>, reports: &[Report<'_>; 2]) {
    at_any_moment(reports);
    for report in reports {
        twelve(report);
        fifteen_of_spans(report, released_inside_spans(&reports[0]));
        if report.lines("component").next().is_some() {
            components(report);
        }
    }
    let [first, today] = reports;
    four_and_five(first);
    if first.lines("component").next().is_some() {
        thirteen(first, today);
        fourteen(first, &["regular", "donated", "released"]);
        fourteen(today, &TODAY_S_POPULATIONS);
    }
    ledger_at_rest(&taken.snapshot);
    // A class's spans that have objects out are all its spans.
    for ((index, class), (_, details)) in taken.snapshot.classes.iter().zip(taken.details.classes())
    {
        assert_eq!(u64::from(details.utilization.iter().sum::<u32>()), class.spans, "{index}");
        let all = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        let spans = details.spans.expect("they were just read");
        assert_eq!(all(&spans.live_lifetimes), class.spans, "{index}");
        assert_eq!(all(&spans.completed_lifetimes), class.spans_returned, "{index}");
        let misses = details.misses.expect("they were just read");
        for ages in [misses.underflow, misses.overflow].into_iter().flatten() {
            assert!(ages.latest_ns <= ages.earliest_ns, "{ages:?}");
            let is_alone = ages.latest_id == ages.earliest_id;
            assert!(!is_alone || ages.latest_ns == ages.earliest_ns, "{ages:?}");
        }
    }
    if let (PageHeapDetails::Temeraire(figures), Some(backing)) =
        (taken.page_heap.details(), &taken.details.backing)
    {
        asked(&figures.filler, backing, figures.page_bytes);
    }
    if let PageHeapDetails::Temeraire(figures) = taken.page_heap.details() {
        kept(figures, taken.snapshot.heap.page_heap.free_bytes);
    }
    // A miss of a class that has all its slots is a miss of its CPU.
    let details = taken.details.classes().filter_map(|(_, details)| details.misses);
    let at_greatest: u64 = details.map(|misses| misses.at_greatest_capacity).sum();
    let cpus = taken.details.cpus();
    let all: u64 = cpus.map(|(_, misses)| misses.underflows + misses.overflows).sum();
    assert!(at_greatest <= all, "{at_greatest} of {all}");
}

/// What is kept for demand adds up.
fn kept(figures: &TemeraireFigures, free_bytes: u64) {
    let KeptForDemand { pages, pages_at_rate, returned_64ths } = figures.filler.kept;
    assert!(pages <= figures.filler.free_pages && returned_64ths <= 64, "{pages} {returned_64ths}");
    assert_eq!(pages_at_rate, pages - pages * u64::from(64 - returned_64ths) / 64);
    let releasable = figures.releasable_bytes.expect("it was just read");
    assert!(pages * figures.page_bytes <= free_bytes - releasable, "{pages} of {free_bytes}");
}

/// The kernel was asked about the hugepages that the filler has, each of which has as many pages as the others.
fn asked(filler: &FillerFigures, backing: &Backing, page_bytes: u64) {
    let all = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
    let heap_pages = (HUGEPAGE as u64) / page_bytes;
    let (mut used, mut refilled) = (0, 0);
    for population in Population::ALL {
        let figures = backing.of_population(population);
        assert_eq!(figures.hugepages, filler.fullness_of(population).free_pages.total());
        for histogram in
            [&figures.unbacked, &figures.swapped, &figures.free_unbacked, &figures.free_swapped]
        {
            assert_eq!(all(&histogram.counts), figures.hugepages, "{population:?}");
        }
        let on_small = figures.hugepages - figures.backed_hugepages;
        let small = figures.free_heap_pages_on_small + figures.used_heap_pages_on_small;
        let huge = figures.free_heap_pages_on_huge + figures.used_heap_pages_on_huge;
        assert_eq!((small, huge), (on_small * heap_pages, figures.backed_hugepages * heap_pages));
        used += figures.used_heap_pages_on_small + figures.used_heap_pages_on_huge;
        let nowhere = figures.free_unbacked_pages + figures.used_unbacked_pages;
        assert!(nowhere <= on_small * backing.kernel_pages, "{figures:?}");
        assert!(figures.passed_over <= figures.treated && figures.treated <= figures.hugepages);
        let samples = figures.samples.iter().flatten().count() as u64;
        assert_eq!(samples, figures.hugepages.min(Backing::SAMPLES as u64));
        refilled += figures.backed_hugepages;
    }
    assert_eq!(used, filler.used_pages);
    assert!(backing.refilled_backed_hugepages <= refilled.min(filler.counters.refilled_hugepages));
}

/// What holds while threads run, too: it was added up from one snapshot.
pub(crate) fn at_any_moment(reports: &[Report<'_>; 2]) {
    for report in reports {
        one_and_two(report);
        rounded(report);
        fifteen_of_classes(report);
        cpus(report);
    }
    three(&reports[0]);
}

/// Every mapped byte has one place, and both counts of what is in use agree.
pub(crate) fn ledger_at_rest(snapshot: &Snapshot) {
    let ledger = Ledger::of(snapshot);
    assert_eq!(ledger.unexplained(), 0, "{ledger:?}");
    assert_eq!(ledger.in_use_difference(), 0, "{ledger:?}");
}

fn number(report: &Report<'_>, name: &str) -> u64 {
    report.number(name).unwrap_or_else(|| panic!("no {name} in the report"))
}

fn of(line: &Line<'_>, name: &str) -> f64 {
    line.real(name).unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

fn line<'a, 'b>(report: &'b Report<'a>, form: &str) -> &'b Line<'a> {
    let mut lines = report.lines(form);
    let line = lines.next().unwrap_or_else(|| panic!("no {form} in the report"));
    assert!(lines.next().is_none(), "{form} more than once");
    line
}

fn one_and_two(report: &Report<'_>) {
    let sum: u64 = report
        .lines("sum")
        .chain(report.lines("in_use"))
        // The first figure are the bytes, the second the same in MiB.
        .map(|line| {
            line.all().next().and_then(|(_, bytes)| bytes.number()).expect("bytes come first")
        })
        .sum();
    assert_eq!(sum, number(report, "actual_mem_used"));
    assert_eq!(sum + number(report, "unmapped"), number(report, "virtual_address_space_used"));
}

fn three(report: &Report<'_>) {
    let never_used = number(report, "never_used");
    let unexplained = line(report, "ledger_unexplained").real("unexplained").expect("a number");
    let beyond =
        number(report, "mmap_sys_allocator") - number(report, "virtual_address_space_used");
    assert_eq!(beyond as f64, never_used as f64 + unexplained);
}

/// The MiB beside bytes are the bytes, rounded.
fn rounded(report: &Report<'_>) {
    for form in ["in_use", "sum", "actual", "released", "virtual", "bytes", "process", "ledger"] {
        for line in report.lines(form) {
            let bytes = line.all().next().and_then(|(_, bytes)| bytes.real()).expect("bytes");
            assert!((bytes / MIB - of(line, "mib")).abs() <= 0.051, "{line:?}");
        }
    }
}

fn four_and_five(report: &Report<'_>) {
    let page = number(report, "tcmalloc_page_size");
    let released = number(report, "unmapped") - released_inside_spans(report);
    for (kind, bytes) in [("live", number(report, "page_heap_freelist")), ("unmapped", released)] {
        let pages = |line: &Line<'_>| -> u64 {
            line.figures("pages_by_age").filter_map(Figure::number).sum()
        };
        let total = pages(line(report, &format!("{kind}_total")));
        assert_eq!(total * page, bytes, "{kind}");
        let rows: u64 = report.lines(&format!("{kind}_ages")).map(pages).sum();
        assert_eq!(rows, total, "{kind}");
    }
}

/// Identities 6 to 11.
fn components(report: &Report<'_>) {
    let page = number(report, "tcmalloc_page_size") as f64;
    let pages_per_hugepage = HUGEPAGE / page;
    let component = |name: &str, column: &str| {
        let is_its =
            |line: &&Line<'_>| line.figure("component").is_some_and(|of| of.text() == name);
        of(report.lines("component").find(is_its).expect("each component has a line"), column)
    };
    let all = |column: &str| report.lines("component").map(|line| of(line, column)).sum::<f64>();

    // 6. Four figures, each rounded to a tenth.
    let free = of(line(report, "filler_free"), "filler_free_pages");
    near(component("filler", "free_mib"), free * page);
    assert!((all("free_mib") - number(report, "page_heap_freelist") as f64 / MIB).abs() < 0.21);
    assert!((all("free_mib") - of(line(report, "spans_total"), "free_mib")).abs() < 0.26);

    // 7.
    let filler = line(report, "filler");
    let total = of(filler, "total");
    let filler_mib = ["used_mib", "free_mib", "unmapped_mib"].map(|part| component("filler", part));
    assert!((filler_mib.iter().sum::<f64>() - total * 2.0).abs() < 0.16, "{filler:?}");

    // 8. What is on its way to the kernel counts as free.
    let allocator = line(report, "huge_allocator");
    let in_use = of(allocator, "num_in_use_huge_pages");
    let unused = of(allocator, "num_free_huge_pages");
    assert_eq!(of(allocator, "num_total_requested_huge_pages") - in_use, unused);
    near(component("alloc", "free_mib") + component("alloc", "unmapped_mib"), unused * HUGEPAGE);

    // 9.
    let large = component("cache", "used_mib") / 2.0;
    let cached = of(line(report, "huge_cache"), "cached_hugepages");
    let regions = of(line(report, "regions_backed"), "hugepages");
    assert_eq!(total + large + cached + regions, in_use);

    // 10.
    let (full, partial) =
        (of(filler, "filler_full_huge_pages"), of(filler, "filler_partial_huge_pages"));
    near_share(of(line(report, "filler_free"), "free_share"), free, total * pages_per_hugepage);
    near_share(
        of(line(report, "filler_free_of_non_full"), "free_share_of_non_full"),
        free,
        (total - full) * pages_per_hugepage,
    );
    let region_free = line(report, "regions_free");
    let backed = of(line(report, "regions_backed"), "backed_hugepages");
    near_share(
        of(region_free, "free_share"),
        of(region_free, "free_pages"),
        backed * pages_per_hugepage,
    );

    // 11.
    let released = of(filler, "filler_released_huge_pages");
    assert_eq!(full + partial + released, total);
    let densities: f64 = report.lines("filler_density").map(|line| of(line, "hugepages")).sum();
    if report.lines("filler_density").next().is_some() {
        assert_eq!(densities, total);
    }
}

fn twelve(report: &Report<'_>) {
    let page = number(report, "tcmalloc_page_size") as f64;
    let mut small = 0.0;
    for line in report.lines("per_size").chain(report.lines("per_size_range")) {
        assert_eq!(of(line, "allocated") - of(line, "freed"), of(line, "live"), "{line:?}");
    }
    for line in report.lines("per_size") {
        let pages = of(line, "pages") * of(line, "live");
        near(of(line, "live_mib"), pages * page);
        small += pages;
    }
    assert_eq!(small, number(report, "num_small_allocation_pages") as f64);
}

/// Where no region has a span, what the filler has in use is small, or the last part of a large span: with the slack
/// behind that part, a whole hugepage.
fn thirteen(report: &Report<'_>, today: &Report<'_>) {
    let pages_per_hugepage = HUGEPAGE / number(report, "tcmalloc_page_size") as f64;
    let filler = line(report, "filler");
    let released = of(filler, "filler_released_huge_pages");
    let abandoned = number(today, "filler_abandoned_pages");
    if number(report, "regions") != 0 || abandoned != 0 || released != 0.0 {
        return;
    }
    let free = number(report, "filler_free_pages") as f64;
    let used = of(filler, "total") * pages_per_hugepage - free;
    let small = number(report, "num_small_allocation_pages") as f64;
    let slack = number(report, "num_slack_pages") as f64;
    let tails = (used - small + slack) / pages_per_hugepage;
    assert_eq!(tails.fract(), 0.0, "{used} used, {small} small, {slack} slack");
    assert!(tails >= 0.0);
}

const TODAY_S_POPULATIONS: [&str; 7] = [
    "sparsely-accessed regular",
    "densely-accessed regular",
    "donated",
    "sparsely-accessed partial released",
    "densely-accessed partial released",
    "sparsely-accessed released",
    "densely-accessed released",
];

fn fourteen(report: &Report<'_>, populations: &[&str]) {
    let counted = |kind: &str, measure: &str| -> Option<u64> {
        Some(report.histogram(kind, measure)?.into_iter().map(|(_, hugepages)| hugepages).sum())
    };
    let mut all = 0;
    for kind in populations {
        let by_free = counted(kind, "free pages").expect("each population has this histogram");
        for measure in ["longest free range", "allocations"] {
            // Of donated hugepages the others tell nothing.
            if let Some(count) = counted(kind, measure) {
                assert_eq!(count, by_free, "{kind}: {measure}");
            }
        }
        all += by_free;
    }
    assert_eq!(all as f64, of(line(report, "filler"), "total"));
}

/// The table of classes, which is what the summary was added up from.
fn fifteen_of_classes(report: &Report<'_>) {
    let mut cumulative = 0.0;
    for (index, line) in report.lines("class").enumerate() {
        assert_eq!(of(line, "class"), index as f64 + 1.0);
        let bytes = of(line, "object_bytes") * of(line, "objects");
        cumulative += bytes;
        assert!((bytes / MIB - of(line, "mib")).abs() <= 0.051, "{line:?}");
        assert!((cumulative / MIB - of(line, "cumulative_mib")).abs() <= 0.051, "{line:?}");
    }
    // Central bytes are free objects and the unusable ends of spans.
    let caches: u64 =
        ["per_cpu_cache_freelist", "transfer_cache_freelist", "thread_cache_freelists"]
            .into_iter()
            .map(|name| number(report, name))
            .sum();
    let (caches, central) = (caches as f64, number(report, "central_cache_freelist") as f64);
    assert!((caches..=caches + central).contains(&cumulative), "{caches}, {central}, {cumulative}");
    let mut cumulative = 0.0;
    for line in report.lines("transfer_cache") {
        cumulative += of(line, "object_bytes") * of(line, "objects");
        assert!((cumulative / MIB - of(line, "cumulative_mib")).abs() <= 0.051, "{line:?}");
    }
}

/// The table of free spans.
fn fifteen_of_spans(report: &Report<'_>, released_inside: u64) {
    let page = number(report, "tcmalloc_page_size") as f64;
    let unmapped = released_spans(report) - released_inside as f64;
    let free = number(report, "page_heap_freelist") as f64;
    let total = line(report, "spans_total");
    near(of(total, "free_mib"), free);
    near(of(total, "unmapped_mib"), unmapped);
    let lines: Vec<_> = report.lines("spans").collect();
    assert_eq!(lines.len() as f64, of(total, "sizes"), "the line of long spans counts as no size");
    let mut sum = 0.0;
    for line in lines {
        let bytes = of(line, "pages") * of(line, "spans") * page;
        sum += bytes;
        near(of(line, "mib"), bytes);
        near(of(line, "cumulative_mib"), sum);
    }
    let large = line(report, "large_spans");
    near(of(large, "cumulative_mib"), free + unmapped);
    near(of(large, "cumulative_unmapped_mib"), unmapped);
}

/// Today's form counts the page map's untouched part with what was released.
fn released_spans(report: &Report<'_>) -> f64 {
    let untouched = report.number("malloc_metadata_arena_non_resident").unwrap_or(0);
    (number(report, "unmapped") - untouched) as f64
}

/// What was released of spans in use, which are in no table of free ones.
/// Only the form that ends with the ledger says it.
fn released_inside_spans(report: &Report<'_>) -> u64 {
    let is_its = |line: &&Line<'_>| {
        line.figure("category").is_some_and(|of| of.text() == "central free lists, released")
    };
    report
        .lines("ledger")
        .find(is_its)
        .and_then(|line| line.figure("bytes"))
        .and_then(|figure| figure.number())
        .unwrap_or(0)
}

fn cpus(report: &Report<'_>) {
    let held: f64 =
        report.lines("cpu").chain(report.lines("more_cpus")).map(|line| of(line, "used")).sum();
    assert_eq!(held, number(report, "per_cpu_cache_freelist") as f64);
    // Of a cache that was never used the limit is unallocated, but for what it lent. Nobody has more than all
    // limits together.
    let limit = report.real("per_cpu_limit").unwrap_or(0.0);
    let limits = report.lines("cpu").count() as f64 * limit;
    for line in report.lines("cpu") {
        let (used, unused) = (of(line, "used"), of(line, "unused"));
        assert!(used + unused <= limits, "{line:?}");
        if !line.figure("state").is_some_and(|state| state.text().contains("populated")) {
            assert_eq!(used, 0.0, "{line:?}");
            assert!(unused <= limit, "{line:?}");
        }
    }
    let per_cpu = line(report, "experiments").figures("value").next().expect("the first is ours");
    if per_cpu.number() == Some(0) {
        assert_eq!(report.lines("cpu").count(), 0);
    }
}

/// `mib` is `bytes`, rounded to a tenth.
fn near(mib: f64, bytes: f64) {
    assert!((mib - bytes / MIB).abs() <= 0.151, "{mib} MiB are not {bytes} bytes");
}

/// `share` is the share that `part` is of `whole`, rounded to four digits.
fn near_share(share: f64, part: f64, whole: f64) {
    let exact = if whole == 0.0 { 0.0 } else { part / whole };
    assert!((share - exact).abs() <= 0.000_051, "{share} is not {part} of {whole}");
}
