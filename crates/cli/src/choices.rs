//! What the user can choose, by the names that `STRATA_CONF` and the libraries' files use.

use clap::ValueEnum;

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
    pub(crate) fn pair(self) -> &'static str {
        match self {
            Self::Tcmalloc => "exit_report:tcmalloc",
            Self::TcmallocToday => "exit_report:tcmalloc-today",
            Self::Pbtxt => "exit_report:pbtxt",
            Self::PbtxtToday => "exit_report:pbtxt-today",
            Self::Brief => "exit_report:brief",
            Self::Explain => "exit_report:explain",
            Self::Json => "exit_report:json",
        }
    }
}

/// Where spans come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageHeap {
    /// Lists of spans by their length
    Legacy,
    /// Hugepage-aware (the default)
    Temeraire,
}

impl PageHeap {
    /// The pair of `STRATA_CONF` that asks for it.
    pub(crate) fn pair(self) -> &'static str {
        match self {
            Self::Legacy => "page_heap:legacy",
            Self::Temeraire => "page_heap:temeraire",
        }
    }
}

/// The size of a page, for which there is a library each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageSize {
    #[value(name = "4k")]
    Four,
    #[value(name = "8k")]
    Eight,
    #[value(name = "32k")]
    ThirtyTwo,
    #[value(name = "256k")]
    TwoFiftySix,
}

impl PageSize {
    /// The name of the library's file.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Four => "libstrata-4k.so",
            Self::Eight => "libstrata.so",
            Self::ThirtyTwo => "libstrata-32k.so",
            Self::TwoFiftySix => "libstrata-256k.so",
        }
    }
}
