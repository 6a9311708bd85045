//! Snapshots as files: written, read back, and refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use core::fmt::{self, Write};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice};
use strata_os::Seed;
use strata_stats::{
    Dialect, Document, Extent, ReadError, Snapshot, explain, render_html, report_json,
};

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A heap with blocks of all kinds, some of them free again.
fn used(page_heap: PageHeapChoice, front_end: FrontEndChoice) -> (Heap, Vec<*mut u8>) {
    let mut config = Config::DEFAULT;
    config.page_heap = page_heap;
    config.front_end = front_end;
    let heap: Heap = Heap::with(config);
    let mut blocks = Vec::new();
    for round in 0..3000usize {
        let size = match round % 50 {
            0 => 300_000 + round * 300,
            1 => 3 << 20,
            _ => 8 << (round % 12),
        };
        let block = heap.allocate(size);
        assert!(!block.is_null());
        // SAFETY: the block is ours and has at least 8 bytes.
        unsafe { block.write(1) };
        blocks.push(block);
    }
    for index in (0..blocks.len()).rev().step_by(3) {
        let block = blocks.swap_remove(index);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    heap.release(1 << 20);
    (heap, blocks)
}

fn text(heap: &Heap, extent: Extent) -> String {
    let mut text = String::new();
    report_json(heap.core().expect("it was used"), extent, &mut text).expect("strings take all");
    text
}

fn each_kind(run: impl Fn(&Heap)) {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
            let (heap, blocks) = used(page_heap, front_end);
            run(&heap);
            for block in blocks {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
    }
}

#[test]
fn a_file_that_is_read_and_written_again_is_the_same() {
    each_kind(|heap| {
        let written = text(heap, Extent::Map);
        let document = Document::read(written.as_bytes()).expect("it is whole");
        let mut again = String::new();
        document.write(&mut again).expect("strings take all");
        assert_eq!(written, again);
    });
}

#[test]
fn a_file_has_the_figures_of_the_heap() {
    each_kind(|heap| {
        let before = Snapshot::take(heap.core().expect("it was used"));
        let document = Document::read(text(heap, Extent::Figures).as_bytes()).expect("it is whole");
        let read = &document.snapshot;
        assert_eq!(read.classes, before.classes);
        assert_eq!(read.cpus, before.cpus);
        assert_eq!(read.config, before.config);
        assert_eq!(read.heap.in_use_bytes(), before.heap.in_use_bytes());
        assert_eq!(document.figures().ledger().unexplained(), 0);
        assert_eq!(document.process_id, std::process::id());
        assert!(document.map.is_none());
    });
}

#[test]
fn the_map_has_every_page_that_is_in_use() {
    each_kind(|heap| {
        let document = Document::read(text(heap, Extent::Map).as_bytes()).expect("it is whole");
        let map = document.map.expect("it was asked for");
        assert!(map.is_sorted_by_key(|run| run.address), "by rising address");
        let figures = &document.snapshot.heap;
        let pages: u64 = map.iter().map(|run| run.used_pages).sum();
        assert_eq!(pages * figures.page_bytes, figures.page_heap.in_use_bytes);
        let spans = map.iter().map(|run| run.spans.len() as u64).sum::<u64>();
        assert_eq!(spans, figures.page_heap.spans_in_use);
        let objects = map.iter().flat_map(|run| &run.spans).filter(|span| span.class != 0);
        let objects: u64 = objects.map(|span| u64::from(span.objects_out)).sum();
        assert_eq!(objects, figures.middle.objects_out);
        let hugepages: u64 = map.iter().map(|run| run.hugepages).sum();
        assert!(hugepages << 21 <= figures.page_heap.reserved_bytes);
        assert!(map.iter().any(|run| run.resident_bytes > 0), "the kernel has some of it");
    });
}

#[test]
fn a_file_that_is_cut_or_changed_names_the_place() {
    let _alone = alone();
    let (heap, _) = used(PageHeapChoice::Temeraire, FrontEndChoice::PerCpu);
    let whole = text(&heap, Extent::Figures);
    for cut in [0, 1, 10, 100, whole.len() / 2, whole.len() - 3] {
        match Document::read(&whole.as_bytes()[..cut]) {
            Err(ReadError::Corrupt { offset, .. }) => assert_eq!(offset, cut, "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    let place = whole.find("\"in_use_bytes\":").expect("a field") + "\"in_use_bytes\":".len();
    let mut changed = whole.clone().into_bytes();
    changed[place] = b'?';
    let error = Document::read(&changed).expect_err("a number is none any more");
    assert_eq!(error.to_string(), format!("corrupt at byte {}: expected value", place + 1));
}

#[test]
fn a_file_of_a_later_version_and_another_format_are_refused() {
    let newer = br#"{"format":"strata-snapshot","version":99,"anything":[1,2]}"#;
    let error = Document::read(newer).expect_err("it is newer");
    assert_eq!(error, ReadError::Newer { version: 99 });
    assert_eq!(error.to_string(), "a snapshot of version 99; this reader knows up to 1");
    let foreign = br#"{"format":"something","version":1}"#;
    assert_eq!(Document::read(foreign).expect_err("it is foreign"), ReadError::Foreign);
}

/// A sink that allocates, frees, and refuses to take more than so many bytes.
struct Fussy<'a> {
    heap: &'a Heap,
    room: usize,
}

impl Write for Fussy<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let block = self.heap.allocate(text.len() * 100);
        // SAFETY: the block is ours.
        unsafe { self.heap.deallocate(block) };
        self.room = self.room.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[test]
fn a_sink_may_use_the_heap_and_its_error_ends_the_writing() {
    each_kind(|heap| {
        let core = heap.core().expect("it was used");
        let mut roomy = Fussy { heap, room: usize::MAX };
        assert!(report_json(core, Extent::Map, &mut roomy).is_ok());
        let mut narrow = Fussy { heap, room: 5000 };
        assert!(report_json(core, Extent::Map, &mut narrow).is_err());
    });
}

/// One change: a byte, a piece left out or taken from elsewhere, or a number made great.
fn change(random: &mut Seed, text: &mut Vec<u8>) {
    const NUMBERS: [&[u8]; 6] =
        [b"18446744073709551615", b"-1", b"0", b"4294967296", b"1e400", b"9223372036854775808"];
    let at = random.below(text.len());
    let length = random.below(40).min(text.len() - at);
    match random.below(4) {
        0 => text[at] = random.below(256) as u8,
        1 => drop(text.drain(at..at + length)),
        2 => {
            let from = random.below(text.len() - length);
            let other = text[from..from + length].to_vec();
            text.splice(at..at + length, other);
        }
        _ => {
            let Some(start) = text[at..].iter().position(u8::is_ascii_digit) else { return };
            let digits = text[at + start..].iter().take_while(|byte| byte.is_ascii_digit());
            let end = at + start + digits.count();
            text.splice(at + start..end, NUMBERS[random.below(NUMBERS.len())].iter().copied());
        }
    }
}

/// What was changed is refused with its place, or read, and then shown in every form.
#[test]
fn no_change_of_a_file_makes_the_reader_stumble() {
    let texts = {
        let _alone = alone();
        [PageHeapChoice::Temeraire, PageHeapChoice::Legacy].map(|page_heap| {
            let (heap, _) = used(page_heap, FrontEndChoice::PerCpu);
            text(&heap, Extent::Map)
        })
    };
    let (mut random, mut shown) = (Seed::from_environment(), 0);
    for round in 0..rounds(100) {
        let mut changed = texts[round % 2].clone().into_bytes();
        for _ in 0..=random.below(3) {
            change(&mut random, &mut changed);
        }
        match Document::read(&changed) {
            Err(ReadError::Corrupt { offset, .. }) => assert!(offset <= changed.len()),
            Err(ReadError::Newer { version }) => assert_ne!(version, Snapshot::VERSION),
            Err(_) => {}
            Ok(document) => {
                shown += 1;
                show(&document);
            }
        }
    }
    println!("{shown} were shown");
}

/// All of them, and some beside others that are right: no sum or product of them goes over.
#[test]
fn figures_that_no_heap_can_have_are_shown_in_every_form() {
    let mut random = Seed::from_environment();
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        let whole = {
            let _alone = alone();
            let (heap, _) = used(page_heap, FrontEndChoice::PerCpu);
            text(&heap, Extent::Figures)
        };
        let greatest = Greatest::of(&whole);
        for round in 0..rounds(20) {
            // From all to one of some hundreds.
            let one_of = 1 << (round % 10);
            let changed = greatest.instead_of(&whole, || random.below(one_of) == 0);
            show(&Document::read(changed.as_bytes()).expect("each number has its place"));
        }
    }
}

/// The greatest numbers that a file may have, by the names of their fields.
struct Greatest<'t>(BTreeMap<&'t str, usize>);

