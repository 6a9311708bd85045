//! docs/reading-the-report.md shows and explains every line that a report can have, and every figure that has a name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice, Standard, WhyPerThread};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
use strata_stats::{
    Dialect, Document, Finding, PROPERTIES, WhyNoThread, WhyNotReleased, render_brief, report,
};

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

/// The part of the explanation under a heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = EXPLANATION.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The words of a line in which amounts stand: whatever their units.
fn words_without_units(line: &str) -> Vec<&str> {
    let is_unit = |word: &&str| word.len() == 3 && word.ends_with("iB");
    words(line).into_iter().filter(|word| !is_unit(word)).collect()
}

/// A snapshot file with figures that are changed by name.
fn changed(file: &str, changes: &[(&str, Value)]) -> Document {
    let mut value: Value = serde_json::from_str(file).unwrap();
    for (pointer, figure) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[name] = figure.clone();
    }
    Document::read(value.to_string().as_bytes()).unwrap()
}

/// Summaries that have, taken together, every line and every variant of one.
fn summaries() -> Vec<String> {
    let temeraire = include_str!("forms/temeraire.json");
    let heap = "/snapshot/heap";
    let at = |name: &str| format!("{heap}/{name}");
    let spans =
        json!({ "ledger_bytes": 9 << 20, "resident_bytes": 5 << 20, "swapped_bytes": 1 << 20 });
    let kernel = json!({ "spans": spans, "mappings_resident_bytes": 6 << 20 });
    let kept = json!({ "pages": 9, "pages_at_rate": 9, "returned_64ths": 64 });
    let changes: [Vec<(String, Value)>; 9] = [
        vec![],
        vec![("/page_heap/temeraire/filler/kept".into(), kept)],
        vec![("/kernel".into(), kernel), (at("hardened_bytes"), json!(1 << 20))],
        vec![(at("front_end"), json!({ "per_cpu": "cpu" }))],
        vec![(at("front_end"), json!({ "per_thread": "asked" }))],
        vec![(at("front_end"), json!({ "observed": "hardened" }))],
        vec![(at("threads/is_unknown"), json!(true))],
        vec![("/page_heap/temeraire/filler/released_hugepages".into(), json!(0))],
        vec![
            ("/page_heap/temeraire/releasable_bytes".into(), json!(0)),
            ("/page_heap/temeraire/filler/kept".into(), json!({ "pages": 9, "pages_at_rate": 5 })),
            (at("middle/out_bytes"), json!(0)),
            (at("middle/transfer_bytes"), json!(0)),
            (at("middle/span_bytes"), json!(0)),
            (at("cpu/held_bytes"), json!(0)),
            (at("page_heap/in_use_bytes"), json!(0)),
        ],
    ];
    let mut documents: Vec<_> = changes
        .iter()
        .map(|changes| {
            let changes: Vec<_> =
                changes.iter().map(|(name, figure)| (name.as_str(), figure.clone())).collect();
            changed(temeraire, &changes)
        })
        .collect();
    documents.push(changed(include_str!("forms/legacy.json"), &[]));
    let earlier = changed(temeraire, &[("/snapshot/classes/classes", json!([]))]);
    let mut texts = Vec::new();
    for document in &documents {
        for earlier in [None, Some(&*earlier.snapshot)] {
            let mut text = String::new();
            render_brief(document.figures(), earlier, &mut text).unwrap();
            texts.push(text);
        }
    }
    texts
}

#[test]
fn every_line_of_the_summary_is_shown_and_no_other() {
    let shown: BTreeSet<_> = section("The summary of one screen")
        .split("```")
        .nth(1)
        .unwrap()
        .lines()
        .map(words_without_units)
        .filter(|line| !line.is_empty())
        .collect();
    let summaries = summaries();
    let printed: BTreeSet<_> = summaries
        .iter()
        .flat_map(|text| text.lines().map(words_without_units))
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(printed.difference(&shown).collect::<Vec<_>>(), Vec::<&Vec<&str>>::new());
    assert_eq!(shown.difference(&printed).collect::<Vec<_>>(), Vec::<&Vec<&str>>::new());
}

