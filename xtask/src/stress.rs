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
    RandomSuite {
        package: "strata-cpu-cache",
        target: &["--test", "caches"],
        filter: "stress",
        amount: Some(("STRATA_STRESS_SECONDS", "10", "60")),
    },
    RandomSuite {
        package: "strata-alloc",
        target: &["--test", "refusals"],
        filter: "",
        amount: None,
    },
    RandomSuite { package: "strata-alloc", target: &["--test", "fork"], filter: "", amount: None },
    RandomSuite {
        package: "strata-alloc",
        target: &["--test", "short_threads"],
        filter: "",
        amount: None,
    },
    RandomSuite {
        package: "strata-alloc",
        target: &["--test", "idle_threads"],
        filter: "",
        amount: None,
    },
    RandomSuite {
        package: "strata-c-tests",
        target: &["--test", "surroundings"],
        filter: "a_process_with_32_allocating_threads_forks",
        amount: Some(("STRATA_FORKS", "100", "10000")),
    },
    RandomSuite {
        package: "strata-c-tests",
        target: &["--test", "life"],
        filter: "preloaded_it_lives",
        amount: Some(("STRATA_THREADS", "10000", "100000")),
    },
];

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build_library(workspace, PageSizeName::Eight)?;
    Rounds::new(&options.rounds, options.long).run(workspace, &SUITES)
}
