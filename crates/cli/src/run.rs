//! `strata run`: a program under Strata.

use crate::choices::Report;
use crate::launch::Launch;
use crate::preload;
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;
use strata_replay::{PageHeapKind, PageSizeKind};

/// Run COMMAND under Strata
///
/// Finds libstrata.so beside this command and puts it before what LD_PRELOAD has; what is asked for here is added to
/// STRATA_CONF. The exit status is COMMAND's; 127 if there is no such command, 126 if it cannot be run, 125
/// if the library is missing.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Print a report of COMMAND's own memory, not its children's, to stderr when it exits
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "tcmalloc"
    )]
    report: Option<Report>,

    /// Where spans of pages come from
    #[arg(long, value_name = "NAME", value_enum)]
    page_heap: Option<PageHeapKind>,

    /// The size of a page
    #[arg(long, value_name = "SIZE", value_enum, default_value = "8k")]
    page_size: PageSizeKind,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Becomes the program; comes back only if that failed.
pub(crate) fn perform(options: &Options) -> ExitCode {
    let pairs = preload::pairs(options.report, options.page_heap);
    let launch = Launch {
        command: &options.command,
        page_size: options.page_size,
        pairs: pairs.into_iter().map(OsString::from).collect(),
        own_number: options.report.map(|_| "STRATA_REPORT_PID"),
    };
    launch.perform()
}
