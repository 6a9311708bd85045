//! `strata run`: a program under Strata.

use crate::choices::{PageHeap, PageSize, Report};
use crate::{library, preload};
use clap::Args;
use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode};

/// What this command ends with when it cannot do its own part, as `env` and `timeout` do.
const OWN_FAILURE: u8 = 125;

/// What a shell ends with when a command is there but cannot be run.
const CANNOT_RUN: u8 = 126;

/// What a shell ends with when there is no such command.
const NOT_FOUND: u8 = 127;

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
    page_heap: Option<PageHeap>,

    /// The size of a page
    #[arg(long, value_name = "SIZE", value_enum, default_value = "8k")]
    page_size: PageSize,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Becomes the program; comes back only if that failed.
pub(crate) fn perform(options: &Options) -> ExitCode {
    let library = match library::find(options.page_size) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("strata: {error}");
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let Some((program, arguments)) = options.command.split_first() else {
        return ExitCode::from(OWN_FAILURE);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    command
        .env("LD_PRELOAD", preload::with_library(env::var_os("LD_PRELOAD").as_deref(), &library));
    let pairs = preload::pairs(options.report, options.page_heap);
    if !pairs.is_empty() {
        let conf = env::var_os("STRATA_CONF");
        command.env("STRATA_CONF", preload::with_pairs(conf.as_deref(), &pairs));
    }
    if options.report.is_some() {
        // A process keeps its number when it becomes another program, and its children have other ones.
        command.env("STRATA_REPORT_PID", process::id().to_string());
    }
    let error = command.exec();
    eprintln!("strata: {}: {}", program.to_string_lossy(), reason(&error));
    ExitCode::from(status(&error))
}

/// The reason in the words of a shell.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "command not found".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn status(error: &io::Error) -> u8 {
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}
