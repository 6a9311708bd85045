use super::render;
use std::{string::String, vec::Vec};
use strata_page_heap::SpanAges;

const SECOND: u64 = 1_000_000_000;

#[test]
fn columns_stand_under_their_names() {
    let mut ages = SpanAges::default();
    ages.live.record(1, 0);
    ages.live.record(1, 40 * SECOND);
    ages.live.record(7, 2 * SECOND);
    ages.live.record(64, 70 * SECOND);
    ages.unmapped.record(3, 40_000 * SECOND);
    let mut text = String::new();
    render("PageHeap", &ages, &mut text).expect("written");
    assert_eq!(
        text,
        "\
------------------------------------------------
PageHeap cache entry age (count of pages in spans of a given size that have been idle for up to the given period of \
time)
------------------------------------------------
                               mean     <1s      1s     30s      1m     30m      1h     8+h
Live span     TOTAL PAGES:     62.1       1       7       1      64       0       0       0
Live span,        1 pages:     20.0       1       0       1       0       0       0       0
Live span,        7 pages:      2.0       0       7       0       0       0       0       0
Live span,     >=64 pages:     70.0       0       0       0      64       0       0       0

Unmapped span TOTAL PAGES:  40000.0       0       0       0       0       0       0       3
Unmapped span,    3 pages:  40000.0       0       0       0       0       0       0       3
"
    );
    // Each figure ends where the name of its column does.
    let lines: Vec<&str> = text.lines().skip(3).filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
}
