//! The `strata` command.
//!
//! It must not know how the library works: it finds the file, and tells it by the environment what was asked for. What
//! the library wrote about itself, it reads by way of `strata-stats`; traces it replays by way of `strata-replay`.

mod choices;
mod launch;
mod library;
mod preload;
mod record;
mod replay;
mod run;
mod stats;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Programs under Strata, the hugepage-aware memory allocator
#[derive(Debug, Parser)]
#[command(name = "strata", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Run(run::Options),
    Record(record::Options),
    Replay(replay::Options),
    Stats(stats::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Run(options) => run::perform(&options),
        Task::Record(options) => record::perform(&options),
        Task::Replay(options) => replay::perform(&options),
        Task::Stats(options) => stats::perform(&options),
    }
}

#[cfg(test)]
mod tests;
