//! What has to add up.

use crate::reading::{Report, numbers};
use strata_stats::{Ledger, Snapshot};

const MIB: f64 = 1_048_576.0;
const HUGEPAGE: f64 = 2.0 * MIB;

/// The lines of the summary, to the byte, at any moment.
pub(crate) fn summary(report: &Report) {
    let bytes = |name: &str| report.line(name)[0];
    let categories = [
        "Bytes in use by application",
        "Bytes in page heap freelist",
        "Bytes in central cache freelist",
        "Bytes in per-CPU cache freelist",
        "Bytes in transfer cache freelist",
        "Bytes in thread cache freelists",
        "Bytes in malloc metadata",
    ];
    let sum: f64 = categories.into_iter().map(bytes).sum();
    let actual = bytes("Actual memory used (physical + swap)");
    assert_eq!(sum, actual, "{}", report.0);
    let released = bytes("Bytes released to OS (aka unmapped)");
    let all = bytes("Virtual address space used");
    assert_eq!(actual + released, all, "{}", report.0);
    for line in report.0.lines().filter(|line| line.starts_with("MALLOC: ")) {
        // The MiB are the bytes, rounded; of things that were created, the first figure counts things.
        if let [bytes, mib] = numbers(line)[..]
            && !line.ends_with(" created")
        {
            assert!((bytes / MIB - mib).abs() <= 0.051, "{bytes} bytes are not {mib} MiB");
        }
    }
}

/// The tables of classes and CPUs, which are what the summary was added up from.
pub(crate) fn tables(report: &Report) {
    let mut cumulative = 0.0;
    for (index, line) in report.lines_from("class ").into_iter().enumerate() {
        let [number, size, objects, mib, cumulative_mib] = line[..] else {
            panic!("{line:?}");
        };
        assert_eq!(number, index as f64 + 1.0);
        let bytes = size * objects;
        cumulative += bytes;
        assert!((bytes / MIB - mib).abs() <= 0.051, "{line:?}");
        assert!((cumulative / MIB - cumulative_mib).abs() <= 0.051, "{line:?}: {cumulative}");
    }
    // Central bytes are free objects and the unusable ends of spans.
    let bytes = |name: &str| report.line(name)[0];
    let caches = bytes("Bytes in per-CPU cache freelist")
        + bytes("Bytes in transfer cache freelist")
        + bytes("Bytes in thread cache freelists");
    let central = bytes("Bytes in central cache freelist");
    assert!(cumulative >= caches && cumulative <= caches + central, "{}", report.0);

    let held: f64 = report.lines_from("cpu ").iter().map(|line| line[1]).sum();
    assert_eq!(held, bytes("Bytes in per-CPU cache freelist"), "{}", report.0);
    if report.0.contains("STRATA_PER_CPU=0") {
        assert!(report.lines_from("cpu ").is_empty());
    }
}

/// The page heap's sections, at rest.
pub(crate) fn page_heap(report: &Report) {
    spans(report);
    ages(report);
    lengths(report);
    if report.is_hugepage_aware() {
        components(report);
        filler(report);
        hugepages(report);
    }
}

/// Cumulative columns are running sums; header and lines tell of the same bytes.
fn spans(report: &Report) {
    let free = report.line("Bytes in page heap freelist")[0];
    let unmapped = report.line("Bytes released to OS (aka unmapped)")[0];
    let header = report.line(" sizes;");
    near(header[1], free);
    near(header[2], unmapped);
    let lines: Vec<_> = report.lines(" spans ~ ");
    assert_eq!(lines.len(), header[0] as usize + 1, "the line of long spans counts as no size");
    let (mut sum, page) = (0.0, report.page_bytes());
    for line in &lines[..lines.len() - 1] {
        sum += line[0] * line[1] * page;
        near(line[2], line[0] * line[1] * page);
        near(line[3], sum);
    }
    let last = &lines[lines.len() - 1];
    near(last[3], free + unmapped);
    near(last[5], unmapped);
}

/// The ages are of all free pages, to the page.
fn ages(report: &Report) {
    let page = report.page_bytes();
    for (kind, name) in [
        ("Live span", "Bytes in page heap freelist"),
        ("Unmapped span", "Bytes released to OS (aka unmapped)"),
    ] {
        let pages_of = |line: &Vec<f64>, from: usize| -> f64 { line[from..].iter().sum() };
        let total = report.lines(&format!("{kind:13} TOTAL PAGES:"));
        assert_eq!(total.len(), 1);
        // Behind the mean.
        assert_eq!(pages_of(&total[0], 1) * page, report.line(name)[0], "{kind}: {}", report.0);
        let rows = report.lines_from(&format!("{kind},"));
        let sum: f64 = rows.iter().map(|row| pages_of(row, 2)).sum();
        assert_eq!(sum, pages_of(&total[0], 1), "{kind}: {}", report.0);
    }
}

