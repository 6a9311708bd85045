//! Snapshots in which every figure is a random number, and what reports about them say.

use crate::read_back;
use crate::reading::{Taken, read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use strata_alloc::{Core, HeapConfig};
use strata_os::Seed;
use strata_page_heap::PageHeap;
use strata_stats::{Document, Extent, RenderPageHeap, Report, report_json};

/// Rounds with other numbers each.
const ROUNDS: usize = 3;

/// Fields that say what the others are about, and stay as they are.
const FIXED: [&str; 16] = [
    "version",
    "page_bytes",
    "pages",
    "large_pages",
    "least_pages",
    "greatest_pages",
    "count",
    "class_count",
    "cpu_count",
    "node_count",
    "kernel_pages",
    "number",
    "release_delay_ms",
    "least_pause_ns",
    "elapsed_ns",
    "regions",
];

/// Fields that others are multiplied with.
const FACTORS: [&str; 2] = ["object_bytes", "item_bytes"];

/// The greatest number that each field's type holds, by the field's place.
static GREATEST: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Makes all figures of a heap random, some times over, and compares the reports about them.
pub(crate) fn are_read_back<C: HeapConfig>(core: &Core<C>, seed: Seed)
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let mut text = String::new();
    report_json(core, Extent::Figures, &mut text).expect("strings take all that is written");
    let mut value: Value = serde_json::from_str(&text).expect("it was just written");
    find_greatest(&value);
    let mut random = seed;
    for _ in 0..ROUNDS {
        randomize(&mut value, &mut String::new(), &mut random);
        let written = value.to_string();
        let document = Document::read(written.as_bytes()).expect("each number fits its field");
        let details = document.details.expect("it was written with them");
        let page_heap = document.page_heap.expect("the page heap is one of Strata's");
        let taken = Taken::rendered(document.snapshot, details, page_heap);
        let reports = read(&taken.texts);
        read_back::compare(&taken, &reports);
        for (text, report) in taken.texts.iter().zip(&reports) {
            every_number_is_a_figure(text, report);
        }
    }
}

/// Fills in [`GREATEST`], for the places that it does not have yet.
fn find_greatest(value: &Value) {
    let mut known = GREATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut places = Vec::new();
    each_number(&mut value.clone(), &mut String::new(), &mut |place, _| {
        places.push(place.to_owned());
    });
    places.sort_unstable();
    places.dedup();
    places.retain(|place| !known.contains_key(place));
    for place in places {
        let fits = |greatest: &u64| {
            let mut changed = value.clone();
            each_number(&mut changed, &mut String::new(), &mut |of, number| {
                if of == place {
                    *number = Value::from(*greatest);
                }
            });
            Document::read(changed.to_string().as_bytes()).is_ok()
        };
        // A terabyte is enough, and leaves room for sums.
        let greatest = [1 << 40, 0x7fff_ffff, 0x7fff, 0xff].into_iter().find(fits).unwrap_or(0);
        known.insert(place, greatest);
    }
}

/// Another number in each place.
fn randomize(value: &mut Value, place: &mut String, random: &mut Seed) {
    let known = GREATEST.lock().unwrap_or_else(PoisonError::into_inner);
    each_number(value, place, &mut |place, number| {
        let drawn = random.next();
        let name = place.rsplit('/').find(|name| !name.is_empty()).unwrap_or_default();
        let greatest = known.get(place).copied().unwrap_or(0);
        let greatest = if FACTORS.contains(&name) { greatest.min(1 << 16) } else { greatest };
        // Small and large ones alike.
        let bits = (drawn >> 58) % 41;
        let mut chosen = (drawn >> 13) & ((1 << bits) - 1) & greatest;
        if FACTORS.contains(&name) {
            chosen += 1;
        }
        if greatest != 0 {
            *number = Value::from(chosen);
        }
    });
}

/// Calls `visit` with each number that is no index and no description, and its place.
fn each_number(value: &mut Value, place: &mut String, visit: &mut dyn FnMut(&str, &mut Value)) {
    let length = place.len();
    match value {
        Value::Number(_) => visit(place, value),
        Value::Array(entries) => {
            for entry in entries {
                match entry.as_array_mut().map(Vec::as_mut_slice) {
                    // An index and what stands there.
                    Some([Value::Number(_), entry]) => each_number(entry, place, visit),
                    _ => each_number(entry, place, visit),
                }
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if FIXED.contains(&name.as_str()) && field.is_number() || name == "config" {
                    continue;
                }
                place.push('/');
                place.push_str(name);
                each_number(field, place, visit);
                place.truncate(length);
            }
        }
        _ => {}
    }
}

/// Digits that stand in the words of lines, and mean nothing that was counted.
const WORDS: [&str; 1] = ["<1s      1s     30s      1m     30m      1h     8+h"];

/// Nothing that looks like a figure is left out by the parser.
fn every_number_is_a_figure(text: &str, report: &Report<'_>) {
    let lines: Vec<_> = text.lines().collect();
    for line in report.all().filter(|line| !line.form.starts_with("title")) {
        let whole = lines[line.number_in_text - 1];
        let mut rest = whole.to_owned();
        for word in WORDS {
            rest = rest.replace(word, "");
        }
        let mut at = 0;
        for (name, figure) in line.all() {
            let found = rest[at..].find(figure.text());
            let begin = at + found.unwrap_or_else(|| panic!("{name} is not in {whole:?}"));
            rest.replace_range(begin..begin + figure.text().len(), "");
            at = begin;
        }
        assert!(!rest.contains(|c: char| c.is_ascii_digit()), "{rest:?} of {whole:?}");
    }
}
