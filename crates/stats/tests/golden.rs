//! A fixed snapshot in each form, as it was shown when the form was last looked at. `STRATA_BLESS=1` writes the forms anew,
//! to be looked at.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use core::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use strata_stats::{Document, explain, render_brief, render_html};

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn document(name: &str) -> Document {
    Document::read(&fs::read(place(name)).unwrap())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn is_golden(name: &str, text: &str) {
    if std::env::var_os("STRATA_BLESS").is_some() {
        fs::write(place(name), text).unwrap();
    }
    let golden = fs::read_to_string(place(name)).unwrap();
    assert_eq!(text, golden, "{name} is not as it was; STRATA_BLESS=1 takes it as it is");
}

#[test]
fn the_summary_is_as_it_was() {
    let (earlier, later) = (document("earlier.json"), document("later.json"));
    let mut text = String::new();
    render_brief(later.figures(), None, &mut text).unwrap();
    is_golden("brief.txt", &text);
    assert!(text.lines().count() <= 24, "it fits on a screen");
    let mut text = String::new();
    render_brief(later.figures(), Some(&earlier.snapshot), &mut text).unwrap();
    is_golden("brief-since.txt", &text);
    assert!(text.lines().count() <= 24, "it fits on a screen");
}

#[test]
fn the_findings_are_as_they_were() {
    let (earlier, later) = (document("earlier.json"), document("later.json"));
    let mut text = String::new();
    write!(text, "{}", explain(later.figures(), None)).unwrap();
    is_golden("explain.txt", &text);
    let mut text = String::new();
    write!(text, "{}", explain(later.figures(), Some(&earlier.snapshot))).unwrap();
    is_golden("explain-since.txt", &text);
}

#[test]
fn the_difference_is_as_it_was() {
    let (earlier, later) = (document("earlier.json"), document("later.json"));
    let text = serde_json::to_string_pretty(&later.snapshot.diff(&earlier.snapshot)).unwrap();
    is_golden("difference.json", &text);
}

/// What a later version writes may have more fields, but has all that were there.
#[test]
fn a_file_that_is_read_and_written_again_has_all_it_had() {
    for name in ["earlier.json", "later.json"] {
        let mut again = String::new();
        document(name).write(&mut again).unwrap();
        let before: serde_json::Value =
            serde_json::from_slice(&fs::read(place(name)).unwrap()).unwrap();
        let after: serde_json::Value = serde_json::from_str(&again).unwrap();
        has_all(&before, &after, name);
    }
}

fn has_all(before: &serde_json::Value, after: &serde_json::Value, path: &str) {
    use serde_json::Value::{Array, Object};
    match (before, after) {
        (Object(before), Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}.{key}");
                has_all(value, after.get(key).unwrap_or_else(|| panic!("{path} is gone")), &path);
            }
        }
        // The ledger may have more lines, too; each has its name.
        (Array(before), Array(after))
            if before.iter().all(|line| line.get("category").is_some()) =>
        {
            for line in before {
                let name = &line["category"];
                let same = after.iter().find(|after| after.get("category") == Some(name));
                let path = format!("{path}[{name}]");
                has_all(line, same.unwrap_or_else(|| panic!("{path} is gone")), &path);
            }
        }
        (Array(before), Array(after)) => {
            assert_eq!(before.len(), after.len(), "{path}");
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                has_all(before, after, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(before, after, "{path}"),
    }
}

#[test]
fn the_page_loads_nothing_and_has_all() {
    let (earlier, later) = (document("earlier.json"), document("later.json"));
    let page = render_html(&later, Some(&earlier));
    for part in ["src=", "href=", "url(", "@import", "fetch(", "import("] {
        assert!(!page.contains(part), "{part} would load something");
    }
    let addresses: Vec<_> = page.match_indices("http").map(|(at, _)| &page[at..at + 26]).collect();
    assert_eq!(
        addresses,
        ["http://www.w3.org/2000/svg"],
        "the name of a namespace, which nobody loads"
    );
    assert!(page.contains("Growth: "), "findings");
    assert!(page.contains("<tr><th>central free lists</th>"), "the ledger");
    let data = page.split_once("id=\"snapshot\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["process_name"], "python3");
    assert!(!data["map"].as_array().unwrap().is_empty());
}

#[test]
fn a_name_cannot_end_the_script_in_the_page() {
    let mut document = document("earlier.json");
    document.process_name = "</script><!--<b>".into();
    let page = render_html(&document, None);
    assert_eq!(page.matches("</script>").count(), 2, "those of the page itself");
    assert!(!page.contains("<!--<b>"));
}
