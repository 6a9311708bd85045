//! docs/reading-the-report.md shows and explains every line that a report can have, and every figure that has a name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice, Standard};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
use strata_stats::{Dialect, PROPERTIES, report};

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

/// The reports of heaps as they are, with pages of one size.
fn of_heaps<P: PageSize>(shown: &BTreeSet<Vec<&'static str>>) {
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
            for hardened in [false, true] {
                let mut config = Config::DEFAULT;
                (config.page_heap, config.front_end) = (page_heap, front_end);
                config.hardened = hardened;
                let heap: Heap<Standard<P>> = Heap::with(config);
                for round in 0..3_000usize {
                    let block = heap.allocate(round * 317 % 900_000);
                    if round % 5 != 0 {
                        // SAFETY: the block is ours.
                        unsafe { heap.deallocate(block) };
                    }
                }
                heap.release(8 << 20);
                for dialect in [Dialect::TcmallocText, Dialect::TcmallocTextToday] {
                    let mut text = String::new();
                    report(heap.core().unwrap(), dialect, &mut text).unwrap();
                    for line in text.lines().map(words).filter(|line| !line.is_empty()) {
                        assert!(shown.contains(&line), "nothing is said of {line:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_line_of_the_reports_of_all_kinds_of_heaps_is_shown_in_the_explanation() {
    let shown = shown();
    of_heaps::<Pages4K>(&shown);
    of_heaps::<Pages8K>(&shown);
    of_heaps::<Pages32K>(&shown);
    of_heaps::<Pages256K>(&shown);
}

/// Each block of lines that is shown is followed by words about it.
#[test]
fn no_lines_are_shown_without_a_passage_about_them() {
    let parts: Vec<_> = EXPLANATION.split("```").collect();
    for (lines, passage) in parts.iter().skip(1).step_by(2).zip(parts.iter().skip(2).step_by(2)) {
        let first = lines.lines().find(|line| !words(line).is_empty()).unwrap_or_default();
        assert!(words(passage).len() > 20, "of {first:?} nothing is explained");
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