impl<'t> Greatest<'t> {
    /// Those of the types that figures have; at last, the number that is there.
    const NUMBERS: [&'static str; 8] = [
        "18446744073709551615",
        "9223372036854775807",
        "4294967295",
        "2147483647",
        "65535",
        "255",
        "1",
        "",
    ];

    /// Those of a file: the reader says which numbers are too great for their place.
    fn of(text: &'t str) -> Self {
        let mut found = Self(names(text).map(|(_, name)| (name, 0)).collect());
        found.0.insert("version", Self::NUMBERS.len() - 1);
        loop {
            let changed = found.instead_of(text, || true);
            let Err(error) = Document::read(changed.as_bytes()) else { return found };
            let ReadError::Corrupt { offset, .. } = error else { panic!("{error}") };
            let refused = names(&changed).take_while(|(place, _)| *place < offset).last();
            let (_, name) = refused.expect("a number stands behind a name");
            let number = found.0.get_mut(name).expect("each name is known");
            *number += 1;
            assert!(*number < Self::NUMBERS.len(), "{name} is refused as it is: {error:?}");
        }
    }

    /// The text with these in place of the numbers that `is_chosen` chooses.
    fn instead_of(&self, text: &str, mut is_chosen: impl FnMut() -> bool) -> String {
        let mut changed = String::with_capacity(2 * text.len());
        let mut names = names(text).peekable();
        let (mut greatest, mut rest) = ("", text);
        while let Some(front) = rest.find([':', '[', ',']) {
            let (before, behind) = rest.split_at(front + 1);
            changed.push_str(before);
            // What begins a list within a list is an index, and says which of several the next figures are.
            let is_index = changed.ends_with("[[") || changed.ends_with(",[");
            let place = text.len() - behind.len();
            while let Some((_, name)) = names.next_if(|(begin, _)| *begin < place) {
                greatest = Self::NUMBERS[self.0[name]];
            }
            let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = behind.split_at(digits);
            let is_figure = digits != 0 && !is_index && !greatest.is_empty();
            let is_changed = is_figure && is_chosen();
            changed.push_str(if is_changed { greatest } else { number });
            rest = behind;
        }
        changed.push_str(rest);
        changed
    }
}

