//! The workloads, done by every allocator in turn.

use core::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::spread::Spread;
use crate::measured::run_measured;

/// A run that takes longer is killed and counts as failed.
const LIMIT: Duration = Duration::from_secs(300);

/// What a workload printed about itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    pub(crate) ns: u64,
    pub(crate) peak_rss_kib: u64,
    /// Resident at the end, with the workload's blocks freed.
    pub(crate) rss_kib: u64,
    pub(crate) hugepages_kib: u64,
}

/// All runs of one allocator on one workload.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) allocator: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<String>,
}

impl Cell {
    /// Time of an operation, in ns.
    pub(crate) fn time(&self) -> Option<Spread> {
        self.spread(|sample| to_float(sample.ns) / to_float(sample.operations.max(1)))
    }

    /// The largest resident set, in KiB.
    pub(crate) fn peak_rss(&self) -> Option<Spread> {
        self.spread(|sample| to_float(sample.peak_rss_kib))
    }

    /// Nothing if a run failed: what is left would not be comparable.
    fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let complete = self.failures.is_empty();
        complete.then(|| Spread::of(self.samples.iter().map(figure))).flatten()
    }
}

/// One workload over all allocators, in the order of the contenders.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    pub(crate) fn cell(&self, allocator: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.allocator == allocator)
    }
}

/// The names of the workloads, as the first program lists them when asked for none.
pub(crate) fn workloads(contenders: &[Contender], filter: Option<&str>) -> Result<Vec<String>> {
    let first = contenders.first().context("there is no allocator")?;
    let usage = run_measured(&mut first.command(), LIMIT)?;
    let text = String::from_utf8_lossy(&usage.stderr).into_owned();
    let names = text.lines().skip(2).filter_map(|line| line.split_whitespace().next());
    let wanted = names.filter(|name| filter.is_none_or(|part| name.contains(part)));
    let names: Vec<String> = wanted.map(str::to_owned).collect();
    if names.is_empty() {
        bail!("no workload is named like that; there are\n{text}");
    }
    Ok(names)
}

/// Each round does every workload with every allocator, and begins with another one.
pub(crate) fn run(
    contenders: &[Contender],
    workloads: &[String],
    rounds: usize,
    percent: usize,
) -> Result<Vec<Row>> {
    let cell = |contender: &Contender| Cell {
        allocator: contender.name,
        samples: Vec::new(),
        failures: Vec::new(),
    };
    let row = |workload: &String| Row {
        workload: workload.clone(),
        cells: contenders.iter().map(cell).collect(),
    };
    let mut rows: Vec<Row> = workloads.iter().map(row).collect();
    for round in 0..rounds {
        for row in &mut rows {
            eprintln!("bench: round {} of {rounds}, {}", round + 1, row.workload);
            let mut turns: Vec<_> = contenders.iter().zip(&mut row.cells).collect();
            let first = round % turns.len().max(1);
            turns.rotate_left(first);
            for (contender, cell) in turns {
                match run_once(contender, &row.workload, percent) {
                    Ok(sample) => cell.samples.push(sample),
                    Err(error) => cell.failures.push(format!("{error:#}")),
                }
            }
        }
    }
    Ok(rows)
}

fn run_once(contender: &Contender, workload: &str, percent: usize) -> Result<Sample> {
    let mut command = contender.command();
    let run = run_measured(command.arg(workload).arg(percent.to_string()), LIMIT)?;
    if !run.succeeded() {
        bail!("{}: {}", run.ending(), String::from_utf8_lossy(&run.stderr).trim());
    }
    serde_json::from_slice(&run.stdout).context("reading its figures")
}

/// Exact up to 2^53: nanoseconds of a hundred days.
fn to_float(figure: u64) -> f64 {
    figure as f64
}
