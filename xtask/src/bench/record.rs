//! All figures of a run, as they are written to a file and read back.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use strata_workloads::Kind;

use super::machine::Machine;
use super::spread::Spread;

/// A run.
#[derive(Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) revision: String,
    pub(crate) rounds: usize,
    /// Runs of each cell in which every call was timed.
    pub(crate) watched_rounds: usize,
    pub(crate) idle_seconds: u64,
    pub(crate) scale_percent: usize,
    pub(crate) minutes: f64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) rows: Vec<Row>,
    /// Contenders that could not be built, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

/// A contender, as the record knows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// What the tables relate its figures to.
    pub(crate) base: String,
    pub(crate) role: Role,
    /// Called through the dynamic linker instead of being linked into the program.
    pub(crate) preloaded: bool,
}

/// Whether Strata is held against a contender.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    Ours,
    Peer,
    /// Shown, and not counted: its build is not what its makers ship.
    Shown,
}

/// One workload over all contenders, in the order of the entries.
#[derive(Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) operation: String,
    #[serde(with = "KindName")]
    pub(crate) kind: Kind,
    pub(crate) cells: Vec<Cell>,
}

/// How [`Kind`] is written.
#[derive(Deserialize, Serialize)]
#[serde(remote = "Kind", rename_all = "kebab-case")]
enum KindName {
    HotPath,
    Program,
    StartUp,
    Series,
}

/// All runs of one contender on one workload; lists have an entry for each run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) allocator: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) peak_rss_kib: Vec<f64>,
    /// Of what was resident at the end of the measured part, with the blocks live.
    pub(crate) hugepage_percent: Vec<f64>,
    /// Of single calls, in ns.
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    pub(crate) p999: Vec<f64>,
    pub(crate) longest: Vec<f64>,
    /// Resident with all blocks freed, after the process was idle.
    pub(crate) final_rss_kib: Vec<f64>,
    pub(crate) failures: Vec<String>,
}

/// A measured part of a workload.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Part {
    /// Nothing where the workload has but one.
    pub(crate) name: String,
    /// An operation's time, in ns.
    pub(crate) ns: Vec<f64>,
    /// Pages that the kernel handed over.
    pub(crate) faults: Vec<f64>,
}

impl Row {
    pub(crate) fn cell(&self, allocator: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.allocator == allocator)
    }

    /// The names of its parts, as the first cell that has figures knows them.
    pub(crate) fn parts(&self) -> Vec<&str> {
        let cell = self.cells.iter().find(|cell| !cell.parts.is_empty());
        cell.map_or_else(Vec::new, |cell| cell.parts.iter().map(|p| p.name.as_str()).collect())
    }

    /// What the tables call a part.
    pub(crate) fn line(&self, part: &str) -> String {
        if part.is_empty() { self.workload.clone() } else { format!("{}/{part}", self.workload) }
    }
}

impl Cell {
    /// Time of an operation of that part, in ns.
    pub(crate) fn time(&self, part: &str) -> Option<Spread> {
        let part = self.parts.iter().find(|own| own.name == part)?;
        self.spread(&part.ns)
    }

    pub(crate) fn peak_rss(&self) -> Option<Spread> {
        self.spread(&self.peak_rss_kib)
    }

    pub(crate) fn final_rss(&self) -> Option<Spread> {
        self.spread(&self.final_rss_kib)
    }

    pub(crate) fn p999(&self) -> Option<Spread> {
        self.spread(&self.p999)
    }

    pub(crate) fn hugepages(&self) -> Option<Spread> {
        self.spread(&self.hugepage_percent)
    }

    pub(crate) fn faults(&self, part: &str) -> Option<Spread> {
        let part = self.parts.iter().find(|own| own.name == part)?;
        self.spread(&part.faults)
    }

    /// Nothing if a run failed: what is left would not be comparable.
    fn spread(&self, figures: &[f64]) -> Option<Spread> {
        let complete = self.failures.is_empty();
        complete.then(|| Spread::of(figures.iter().copied())).flatten()
    }
}

impl Record {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("understanding {}", file.display()))
    }

    /// Writes JSON with a line for each row, so that two files can be compared by `diff`.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let directory = file.parent().context("a file lies in a directory")?;
        fs::create_dir_all(directory)?;
        let text = serde_json::to_string(self)?.replace("{\"workload\"", "\n{\"workload\"");
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.role == Role::Ours)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.role == Role::Peer)
    }
}
