//! The workloads, done by every contender in turn.

use core::time::Duration;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use strata_workloads::{Kind, Scale, WORKLOADS, Workload, warm_up};

use super::contender::Contender;
use super::record::{Cell, Part, Row};
use super::spread::Spread;
use crate::measured::run_measured;

/// A run that takes longer is killed and counts as failed.
const LIMIT: Duration = Duration::from_secs(300);

/// Processes that a round starts for the row of start-ups; their median is the round's figure.
const STARTS: usize = 40;

/// Fewer rounds than that show no spread.
const FEWEST: usize = 3;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Rounds(usize),
    /// As many as fit, and at least three.
    Within(Duration),
}

impl Length {
    /// Whether there is to be another round after so many that took so long.
    fn goes_on(self, done: usize, elapsed: Duration) -> bool {
        match self {
            Self::Rounds(rounds) => done < rounds,
            Self::Within(limit) => {
                let another = elapsed / u32::try_from(done).unwrap_or(1).max(1);
                done < FEWEST || elapsed + another <= limit
            }
        }
    }
}

/// What a workload's program printed about itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Sample {
    parts: Vec<SamplePart>,
    working_rss_kib: u64,
    working_hugepages_kib: u64,
    peak_rss_kib: u64,
    pub(crate) rss_kib: u64,
    pub(crate) latencies: Option<Latencies>,
}

#[derive(Debug, Deserialize)]
struct SamplePart {
    name: String,
    operations: u64,
    ns: u64,
    faults: u64,
}

/// How long single calls took, in ns.
#[derive(Debug, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) calls: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Empty rows for what is going to be measured.
pub(crate) fn rows(contenders: &[Contender], workloads: &[&Workload]) -> Vec<Row> {
    let cell =
        |contender: &Contender| Cell { allocator: contender.entry.name.clone(), ..Cell::default() };
    let row = |workload: &&Workload| Row {
        workload: workload.name.to_owned(),
        operation: workload.operation.to_owned(),
        kind: workload.kind,
        cells: contenders.iter().map(cell).collect(),
    };
    workloads.iter().map(row).collect()
}

/// Each round does every workload with every contender, and begins with another one. Says how many
/// rounds there were.
pub(crate) fn run(
    contenders: &[Contender],
    rows: &mut [Row],
    length: Length,
    percent: usize,
) -> usize {
    let begun = Instant::now();
    let mut round = 0;
    while length.goes_on(round, begun.elapsed()) {
        for row in rows.iter_mut() {
            eprint!("\r\x1b[Kbench: round {}, {}", round + 1, row.workload);
            let (name, kind) = (row.workload.clone(), row.kind);
            in_turns(contenders, row, round, |contender, cell| {
                run_once(contender, &name, kind, percent).map(|sample| enter(cell, &sample))
            });
        }
        round += 1;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        eprintln!("\r\x1b[Kbench: {round} rounds in {minutes:.1} min");
    }
    round
}

/// Has every contender make its entry in its cell; who begins depends on the round. A contender that
/// failed is not asked again.
pub(crate) fn in_turns(
    contenders: &[Contender],
    row: &mut Row,
    round: usize,
    mut turn: impl FnMut(&Contender, &mut Cell) -> Result<()>,
) {
    let mut turns: Vec<_> = contenders.iter().zip(&mut row.cells).collect();
    let first = round % turns.len().max(1);
    turns.rotate_left(first);
    for (contender, cell) in turns.into_iter().filter(|(_, cell)| cell.failures.is_empty()) {
        if let Err(error) = turn(contender, cell) {
            cell.failures.push(format!("{error:#}"));
        }
    }
}

fn run_once(contender: &Contender, workload: &str, kind: Kind, percent: usize) -> Result<Sample> {
    warm_up(reach(workload, percent));
    let mut command = contender.command();
    command.arg(workload).arg(percent.to_string());
    let run = run_measured(&mut command, LIMIT)?;
    if !run.succeeded() {
        bail!("{}: {}", run.ending(), String::from_utf8_lossy(&run.stderr).trim());
    }
    let mut sample: Sample = serde_json::from_slice(&run.stdout).context("reading its figures")?;
    if kind == Kind::StartUp {
        let part = sample.parts.first_mut().context("it has no part")?;
        part.ns = start_up(contender, workload)?;
    }
    Ok(sample)
}

/// How many bytes the workload of that name touches, where so much of it is done.
pub(crate) fn reach(name: &str, percent: usize) -> usize {
    let named = WORKLOADS.iter().find(|workload| workload.name == name);
    named.map_or(0, |workload| workload.reach(Scale::from_percent(percent)))
}

/// The median time of a process from its start to its end, in ns.
fn start_up(contender: &Contender, workload: &str) -> Result<u64> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times.push(wall(contender.command().arg(workload))?.as_secs_f64() * 1e9);
    }
    Ok(Spread::of(times).context("no run")?.median as u64)
}

/// Timed with nothing beside it: a watchdog's threads would cost more than what is looked for.
fn wall(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().context("starting it")?;
    let took = started.elapsed();
    ensure!(status.success(), "{status}");
    Ok(took)
}

fn enter(cell: &mut Cell, sample: &Sample) {
    cell.parts.resize_with(sample.parts.len(), Part::default);
    for (part, seen) in cell.parts.iter_mut().zip(&sample.parts) {
        part.name.clone_from(&seen.name);
        part.ns.push(rounded(float(seen.ns) / float(seen.operations.max(1))));
        part.faults.push(float(seen.faults));
    }
    cell.peak_rss_kib.push(float(sample.peak_rss_kib));
    let share = float(sample.working_hugepages_kib) / float(sample.working_rss_kib.max(1));
    cell.hugepage_percent.push(rounded(100.0 * share));
}

/// Enough digits for what varies by a tenth.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// Exact up to 2^53: nanoseconds of a hundred days.
pub(crate) fn float(figure: u64) -> f64 {
    figure as f64
}

#[cfg(test)]
mod tests;
