use super::page;
use crate::bench::goals::answers;
use crate::bench::goals::tests::record;

#[test]
fn the_page_has_figures_plots_and_what_is_missed_and_needs_no_other_file() {
    let record = record(&[("system", 10.0, 1024.0), ("strata", 12.0, 2048.0)]);
    let page = page(&record, &answers(&record)).into_string();
    for wanted in ["<svg", "12.0 ns", "2.0 MiB", "1.20", "missed", "+50 %"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for other in ["<script", "src=", "href=", "url("] {
        assert!(!page.contains(other), "{other}");
    }
}

#[test]
fn names_are_not_taken_for_markup() {
    let mut record = record(&[("system", 10.0, 1.0), ("strata", 12.0, 1.0)]);
    record.rows[0].cells[1].failures.push("<b>bad</b>".to_owned());
    assert!(page(&record, &[]).into_string().contains("&lt;b&gt;bad&lt;/b&gt;"));
}
