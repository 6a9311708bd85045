//! `cargo xtask run`: a program under Strata, with its report at the end.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::dist;
use crate::page_size::PageSizeName;
use crate::workspace::Workspace;

/// Build what is needed, run COMMAND under Strata and print its report at the end.
///
/// The exit status is COMMAND's.
#[derive(Args)]
pub(crate) struct Options {
    /// The pages that Strata serves COMMAND from
    #[arg(long, value_enum, default_value = "8k")]
    page_size: PageSizeName,

    /// The page heap: legacy or temeraire
    #[arg(long, value_name = "NAME")]
    page_heap: Option<String>,

    /// The form of the report
    #[arg(long, value_name = "FORM", default_value = "tcmalloc")]
    report: String,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build(workspace, &[options.page_size])?;
    let mut strata = Command::new(dist::command(workspace));
    strata.arg("run").arg(format!("--report={}", options.report));
    strata.arg(format!("--page-size={}", options.page_size.name()));
    if let Some(page_heap) = &options.page_heap {
        strata.arg(format!("--page-heap={page_heap}"));
    }
    strata.arg("--").args(&options.command);
    // Only comes back if it could not be started.
    Err(strata.exec()).with_context(|| format!("starting {}", dist::command(workspace).display()))
}
