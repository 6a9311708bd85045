use super::{QUANTITIES, ratio, verdict};
use crate::bench::rounds::{Cell, Row, Sample};

fn cell(allocator: &'static str, ns: &[u64], peak_rss_kib: u64) -> Cell {
    let sample =
        |&ns: &u64| Sample { operations: 10, ns, peak_rss_kib, rss_kib: 0, hugepages_kib: 0 };
    Cell { allocator, samples: ns.iter().map(sample).collect(), failures: Vec::new() }
}

fn row(ours: Cell) -> Row {
    Row { workload: "work".to_owned(), cells: vec![cell("system", &[90, 100, 110], 1000), ours] }
}

#[test]
fn ratios_are_those_of_medians_and_keep_the_extremes() {
    let row = row(cell("strata", &[40, 50, 200], 500));
    let [time, rss] = QUANTITIES.each_ref().map(|quantity| ratio(&row, "strata", quantity));
    let time = time.expect("both have figures");
    assert!((time.median - 0.5).abs() < 1e-12);
    assert!((time.min - 0.4).abs() < 1e-12 && (time.max - 2.0).abs() < 1e-12);
    assert!(rss.is_some_and(|rss| (rss.median - 0.5).abs() < 1e-12));
}

#[test]
fn the_verdict_names_workloads_on_which_strata_is_slower_or_larger() {
    let text = verdict(&[row(cell("strata", &[120], 1400))]);
    assert!(text.contains("strata: slower than the system's: work\n"), "{text}");
    assert!(text.contains("strata: peak RSS above 1.3: work\n"), "{text}");
    let text = verdict(&[row(cell("strata", &[80], 1200))]);
    assert!(text.contains("strata: slower than the system's: nowhere\n"), "{text}");
    assert!(text.contains("strata: peak RSS above 1.3: nowhere\n"), "{text}");
}

#[test]
fn a_failure_is_told_and_leaves_no_ratio() {
    let mut ours = cell("strata", &[80], 1000);
    ours.failures.push("signal: 6".to_owned());
    let row = row(ours);
    assert!(QUANTITIES.iter().all(|quantity| ratio(&row, "strata", quantity).is_none()));
    assert!(verdict(&[row]).contains("strata failed on work: signal: 6\n"));
}
