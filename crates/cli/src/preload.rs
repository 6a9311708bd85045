//! The environment of a program that runs under the library.

use crate::choices::{Report, page_heap_pair};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use strata_replay::PageHeapKind;

/// What is added to `STRATA_CONF`, pair by pair.
pub(crate) fn pairs(report: Option<Report>, page_heap: Option<PageHeapKind>) -> Vec<String> {
    report.map(Report::pair).into_iter().chain(page_heap.map(page_heap_pair)).collect()
}

/// `LD_PRELOAD` with the library before what is there: the first one that has `malloc` serves it.
pub(crate) fn with_library(present: Option<&OsStr>, library: &Path) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(present) = present.filter(|present| !present.is_empty()) {
        value.push(":");
        value.push(present);
    }
    value
}

/// `STRATA_CONF` with `pairs` after what is there: of two pairs with the same key the last one counts.
pub(crate) fn with_pairs<P: AsRef<OsStr>>(present: Option<&OsStr>, pairs: &[P]) -> OsString {
    let mut value = present.unwrap_or_default().to_owned();
    for pair in pairs {
        if !value.is_empty() {
            value.push(",");
        }
        value.push(pair);
    }
    value
}

#[cfg(test)]
mod tests;
