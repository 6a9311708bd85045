use super::{pairs, with_library, with_pairs};
use crate::choices::Report;
use std::ffi::OsStr;
use std::path::Path;
use strata_replay::PageHeapKind;

#[test]
fn the_library_stands_before_what_is_preloaded_already() {
    let library = Path::new("/opt/lib/libstrata.so");
    let with = |present: Option<&str>| with_library(present.map(OsStr::new), library);
    assert_eq!(with(None), "/opt/lib/libstrata.so");
    assert_eq!(with(Some("")), "/opt/lib/libstrata.so");
    assert_eq!(with(Some("a.so b.so")), "/opt/lib/libstrata.so:a.so b.so");
}

#[test]
fn what_the_user_configured_stays_and_the_arguments_come_after_it() {
    let pairs = pairs(Some(Report::Tcmalloc), Some(PageHeapKind::Legacy));
    let with = |present: Option<&str>| with_pairs(present.map(OsStr::new), &pairs);
    assert_eq!(with(None), "exit_report:tcmalloc,page_heap:legacy");
    assert_eq!(
        with(Some("page_heap:temeraire,front_end:per_thread")),
        "page_heap:temeraire,front_end:per_thread,exit_report:tcmalloc,page_heap:legacy"
    );
}

#[test]
fn without_arguments_nothing_is_configured() {
    assert!(pairs(None, None).is_empty());
}
