use crate::{Settings, page, patterns::PATTERNS, replay};

#[test]
fn the_page_has_curves_and_a_table_and_needs_no_other_file() {
    let trace = PATTERNS[0].trace();
    let replayed = replay(&trace, Settings::default()).expect("a trace");
    let page = page::render("a <title>", &[replayed]);
    for wanted in ["<polyline", "a &lt;title&gt;", "page heap overhead", "needed again"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for other in ["<script", "src=", "href=", "url(", "NaN"] {
        assert!(!page.contains(other), "{other}");
    }
}

#[test]
fn a_trace_of_nothing_has_a_page_too() {
    let replayed = replay(b"STRATRCE\x01\x00\x00", Settings::default()).expect("a trace");
    let page = page::render("nothing", &[replayed]);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
