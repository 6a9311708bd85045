//! `cargo xtask bench`: criterion's benches, or the workloads over Strata and its peers.

mod contender;
mod machine;
mod ratios;
mod rounds;
mod spread;
mod start_up;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::command::run;
use crate::workspace::Workspace;
use machine::Machine;
use rounds::Row;
use start_up::StartUp;

/// Run criterion's benches, or with --peers the workloads over Strata and other allocators.
///
/// With --peers every workload runs in a process of its own, the allocators taking turns, and one
/// table of ratios of medians to the system's allocator is printed for time and peak RSS. The
/// figures behind it are written to target/bench/peers.json.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare with the peers
    #[arg(long)]
    peers: bool,

    /// Rounds in which every allocator does every workload once
    #[arg(long, value_name = "N", default_value_t = 5, requires = "peers")]
    rounds: usize,

    /// Do this part of every workload
    #[arg(long, value_name = "PERCENT", default_value_t = 100, requires = "peers")]
    scale: usize,

    /// Runs of `true` under each preloaded library
    #[arg(long, value_name = "N", default_value_t = 300, requires = "peers")]
    starts: usize,

    /// Only these allocators; the system's is always there
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "peers")]
    allocators: Vec<String>,

    /// Show tcmalloc-better too, whose build of TCMalloc is several times slower than its own
    #[arg(long, requires = "peers")]
    with_tcmalloc_better: bool,

    /// Only workloads, or criterion's benches, whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// All of a run, as it is written to the file.
#[derive(Serialize)]
struct Record {
    machine: Machine,
    revision: String,
    rounds: usize,
    scale_percent: usize,
    rows: Vec<Row>,
    start_up: Vec<StartUp>,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.peers {
        compare(workspace, options)?;
    } else {
        let mut command = workspace.cargo("bench");
        run(command.args(["--package", "strata-benches", "--"]).args(&options.filter))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "without a round there is nothing to compare");
    let prepared = contender::prepare(workspace, options)?;
    let contenders = &prepared.contenders;
    let workloads = rounds::workloads(contenders, options.filter.as_deref())?;
    let rows = rounds::run(contenders, &workloads, options.rounds, options.scale)?;
    let start_up = start_up::measure(workspace, contenders, options.starts)?;

    let machine = Machine::this_one();
    println!("{machine}\n{} rounds at {} % of every workload\n", options.rounds, options.scale);
    println!("{}", ratios::table(contenders, &rows));
    print!("{}", ratios::verdict(&rows));
    if !start_up.is_empty() {
        println!("\n{}", start_up::table(&start_up));
    }
    for (name, reason) in &prepared.left_out {
        println!("left out: {name}: {reason}");
    }
    let record = Record {
        machine,
        revision: revision(workspace),
        rounds: options.rounds,
        scale_percent: options.scale,
        rows,
        start_up,
    };
    write(workspace, &record)
}

fn write(workspace: &Workspace, record: &Record) -> Result<()> {
    let directory = workspace.target().join("bench");
    fs::create_dir_all(&directory)?;
    let file = directory.join("peers.json");
    fs::write(&file, serde_json::to_string_pretty(record)?)
        .with_context(|| format!("writing {}", file.display()))?;
    println!("the figures are in {}", file.display());
    Ok(())
}

/// The commit that was measured, as git describes it.
fn revision(workspace: &Workspace) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(workspace.root());
    let output = git.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
