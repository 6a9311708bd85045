//! `cargo xtask coverage`: what of a large heap stands on hugepages, and what that is good for.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::bench::contender::{Contender, STRATA_PRELOADED, prepare};
use crate::bench::record::Role;
use crate::bench::spread::Spread;
use crate::measured::run_measured;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Keep 2 GiB of small objects in their steady state, and see what of them stands on hugepages
///
/// A million blocks of 64 to 4032 bytes live; a random one is replaced, for 15 seconds, so that memory goes back by
/// itself meanwhile as it does by default. Then the program asks the kernel which bytes of its live blocks stand on
/// hugepages (at least 95 % under Strata), and reads them at random, each read waiting for the last: at least 1.15
/// times as fast as on the best peer that has less than a twentieth on hugepages. Beside what the kernel says
/// stands what the heap believes, from the snapshot that libstrata.so writes as the program ends.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds, in which all take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these allocators; the system's is always there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allocators: Vec<String>,
    /// Do this part of the blocks
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    scale: usize,
    /// STRATA_CONF for Strata
    #[arg(long, value_name = "PAIRS", default_value = "")]
    conf: String,
}

/// A run that takes longer is killed.
const LIMIT: Duration = Duration::from_secs(300);

/// The part of the live bytes that is to stand on hugepages.
const COVERED: f64 = 0.95;

/// Who has less on them does not use them.
const UNUSED: f64 = 0.05;

/// How much faster reads are to be than without.
const FASTER: f64 = 1.15;

#[derive(Deserialize)]
struct Sample {
    parts: Vec<Part>,
    working_rss_kib: u64,
    working_hugepages_kib: u64,
    coverage: Option<Coverage>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
    operations: u64,
    ns: u64,
}

#[derive(Deserialize)]
struct Coverage {
    live_bytes: u64,
    on_hugepages_bytes: u64,
}

/// What came of the runs of one contender.
#[derive(Default)]
struct Runs {
    replace_ns: Vec<f64>,
    traverse_ns: Vec<f64>,
    covered: Vec<f64>,
    anonymous: Vec<f64>,
    rss_mib: Vec<f64>,
    believed: Vec<Belief>,
    trouble: Option<String>,
}

/// What a heap thinks, and what the kernel says of its spans.
#[derive(Clone, Copy)]
struct Belief {
    hugepageable: f64,
    of_spans: f64,
}

