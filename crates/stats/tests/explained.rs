//! docs/reading-the-report.md shows and explains every line that a report can have, and every figure that has a name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use strata_stats::PROPERTIES;

const EXPLANATION: &str = include_str!("../../../docs/reading-the-report.md");

/// Reports that have every section: of both page heaps in both text forms, and the documentation's own figures.
const REPORTS: [&str; 5] = [
    include_str!("forms/temeraire.tcmalloc.txt"),
    include_str!("forms/temeraire.tcmalloc-today.txt"),
    include_str!("forms/legacy.tcmalloc.txt"),
    include_str!("forms/legacy.tcmalloc-today.txt"),
    include_str!("sample/report.txt"),
];

/// A line without its figures: its words of two letters and more.
fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 1).collect()
}

/// The lines between fences.
fn shown() -> BTreeSet<Vec<&'static str>> {
    EXPLANATION.split("```").skip(1).step_by(2).flat_map(str::lines).map(words).collect()
}

#[test]
fn every_line_of_a_report_is_shown_in_its_explanation() {
    let shown = shown();
    for line in REPORTS.iter().flat_map(|report| report.lines()) {
        assert!(
            words(line).is_empty() || shown.contains(&words(line)),
            "nothing is said of {line:?}"
        );
    }
}

#[test]
fn every_figure_with_a_name_is_explained() {
    for property in PROPERTIES {
        assert!(EXPLANATION.contains(&format!("`{}`", property.name)), "{}", property.name);
    }
}

/// A line of which the explanation knows nothing is found.
#[test]
fn a_line_that_no_report_has_is_not_shown() {
    let shown = shown();
    assert!(!shown.contains(&words("MALLOC: +  0 (  0.0 MiB) Bytes in nobody's freelist")));
    assert!(shown.contains(&words("MALLOC: +  1 (  7.0 MiB) Bytes in central cache freelist")));
}
