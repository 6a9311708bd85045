//! `cargo xtask fuzz`: random instructions on each layer and on a model of it.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::suite_rounds::{RandomSuite, RoundOptions, Rounds};
use crate::workspace::Workspace;

/// Run random instructions on each layer and on a naive model of it, and send restartable sequences back at each of their
/// instructions.
///
/// Each round has another seed; the first failure ends the run, and the command that repeats it is printed. The short form
/// is one round of some minutes.
#[derive(Args)]
pub(crate) struct Options {
    /// Walks a hundred times as long, and rounds for half an hour
    #[arg(long)]
    long: bool,

    #[command(flatten)]
    rounds: RoundOptions,

    /// Only layers whose package's name contains this
    #[arg(long, value_name = "PART")]
    layer: Option<String>,
}

const SUITES: [RandomSuite; 10] = [
    RandomSuite::new("strata-cpu-cache", &["--test", "stepped"]),
    RandomSuite::new("strata-cpu-cache", &["--test", "caches"]).only("model").amount(
        "STRATA_MODEL_STEPS",
        "100000",
        "10000000",
    ),
    RandomSuite::new("strata-thread-cache", &["--test", "thread_cache"]),
    RandomSuite::new("strata-central", &["--test", "middle_tier"]),
    RandomSuite::new("strata-central", &["--test", "sweep"]),
    RandomSuite::new("strata-page-heap", &["--lib", "--all-features"]),
    RandomSuite::new("strata-temeraire", &["--lib"]),
    RandomSuite::new("strata-temeraire", &["--test", "conformance"]),
    RandomSuite::new("strata-os", &["--test", "page_sources"]),
    RandomSuite::new("strata-alloc", &["--test", "matrix"]).amount(
        "STRATA_MATRIX_STEPS",
        "5000",
        "500000",
    ),
];

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let wanted = |suite: &RandomSuite| {
        options.layer.as_ref().is_none_or(|part| suite.package.contains(part.as_str()))
    };
    let suites: Vec<_> = SUITES.into_iter().filter(wanted).collect();
    ensure!(!suites.is_empty(), "no layer's name contains that");
    Rounds::new(&options.rounds, options.long).run(workspace, &suites)
}
