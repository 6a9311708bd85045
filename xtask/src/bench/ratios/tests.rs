use super::{differences, ratio, summary, troubles};
use crate::bench::goals::answers;
use crate::bench::goals::tests::record;
use crate::bench::record::Cell;

#[test]
fn ratios_are_those_of_medians_and_keep_the_extremes() {
    let mut record = record(&[("system", 100.0, 1000.0), ("strata", 50.0, 500.0)]);
    record.rows[0].cells[1].parts[0].ns = vec![40.0, 50.0, 200.0];
    let time = |cell: &Cell| cell.time("");
    let time = ratio(&record.rows[0], &record.entries[1], &time).expect("both have figures");
    assert!((time.median - 0.5).abs() < 1e-12);
    assert!((time.min - 0.4).abs() < 1e-12 && (time.max - 2.0).abs() < 1e-12);
}

#[test]
fn the_summary_counts_and_names_what_is_missed() {
    let record = record(&[("system", 10.0, 1.0), ("strata", 12.0, 1.0)]);
    let text = summary(&answers(&record));
    assert!(text.contains("0 reached, 0 within noise, 1 missed\n"), "{text}");
    assert!(text.contains("pair: 12.0 ns, 0.8 × 10.0 ns (system) (+50 %)\n"), "{text}");
}

#[test]
fn commits_differ_where_their_runs_do_not_overlap() {
    let mut record = record(&[("system", 10.0, 1.0), ("strata", 12.0, 1.0)]);
    assert!(differences(&record).contains("strata: pair: 1.20 × (12.0 ns, was 10.0 ns)\n"));
    record.rows[0].cells[1].parts[0].ns = vec![9.0, 12.0, 13.0];
    assert_eq!(
        differences(&record),
        "strata: 0 times differ from system by more than their runs\n"
    );
}

#[test]
fn a_failure_is_told() {
    let mut record = record(&[("system", 10.0, 1.0), ("strata", 12.0, 1.0)]);
    record.rows[0].cells[1].failures.push("signal: 6".to_owned());
    record.left_out.push(("other".to_owned(), "no compiler".to_owned()));
    assert_eq!(
        troubles(&record),
        "strata failed on pair: signal: 6\nleft out: other: no compiler\n"
    );
}
