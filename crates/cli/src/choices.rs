//! What the user can choose, by the names that `STRATA_CONF` and the libraries' files use.

use clap::ValueEnum;
use strata_replay::{PageHeapKind, PageSizeKind};

/// The form of the report at COMMAND's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// As TCMalloc's GetStats of April 2020
    Tcmalloc,
    /// As TCMalloc's GetStats of today
    TcmallocToday,
    /// The figures as protobuf text
    Pbtxt,
    /// The same with the fields of today
    PbtxtToday,
    /// One screen of summary
    Brief,
    /// What stands out, and what to do about it
    Explain,
    /// The figures as JSON
    Json,
}

impl Report {
    /// The pair of `STRATA_CONF` that asks for it.
    pub(crate) fn pair(self) -> String {
        format!("exit_report:{}", name_of(self))
    }
}

/// The pair of `STRATA_CONF` that asks for a page heap.
pub(crate) fn page_heap_pair(page_heap: PageHeapKind) -> String {
    format!("page_heap:{}", name_of(page_heap))
}

/// What a choice is called: the same among the arguments and in `STRATA_CONF`.
fn name_of(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The name of the library's file: there is one for each size of a page.
pub(crate) fn library_file(page_size: PageSizeKind) -> &'static str {
    match page_size {
        PageSizeKind::Four => "libstrata-4k.so",
        PageSizeKind::Eight => "libstrata.so",
        PageSizeKind::ThirtyTwo => "libstrata-32k.so",
        PageSizeKind::TwoFiftySix => "libstrata-256k.so",
    }
}

#[cfg(test)]
mod tests;