/// The names of a file's fields, and where they begin.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("\":").filter_map(|(end, _)| {
        let begin = text[..end].rfind('"')? + 1;
        Some((begin, &text[begin..end]))
    })
}

fn show(document: &Document) {
    let mut out = String::new();
    for dialect in Dialect::ALL {
        document.render(dialect, &mut out).expect("strings take all");
    }
    let _ = explain(document.figures(), Some(&document.snapshot)).to_string();
    assert!(!render_html(document, None).is_empty());
}

/// How often something is tried: `STRATA_STRESS_ROUNDS` times.
fn rounds(usually: usize) -> usize {
    let asked = std::env::var("STRATA_STRESS_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usually)
}

#[test]
fn a_file_that_ends_too_early_is_refused_wherever_it_ends() {
    let _alone = alone();
    let (heap, _) = used(PageHeapChoice::Temeraire, FrontEndChoice::PerCpu);
    let whole = text(&heap, Extent::Figures);
    let whole = whole.trim_end().as_bytes();
    // Each byte of the beginning and the end, and some of the middle; STRATA_STRESS_ROUNDS asks for all.
    let step = if std::env::var_os("STRATA_STRESS_ROUNDS").is_some() { 1 } else { 97 };
    let middle = (500..whole.len() - 500).step_by(step);
    for cut in (0..500).chain(middle).chain(whole.len() - 500..whole.len()) {
        match Document::read(&whole[..cut]) {
            Err(ReadError::Corrupt { offset, .. }) => assert_eq!(offset, cut, "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}
