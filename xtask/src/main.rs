//! `cargo xtask`: builds, tests, measures and distributes Strata.
//!
//! Each command is a module with its options, and a function that carries it out. What several of
//! them need lies in `workspace` (places and cargo), `command` (running a program), `measured`
//! (running it under a time limit with its memory counted) and `table`.

mod bench;
mod command;
mod coverage;
mod dist;
mod documents;
mod fuzz;
mod hotpath;
mod idle;
mod layers;
mod library_tests;
mod loom;
mod matrix;
mod measured;
mod misuse;
mod page_size;
mod programs;
mod reconcile;
mod repeat;
mod run;
mod simulate;
mod stress;
mod suite;
mod suite_rounds;
mod table;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use workspace::Workspace;

/// Builds, tests, measures and distributes Strata.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Run(run::Options),
    Test(test::Options),
    Repeat(repeat::Options),
    Matrix(matrix::Options),
    Loom(loom::Options),
    Fuzz(fuzz::Options),
    Stress(stress::Options),
    Bench(bench::Options),
    Coverage(coverage::Options),
    Simulate(simulate::Options),
    Hotpath(hotpath::Options),
    Idle(idle::Options),
    Layers(layers::Options),
    Documents(documents::Options),
    Dist(dist::Options),
    Programs(programs::Options),
    Reconcile(reconcile::Options),
    Misuse(misuse::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    perform(&arguments.task).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform(task: &Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Run(options) => run::perform(&workspace, options),
        Task::Test(options) => test::perform(&workspace, options),
        Task::Repeat(options) => repeat::perform(&workspace, options),
        Task::Matrix(options) => matrix::perform(&workspace, options),
        Task::Loom(options) => loom::perform(&workspace, options),
        Task::Fuzz(options) => fuzz::perform(&workspace, options),
        Task::Stress(options) => stress::perform(&workspace, options),
        Task::Bench(options) => bench::perform(&workspace, options),
        Task::Coverage(options) => coverage::perform(&workspace, options),
        Task::Simulate(options) => simulate::perform(&workspace, options),
        Task::Hotpath(options) => hotpath::perform(&workspace, options),
        Task::Idle(options) => idle::perform(&workspace, options),
        Task::Layers(options) => layers::perform(&workspace, options),
        Task::Documents(options) => documents::perform(&workspace, options),
        Task::Dist(options) => dist::perform(&workspace, options),
        Task::Programs(options) => programs::perform(&workspace, options),
        Task::Reconcile(options) => reconcile::perform(&workspace, options),
        Task::Misuse(options) => misuse::perform(&workspace, options),
    }
}
