//! `cargo xtask stress`: many threads at once, and everything that can come between them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::dist;
use crate::page_size::PageSizeName;
use crate::suite_rounds::{RandomSuite, RoundOptions, Rounds};
use crate::workspace::Workspace;

/// Run more threads than CPUs, with signals, changes of affinity, drains and resizes of CPUs' caches, forks, and CPUs that
/// are taken away, all at once; afterwards no object may be lost or doubled, and capacities must add up.
///
/// Each round has another seed; the first failure ends the run, and the command that repeats it is printed. The short form
/// is one round of a minute.
#[derive(Args)]
pub(crate) struct Options {
    /// Storms of a minute, and rounds for half an hour
    #[arg(long)]
    long: bool,

    #[command(flatten)]
    rounds: RoundOptions,
}

const SUITES: [RandomSuite; 7] = [
    RandomSuite::new("strata-cpu-cache", &["--test", "caches"]).only("stress").amount(
        "STRATA_STRESS_SECONDS",
        "10",
        "60",
    ),
    RandomSuite::new("strata-alloc", &["--test", "refusals"]),
    RandomSuite::new("strata-alloc", &["--test", "fork"]),
    RandomSuite::new("strata-alloc", &["--test", "short_threads"]),
    RandomSuite::new("strata-alloc", &["--test", "idle_threads"]),
    RandomSuite::new("strata-c-tests", &["--test", "surroundings"])
        .only("a_process_with_32_allocating_threads_forks")
        .amount("STRATA_FORKS", "100", "10000"),
    RandomSuite::new("strata-c-tests", &["--test", "life"]).only("preloaded_it_lives").amount(
        "STRATA_THREADS",
        "10000",
        "100000",
    ),
];

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build_library(workspace, PageSizeName::Eight)?;
    Rounds::new(&options.rounds, options.long).run(workspace, &SUITES)
}
