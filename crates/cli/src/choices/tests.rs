use super::{Report, page_heap_pair};
use clap::ValueEnum;
use strata_alloc::{Config, ExitReport, PageHeapChoice};
use strata_replay::PageHeapKind;

/// What the library makes of `STRATA_CONF`.
fn understood(conf: &str) -> Config {
    Config::parse(conf.as_bytes(), |complaint| panic!("{complaint}"))
}

#[test]
fn the_library_knows_each_report_by_the_name_that_the_command_has_for_it() {
    let mut seen = vec![ExitReport::None];
    for report in Report::value_variants() {
        let choice = understood(&report.pair()).exit_report;
        assert!(!seen.contains(&choice), "{report:?} is {choice:?}");
        seen.push(choice);
    }
}

#[test]
fn the_library_knows_each_page_heap_by_the_name_that_the_command_has_for_it() {
    let choice = |kind| understood(&page_heap_pair(kind)).page_heap;
    assert_eq!(choice(PageHeapKind::Temeraire), PageHeapChoice::Temeraire);
    assert_eq!(choice(PageHeapKind::Legacy), PageHeapChoice::Legacy);
}
