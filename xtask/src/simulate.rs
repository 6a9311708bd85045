//! `cargo xtask simulate`: heaps that no machine here could hold.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::run;
use crate::workspace::Workspace;

/// Simulate page heaps of 1 TiB, and two days and nights on 256 CPUs
///
/// Runs `simulate` of strata-replay, built for release; its options follow (--help tells them). The short form is among the
/// tests of that crate.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Options of `simulate`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    simulate(workspace, &options.options)?;
    Ok(ExitCode::SUCCESS)
}

/// The page heaps of a tebibyte, and one day and night of a heap of 2 GiB on 256 CPUs.
pub(crate) fn in_short(workspace: &Workspace) -> Result<()> {
    simulate(workspace, &["--hours", "24", "--peak", "2"].map(OsString::from))
}

fn simulate(workspace: &Workspace, options: &[OsString]) -> Result<()> {
    let mut cargo = workspace.cargo("run");
    cargo.args(["--quiet", "--release", "--package", "strata-replay", "--bin", "simulate", "--"]);
    run(cargo.args(options))
}
