use strata_workloads::Kind;

use super::{figures, refilled, summary};
use crate::bench::goals::tests::record;
use crate::bench::record::Row;

#[test]
fn what_stands_between_the_marks_is_replaced_and_the_rest_stays() {
    let text = "before\n<!-- figures -->\nold\n<!-- /figures -->\nafter";
    let new = refilled(text, "figures", "new\n").expect("it has both marks");
    assert_eq!(new, "before\n<!-- figures -->\nnew\n<!-- /figures -->\nafter");
    assert_eq!(refilled(text, "summary", "new"), None);
}

#[test]
fn the_summary_has_the_means_of_time_and_of_the_peak() {
    let text = summary(&record(&[("system", 10.0, 1000.0), ("strata", 5.0, 1500.0)]));
    let lines = ["| all workloads, glibc is 1 | system | strata |", "|---|--:|--:|"];
    let means = ["| time | 1.00 | 0.50 |", "| peak resident set | 1.00 | 1.50 |"];
    assert!(text.lines().eq(lines.into_iter().chain(means)), "{text}");
}

#[test]
fn the_table_has_the_bases_time_and_the_others_ratios() {
    let text = figures(&record(&[("system", 10.0, 1000.0), ("strata", 5.0, 1500.0)]));
    assert!(text.contains("| pairs of up to 1 KiB | 10.0 ns | 0.50 |\n"), "{text}");
    assert!(text.contains("| *time, geometric mean* | 1.00 | 0.50 |\n"), "{text}");
    assert!(text.contains("| *peak resident set, geometric mean* | 1.00 | 1.50 |\n"), "{text}");
}

#[test]
fn rows_of_a_family_are_one_line_of_means_and_series_are_none() {
    let names = ["churn-1t", "churn-8t", "phases", "live"];
    let ratios = [0.5, 2.0, 0.25, 9.0];
    let mut record = record(&[("system", 10.0, 1.0), ("strata", 5.0, 1.0)]);
    let row = record.rows.remove(0);
    record.rows = names
        .iter()
        .zip(ratios)
        .map(|(name, ratio)| {
            let kind = if *name == "live" { Kind::Series } else { Kind::Program };
            let mut row = Row {
                workload: (*name).to_owned(),
                operation: String::new(),
                kind,
                cells: row.cells.clone(),
            };
            row.cells[1].parts[0].ns = vec![10.0 * ratio];
            row
        })
        .collect();
    let text = figures(&record);
    assert!(
        text.contains(
            "| random replacement | 10.0 ns | 1.00 |\n| phases | 10.0 ns | 0.25 |\n| *time"
        ),
        "{text}"
    );
}