impl Sample {
    fn ns(&self, name: &str) -> Option<f64> {
        let part = self.parts.iter().find(|part| part.name == name)?;
        Some(part.ns as f64 / part.operations.max(1) as f64)
    }
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let prepared = prepare(workspace, &options.allocators)?;
    for (name, reason) in &prepared.left_out {
        println!("left out: {name}: {reason}");
    }
    let mut all: Vec<Runs> = prepared.contenders.iter().map(|_| Runs::default()).collect();
    let snapshot = workspace.target().join("coverage.json");
    for round in 0..options.rounds {
        let mut turns: Vec<_> = prepared.contenders.iter().zip(&mut all).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for (contender, runs) in turns {
            eprintln!("coverage: round {}, {}", round + 1, contender.entry.name);
            if let Err(error) = run_once(contender, options, &snapshot, runs) {
                runs.trouble = Some(format!("{error:#}"));
            }
        }
    }
    println!("{}", table(&prepared.contenders, &all));
    Ok(if judge(&prepared.contenders, &all) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_once(
    contender: &Contender,
    options: &Options,
    snapshot: &Path,
    runs: &mut Runs,
) -> Result<()> {
    let mut command = contender.command();
    command.arg("steady-heap").arg(options.scale.to_string());
    let is_ours = contender.entry.role == Role::Ours;
    let writes_snapshot = contender.entry.name == STRATA_PRELOADED;
    if is_ours {
        let file = if writes_snapshot {
            format!("snapshot_file:{},", snapshot.display())
        } else {
            String::new()
        };
        command.env("STRATA_CONF", file + &options.conf);
    }
    let run = run_measured(&mut command, LIMIT)?;
    if !run.succeeded() {
        bail!("{}: {}", run.ending(), String::from_utf8_lossy(&run.stderr).trim());
    }
    let sample: Sample = serde_json::from_slice(&run.stdout).context("reading its figures")?;
    runs.replace_ns.extend(sample.ns("replace"));
    runs.traverse_ns.extend(sample.ns("traverse"));
    runs.rss_mib.push(sample.working_rss_kib as f64 / 1024.0);
    runs.anonymous.push(sample.working_hugepages_kib as f64 / sample.working_rss_kib.max(1) as f64);
    let coverage = sample.coverage.context("the kernel has no PAGEMAP_SCAN (Linux 6.7)")?;
    runs.covered.push(coverage.on_hugepages_bytes as f64 / coverage.live_bytes.max(1) as f64);
    if writes_snapshot {
        runs.believed.push(belief(snapshot)?);
    }
    Ok(())
}

/// What the heap believed at its end, out of its snapshot, and what the kernel had of its spans.
fn belief(snapshot: &Path) -> Result<Belief> {
    let text = fs::read(snapshot).with_context(|| format!("reading {}", snapshot.display()))?;
    let value: serde_json::Value = serde_json::from_slice(&text)?;
    let figure = |path: &str| {
        let found = value.pointer(path).and_then(serde_json::Value::as_f64);
        found.with_context(|| format!("no {path} in the snapshot"))
    };
    let used = figure("/page_heap/temeraire/filler/used_pages")?;
    let broken = figure("/page_heap/temeraire/filler/used_pages_in_released")?;
    let resident = figure("/kernel/spans/resident_bytes")?;
    Ok(Belief {
        hugepageable: 1.0 - broken / used.max(1.0),
        of_spans: figure("/kernel/spans/huge_bytes")? / resident.max(1.0),
    })
}

fn median(figures: &[f64]) -> Option<f64> {
    Spread::of(figures.iter().copied()).map(|spread| spread.median)
}

fn table(contenders: &[Contender], all: &[Runs]) -> Table {
    let mut table = Table::new([
        ("2 GiB of small objects", Align::Left),
        ("live on hugepages", Align::Right),
        ("of RSS", Align::Right),
        ("heap believes", Align::Right),
        ("of its spans", Align::Right),
        ("RSS MiB", Align::Right),
        ("replace ns", Align::Right),
        ("read ns", Align::Right),
    ]);
    for (contender, runs) in contenders.iter().zip(all) {
        let name = contender.entry.name.clone();
        if let Some(trouble) = &runs.trouble {
            table.push([name, trouble.clone()]);
            continue;
        }
        let percent = |figures: &[f64]| {
            median(figures).map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", 100.0 * part))
        };
        let plain = |figures: &[f64]| {
            median(figures).map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"))
        };
        let of_belief = |figure: fn(&Belief) -> f64| {
            percent(&runs.believed.iter().map(figure).collect::<Vec<_>>())
        };
        table.push([
            name,
            percent(&runs.covered),
            percent(&runs.anonymous),
            of_belief(|belief| belief.hugepageable),
            of_belief(|belief| belief.of_spans),
            plain(&runs.rss_mib),
            plain(&runs.replace_ns),
            plain(&runs.traverse_ns),
        ]);
    }
    table
}

/// Prints what was reached; true if everything was.
fn judge(contenders: &[Contender], all: &[Runs]) -> bool {
    let each = || contenders.iter().zip(all).filter(|(_, runs)| runs.trouble.is_none());
    let best = each()
        .filter(|(contender, runs)| {
            contender.entry.role == Role::Peer
                && median(&runs.covered).is_some_and(|covered| covered < UNUSED)
        })
        .filter_map(|(contender, runs)| Some((contender, median(&runs.traverse_ns)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let verdict = |reached| if reached { "reached" } else { "missed" };
    let mut everything = true;
    for (contender, runs) in each().filter(|(contender, _)| contender.entry.role == Role::Ours) {
        let name = &contender.entry.name;
        let covered = median(&runs.covered).unwrap_or(0.0);
        let reached = covered >= COVERED;
        println!("{name}: {:.1} % on hugepages, of 95 %: {}", 100.0 * covered, verdict(reached));
        everything &= reached;
        if let (Some((peer, theirs)), Some(own)) = (best, median(&runs.traverse_ns)) {
            let faster = theirs / own;
            let reached = faster >= FASTER;
            println!(
                "{name}: reads {faster:.2} times as fast as {}, of {FASTER}: {}",
                peer.entry.name,
                verdict(reached)
            );
            everything &= reached;
        }
    }
    everything
}
