//! Two snapshots that never change, in each form: what a report looks like changes only on purpose.
//!
//! `STRATA_BLESS=1` writes the files anew, the snapshots included where they cannot be read any more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice};
use strata_stats::{Dialect, Document, Extent, render, report_json};

/// Forms with a file of their own. The newer protobuf form is long, and made of the same figures.
const FORMS: [Dialect; 3] =
    [Dialect::TcmallocText, Dialect::TcmallocTextToday, Dialect::TcmallocPbtxt];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forms")
}

fn is_blessed() -> bool {
    std::env::var_os("STRATA_BLESS").is_some()
}

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The snapshot's file, read.
fn document(name: &str, page_heap: PageHeapChoice) -> Document {
    let _alone = alone();
    let path = directory().join(name).with_extension("json");
    let read = || Document::read(&fs::read(&path).unwrap_or_default());
    match read() {
        Ok(document) => document,
        Err(_) if is_blessed() => {
            fs::write(&path, snapshot_of_a_program(page_heap)).unwrap();
            read().expect("it was just written")
        }
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// A snapshot of a program that has used all parts of the page heap.
fn snapshot_of_a_program(page_heap: PageHeapChoice) -> String {
    let mut config = Config::DEFAULT;
    config.page_heap = page_heap;
    config.front_end = FrontEndChoice::PerCpu;
    let heap: Heap = Heap::with(config);
    let mut blocks = Vec::new();
    for round in 0..6000usize {
        blocks.push(match round % 60 {
            0 => heap.allocate(300_000 + round * 300),
            1 => heap.allocate((3 << 20) + 70_000),
            _ => heap.allocate(8 << (round % 13)),
        });
    }
    for (index, block) in blocks.into_iter().enumerate() {
        if index % 3 != 0 {
            // SAFETY: the block is ours and nobody uses it.
            unsafe { heap.deallocate(block) };
        }
    }
    heap.release(5 << 20);
    let mut text = String::new();
    let core = heap.core().expect("it was used");
    report_json(core, Extent::Figures, &mut text).expect("strings take all that is written");
    text
}

fn rendered(dialect: Dialect, document: &Document) -> String {
    let mut text = String::new();
    let details = document.details.as_deref().expect("the file has them");
    let page_heap = document.figures().page_heap;
    render(dialect, &document.snapshot, details, &page_heap, &mut text)
        .expect("strings take all that is written");
    text
}

fn compare(name: &str, page_heap: PageHeapChoice) {
    let document = document(name, page_heap);
    for dialect in FORMS {
        let path = directory().join(format!("{name}.{}.txt", dialect.name()));
        let text = rendered(dialect, &document);
        if is_blessed() {
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap();
        for (number, (is, was)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(is, was, "line {} of {}", number + 1, path.display());
        }
        assert_eq!(text.len(), golden.len(), "{}", path.display());
    }
}

#[test]
fn reports_about_a_hugepage_aware_heap_are_as_they_were() {
    compare("temeraire", PageHeapChoice::Temeraire);
}

#[test]
fn reports_about_a_legacy_heap_are_as_they_were() {
    compare("legacy", PageHeapChoice::Legacy);
}

/// Names of fields, those of messages in front of them, once each.
fn field_names(text: &str) -> Vec<String> {
    let (mut path, mut names) = (Vec::<&str>::new(), Vec::new());
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        if word == "}" {
            path.pop().expect("each message was begun");
        } else if let Some(name) = word.strip_suffix(':') {
            words.next().expect("each field has a value");
            let name = [path.as_slice(), &[name]].concat().join(".");
            if !names.contains(&name) {
                names.push(name);
            }
        } else {
            assert_eq!(words.next(), Some("{"), "{word} is a message");
            path.push(word);
        }
    }
    assert!(path.is_empty(), "each message was ended");
    names
}

#[test]
fn both_protobuf_forms_have_the_fields_that_they_had() {
    for (name, page_heap) in
        [("temeraire", PageHeapChoice::Temeraire), ("legacy", PageHeapChoice::Legacy)]
    {
        let document = document(name, page_heap);
        for dialect in [Dialect::TcmallocPbtxt, Dialect::TcmallocPbtxtToday] {
            let path = directory().join(format!("{name}.{}.fields", dialect.name()));
            let text = rendered(dialect, &document);
            assert_eq!(text.lines().count(), 1);
            let names = field_names(&text).join("\n") + "\n";
            if is_blessed() {
                fs::write(&path, &names).unwrap();
            }
            assert_eq!(names, fs::read_to_string(&path).unwrap(), "{}", path.display());
        }
    }
}

#[test]
fn figures_of_the_protobuf_forms_are_those_of_the_text() {
    let document = document("temeraire", PageHeapChoice::Temeraire);
    for (text, pbtxt) in [
        (Dialect::TcmallocText, Dialect::TcmallocPbtxt),
        (Dialect::TcmallocTextToday, Dialect::TcmallocPbtxtToday),
    ] {
        let (text, pbtxt) = (rendered(text, &document), rendered(pbtxt, &document));
        let report = strata_stats::parse(&text);
        let mut compared = 0;
        let mut words = pbtxt.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_suffix(':') else { continue };
            let value = words.next().expect("each field has a value");
            // Names that stand alone in the text mean the same in both.
            let is_single = ["num_", "filler_", "malloc_", "pagemap_", "percpu_", "total_"];
            if !is_single.iter().any(|front| name.starts_with(front)) || name == "num_spans" {
                continue;
            }
            let (Some(number), Ok(value)) = (report.number(name), value.parse::<u64>()) else {
                continue;
            };
            assert_eq!(number, value, "{name}");
            compared += 1;
        }
        assert!(compared > 20, "{compared} figures");
    }
}
