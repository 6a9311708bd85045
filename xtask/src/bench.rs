//! `cargo xtask bench`: criterion's benches, or the workloads over Strata and others.

mod against;
mod checks;
pub(crate) mod contender;
mod goals;
mod machine;
mod page;
mod plot;
mod ratios;
mod readme;
pub(crate) mod record;
mod rounds;
pub(crate) mod spread;
mod watched;

use core::time::Duration;
use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;
use strata_workloads::{WORKLOADS, Workload};

use crate::command::run;
use crate::workspace::Workspace;
use contender::Prepared;
use machine::Machine;
use record::Record;
use rounds::Length;

/// Run criterion's benches; with --peers the workloads over Strata and other allocators, with
/// --against over Strata as it is and as it was; with --checks over what looks for misuse and what does not.
///
/// Every workload runs in a process of its own, the contenders taking turns. Rounds go on for as
/// long as --minutes says; then each call is timed in rounds of their own, whose processes stay idle
/// at the end before their memory is read. The whole takes ten minutes by default, building apart.
/// JSON and a page with plots are written to target/bench, and with --publish to docs/benchmarks.
///
/// Times depend on how many CPUs there are: `taskset -c 0,1 cargo xtask bench --peers` for two.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare with the peers
    #[arg(long)]
    peers: bool,

    /// Compare with another commit, built in a worktree of its own under target/bench
    #[arg(long, value_name = "REV", conflicts_with = "peers")]
    against: Option<String>,

    /// Measure what looking for misuse costs: a library that does not, as it is, and hardened
    #[arg(long, conflicts_with_all = ["peers", "against"])]
    checks: bool,

    /// Rounds in which every contender does every workload once, instead of --minutes
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,

    /// Begin no round that would end later than this; three there are at least
    #[arg(long, value_name = "N", default_value_t = 7.0, conflicts_with = "rounds")]
    minutes: f64,

    /// Rounds in which every call is timed
    #[arg(long, value_name = "N", default_value_t = 3)]
    watched_rounds: usize,

    /// How long processes of those rounds sleep before their final RSS is read
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    idle: u64,

    /// Do this part of every workload
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    scale: usize,

    /// A short look: a tenth of every workload, one round each, no idling
    #[arg(long, conflicts_with_all = ["rounds", "minutes", "scale", "publish"])]
    quick: bool,

    /// Only these workloads
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,

    /// Only these allocators; the system's is always there
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "peers")]
    allocators: Vec<String>,

    /// Write docs/benchmarks, and the table in README
    #[arg(long, requires = "peers")]
    publish: bool,

    /// Show and publish the figures of this file instead of measuring
    #[arg(long, value_name = "JSON", requires = "peers")]
    from: Option<PathBuf>,

    /// Only workloads, or criterion's benches, whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    match (&options.against, options.peers) {
        (Some(revision), _) => {
            let prepared = against::prepare(workspace, revision)?;
            let record = measure(workspace, options, prepared)?;
            println!("{}\n{}", ratios::table(&record), ratios::differences(&record));
            print!("{}", ratios::troubles(&record));
            let directory = workspace.target().join("bench");
            record.write(&directory.join("against.json"))?;
            page::write(&directory.join("against.html"), &record, &[])?;
            println!("JSON and page: {}/against.*", directory.display());
        }
        (None, _) if options.checks => {
            let record = measure(workspace, options, checks::prepare(workspace)?)?;
            println!("{}\n{}", checks::least_times(&record), checks::summary(&record));
            print!("{}", ratios::troubles(&record));
            let directory = workspace.target().join("bench");
            record.write(&directory.join("checks.json"))?;
            page::write(&directory.join("checks.html"), &record, &[])?;
            println!("JSON and page: {}/checks.*", directory.display());
        }
        (None, true) => compare_with_peers(workspace, options)?,
        (None, false) => {
            let mut command = workspace.cargo("bench");
            run(command.args(["--package", "strata-benches", "--"]).args(&options.filter))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn compare_with_peers(workspace: &Workspace, options: &Options) -> Result<()> {
    let record = match &options.from {
        Some(file) => Record::read(file)?,
        None => {
            let prepared = contender::prepare(workspace, &options.allocators)?;
            measure(workspace, options, prepared)?
        }
    };
    let answers = goals::answers(&record);
    println!("{}\n{} rounds, revision {}\n", record.machine, record.rounds, record.revision);
    println!("{}\n{}", ratios::table(&record), ratios::summary(&answers));
    print!("{}", ratios::troubles(&record));

    let directory = if options.publish {
        readme::refill(&workspace.root().join("README.md"), &record)?;
        workspace.root().join("docs/benchmarks")
    } else {
        workspace.target().join("bench")
    };
    record.write(&directory.join("peers.json"))?;
    page::write(&directory.join("peers.html"), &record, &answers)?;
    println!("JSON and page: {}/peers.*", directory.display());
    Ok(())
}

/// Runs what `options` ask for.
fn measure(workspace: &Workspace, options: &Options, prepared: Prepared) -> Result<Record> {
    let (length, watched_rounds, idle_seconds, scale_percent) = if options.quick {
        (Length::Rounds(1), 1, 0, 10)
    } else {
        let minutes = Length::Within(Duration::from_secs_f64(60.0 * options.minutes.max(0.0)));
        let length = options.rounds.map_or(minutes, Length::Rounds);
        (length, options.watched_rounds, options.idle, options.scale)
    };
    ensure!(options.rounds != Some(0), "without a round there is nothing to compare");
    let workloads = workloads(options)?;
    let Prepared { contenders, left_out } = prepared;

    let begun = Instant::now();
    let mut rows = rounds::rows(&contenders, &workloads);
    let rounds = rounds::run(&contenders, &mut rows, length, scale_percent);
    watched::run(&contenders, &mut rows, watched_rounds, scale_percent, idle_seconds);
    Ok(Record {
        command: command_line(),
        machine: Machine::this_one(),
        revision: revision(workspace),
        rounds,
        watched_rounds,
        idle_seconds,
        scale_percent,
        minutes: rounds::rounded(begun.elapsed().as_secs_f64() / 60.0),
        entries: contenders.into_iter().map(|contender| contender.entry).collect(),
        rows,
        left_out,
    })
}

fn workloads(options: &Options) -> Result<Vec<&'static Workload>> {
    for name in &options.only {
        if !WORKLOADS.iter().any(|workload| workload.name == name) {
            let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
            bail!("{name} is none of {}", names.join(", "));
        }
    }
    let is_wanted = |workload: &&Workload| {
        (options.only.is_empty() || options.only.iter().any(|name| workload.name == name))
            && options.filter.as_ref().is_none_or(|part| workload.name.contains(part.as_str()))
    };
    let wanted: Vec<&Workload> = WORKLOADS.iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no workload is named like that");
    Ok(wanted)
}

/// What was typed, as far as xtask can know.
fn command_line() -> String {
    let arguments = env::args().skip(1);
    ["cargo".to_owned(), "xtask".to_owned()]
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The commit that was measured, as git describes it.
fn revision(workspace: &Workspace) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(workspace.root());
    let output = git.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