/// Allocated less freed is live, and so many pages have so many bytes.
fn lengths(report: &Report) {
    let page = report.page_bytes();
    let mut small = 0.0;
    for text in report.0.lines().filter(|line| line.contains(" page info: ")) {
        let (line, is_range) = (numbers(text), text.contains('['));
        let counts = &line[if is_range { 2 } else { 1 }..];
        assert_eq!(counts[0] - counts[1], counts[2], "{text}");
        if !is_range {
            near(counts[3], line[0] * counts[2] * page);
            small += line[0] * counts[2];
        }
    }
    assert_eq!(small, report.line("pages live small allocation")[0], "{}", report.0);
}

/// Free and unmapped bytes of the components are those of the summary.
fn components(report: &Report) {
    let lines: Vec<_> = ["filler", "region", "cache", "alloc"]
        .into_iter()
        .map(|name| report.component(name))
        .collect();
    let sum = |column: usize| lines.iter().map(|line| line[column]).sum::<f64>();
    // Four figures, each rounded to a tenth.
    let near = |mib: f64, bytes: f64| assert!((mib - bytes / MIB).abs() < 0.21, "{}", report.0);
    near(sum(1), report.line("Bytes in page heap freelist")[0]);
    near(sum(2), report.line("Bytes released to OS (aka unmapped)")[0]);
}

fn filler(report: &Report) {
    let page = report.page_bytes();
    let pages = HUGEPAGE / page;
    let head = report.line(" quarantined");
    let (total, full, partial, released) = (head[0], head[1], head[2], head[3]);
    assert_eq!(full + partial + released, total);
    let free = report.line(" hugepages, ");
    assert_eq!(free[1], total);
    let component = report.component("filler");
    near(component[1], free[0] * page);
    near(component[0] + component[1] + component[2] - 0.1, total * HUGEPAGE - 0.1 * MIB);
    near_share(free[2], free[0], total * pages);
    near_share(report.line("among non-fulls")[0], free[0], (total - full) * pages);
    donated_tails(report, total * pages - free[0]);
    // The histograms of a kind count the same hugepages.
    let counted = |kind: &str, measure: &str| -> f64 {
        let title = format!("HugePageFiller: # of {kind} hps with a<= {measure} <b\n");
        let (_, rows) = report.0.split_once(&title).expect("a histogram");
        rows.lines()
            .take(4)
            .flat_map(|row| row.split(" <").skip(1))
            .map(|bucket| bucket.split_once("<=").expect("a bucket").1.trim())
            .map(|count| count.parse::<f64>().expect("a count"))
            .sum()
    };
    let regular = counted("regular", "# of free pages");
    assert_eq!(regular, counted("regular", "longest free range"));
    assert_eq!(regular, counted("regular", "# of allocations"));
    assert_eq!(released, counted("released", "# of free pages"));
    assert_eq!(released, counted("released", "longest free range"));
    assert_eq!(released, counted("released", "# of allocations"));
    let donated = counted("donated", "# of free pages");
    assert_eq!(regular + donated + released, total, "{}", report.0);
}

/// Where no region has a span, what the filler has in use is small, or the last part of a large span: with the slack
/// behind that part, a whole hugepage.
fn donated_tails(report: &Report, used_or_unmapped_pages: f64) {
    let unmapped = report.component("filler")[2];
    let regions = report.line(" total regions")[0];
    // Of a hugepage that was partly released fewer pages may be unmapped than show in MiB with one digit.
    let partly_released = report.line(" hugepages partially released, ")[0];
    if regions != 0.0 || unmapped != 0.0 || partly_released != 0.0 {
        return;
    }
    let small = report.line(" pages live small allocation")[0];
    let slack = report.line(" pages of slack on large allocations")[0];
    let pages = HUGEPAGE / report.page_bytes();
    let tails = (used_or_unmapped_pages - small + slack) / pages;
    assert_eq!(tails.fract(), 0.0, "{}", report.0);
}

/// Every hugepage that the system gave is somewhere.
fn hugepages(report: &Report) {
    let allocator = report.line(" requested - ");
    let [requested, in_use, free] = allocator[..] else { panic!("{allocator:?}") };
    assert_eq!(requested - in_use, free);
    let component = report.component("alloc");
    near(component[1] + component[2], free * HUGEPAGE);
    let filler = report.line(" quarantined")[0];
    let large = report.component("cache")[0] * MIB / HUGEPAGE;
    let cached = report.line(" hugepages cached / ")[0];
    let regions = report.line(" hugepages backed out of ")[1];
    assert_eq!(filler + large + cached + regions, in_use, "{}", report.0);
}

/// Every mapped byte has one place, and both counts of what is in use agree.
pub(crate) fn ledger_at_rest(snapshot: &Snapshot) {
    let ledger = Ledger::of(snapshot);
    assert_eq!(ledger.unexplained(), 0, "{ledger:?}");
    assert_eq!(ledger.in_use_difference(), 0, "{ledger:?}");
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