/// Every kind of finding, and every reason of those that have several. One that is added fails the test of the
/// source below.
fn findings() -> Vec<Finding> {
    let no_thread = WhyNoThread::Small;
    let whys = [
        WhyNotReleased::NobodyAsked { no_thread },
        WhyNotReleased::Rate { no_thread },
        WhyNotReleased::RecentDemand { kept_back_bytes: 1 },
        WhyNotReleased::Delay { delay_ms: 1, rate_bytes: 1 },
        WhyNotReleased::Refused { times: 1 },
        WhyNotReleased::SwitchedOff,
    ];
    let mut all = vec![
        Finding::FragmentedClass {
            object_bytes: 1,
            spans: 1,
            objects_in_use: 1,
            cached_objects: 1,
            span_bytes: 1,
            free_bytes: 1,
        },
        Finding::FragmentedClasses {
            classes: 1,
            spans: 1,
            objects_in_use: 1,
            cached_objects: 1,
            span_bytes: 1,
            free_bytes: 1,
            most_object_bytes: 1,
        },
        Finding::IdleCpuCaches { caches: 1, held_bytes: 1, since_earlier: false },
        Finding::LargeCaches {
            per_cpu_bytes: 1,
            thread_bytes: 1,
            transfer_bytes: 1,
            in_use_bytes: 1,
        },
        Finding::BrokenHugepages { hugepages: 1, used_bytes: 1, released_bytes: 1 },
        Finding::Swapped { swapped_bytes: 1, free_bytes: 1 },
        Finding::RefusedReleases { times: 1, withheld: 1 },
        Finding::RefusedAccess { times: 1 },
        Finding::Growth {
            grown_bytes: 1,
            elapsed_ns: 1,
            allocated_bytes: 1,
            freed_bytes: 1,
            class_bytes: 1,
            class_grown_bytes: 1,
        },
        Finding::LimitReached {
            hits: 1,
            refused: 1,
            soft_bytes: 1,
            hard_bytes: 1,
            since_earlier: false,
        },
        Finding::LargeMetadata { metadata_bytes: 1, in_use_bytes: 1 },
        Finding::AbandonedTails { bytes: 1 },
        Finding::NoPerCpuCaches { why: WhyPerThread::NoRseq },
    ];
    all.extend(whys.map(|why| Finding::UnreleasedPages {
        free_bytes: 2,
        between_spans_bytes: 1,
        releasable_bytes: 1,
        why,
    }));
    all
}

/// The first column of the rows of a section's tables.
fn first_columns(section: &str) -> Vec<&str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split(" | ").next()).collect()
}

#[test]
fn every_finding_and_every_reason_is_explained() {
    let section = section("What stands out");
    let rows = first_columns(section);
    for finding in findings() {
        let text = finding.to_string();
        let headline = text.split(':').next().unwrap();
        assert!(rows.contains(&headline), "nothing is said of {headline:?}");
        if let Finding::UnreleasedPages { why, .. } = finding {
            let why = why.to_string();
            assert!(rows.iter().any(|row| why.contains(row)), "nothing is said of {why:?}");
        }
    }
    let kinds = include_str!("../src/explain.rs");
    let (_, kinds) = kinds.split_once("pub enum Finding {").unwrap();
    let (kinds, _) = kinds.split_once("\n}\n").unwrap();
    let declared = kinds.lines().filter(|line| line.starts_with("    ") && line.ends_with(" {"));
    let names: BTreeSet<_> = findings()
        .iter()
        .map(|finding| format!("{finding:?}").split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(declared.count(), names.len(), "each kind is tried: {names:?}");
}

/// The rows about the protobuf forms: each message with each field that is told of it.
fn fields_told() -> BTreeSet<(String, String)> {
    fn names(cell: &str) -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
    let mut told = BTreeSet::new();
    for row in section("The protobuf forms").lines().filter_map(|line| line.strip_prefix('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let mut messages = names(cells[0]);
        if messages.is_empty() {
            messages.push(String::new());
        }
        for message in &messages {
            told.extend(names(cells[1]).into_iter().map(|field| (message.clone(), field)));
        }
    }
    told
}

#[test]
fn every_field_of_the_protobuf_forms_is_told_and_no_other() {
    let mut printed = BTreeSet::new();
    for list in [
        include_str!("forms/temeraire.pbtxt.fields"),
        include_str!("forms/temeraire.pbtxt-today.fields"),
        include_str!("forms/legacy.pbtxt.fields"),
        include_str!("forms/legacy.pbtxt-today.fields"),
    ] {
        for path in list.lines() {
            let names: Vec<&str> = [""].into_iter().chain(path.split('.')).collect();
            printed.extend(names.windows(2).map(|two| (two[0].to_owned(), two[1].to_owned())));
        }
    }
    let told = fields_told();
    assert_eq!(printed.difference(&told).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    assert_eq!(told.difference(&printed).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}
