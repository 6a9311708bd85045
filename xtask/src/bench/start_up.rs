//! What it costs a program to start under a preloaded library.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::contender::{BASE, Contender};
use super::spread::Spread;
use crate::command::run;
use crate::measured::run_measured;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// Time and memory of a program that does nothing.
#[derive(Serialize)]
pub(crate) struct StartUp {
    allocator: &'static str,
    milliseconds: Spread,
    peak_rss_kib: Spread,
}

/// Starts programs that do nothing `starts` times under each allocator that can be preloaded, in
/// turns: `true` for the time, and one that reports its own peak RSS.
pub(crate) fn measure(
    workspace: &Workspace,
    contenders: &[Contender],
    starts: usize,
) -> Result<Vec<StartUp>> {
    let preloaded = contenders.iter().filter(|c| c.name == BASE || c.preload.is_some());
    let contenders: Vec<&Contender> = preloaded.collect();
    if starts == 0 || contenders.len() < 2 {
        return Ok(Vec::new());
    }
    eprintln!("bench: start-up");
    let reporter = workspace.target().join("bench/start_up");
    compile(&workspace.root().join("benches/programs/start_up.c"), &reporter)?;
    let mut times = vec![Vec::new(); contenders.len()];
    let mut sizes = vec![Vec::new(); contenders.len()];
    for _ in 0..starts {
        for (contender, (times, sizes)) in contenders.iter().zip(times.iter_mut().zip(&mut sizes)) {
            times.push(milliseconds(contender)?);
            sizes.push(peak_rss_kib(contender, &reporter)?);
        }
    }
    let figures = contenders.iter().zip(times.into_iter().zip(sizes));
    figures.map(|(contender, (times, sizes))| summarise(contender, times, sizes)).collect()
}

pub(crate) fn table(rows: &[StartUp]) -> Table {
    let mut table = Table::new([
        ("start-up", Align::Left),
        ("ms", Align::Right),
        ("more", Align::Right),
        ("peak KiB", Align::Right),
        ("more", Align::Right),
    ]);
    let Some(base) = rows.first() else { return table };
    for row in rows {
        let (time, size) = (row.milliseconds, row.peak_rss_kib);
        table.push([
            row.allocator.to_owned(),
            format!("{:.3} ({:.3}–{:.3})", time.median, time.min, time.max),
            format!("{:+.3}", time.median - base.milliseconds.median),
            format!("{:.0} ({:.0}–{:.0})", size.median, size.min, size.max),
            format!("{:+.0}", size.median - base.peak_rss_kib.median),
        ]);
    }
    table
}

fn summarise(contender: &Contender, times: Vec<f64>, sizes: Vec<f64>) -> Result<StartUp> {
    Ok(StartUp {
        allocator: contender.name,
        milliseconds: Spread::of(times).context("no run")?,
        peak_rss_kib: Spread::of(sizes).context("no run")?,
    })
}

/// Timed with nothing beside it: a watchdog's threads would cost more than what is looked for.
fn milliseconds(contender: &Contender) -> Result<f64> {
    let mut command = Command::new("true");
    contender.put_under(&mut command);
    command.stdin(Stdio::null());
    let started = Instant::now();
    let status = command.status().context("starting true")?;
    let took = started.elapsed();
    ensure!(status.success(), "true under {}: {status}", contender.name);
    Ok(took.as_secs_f64() * 1000.0)
}

fn peak_rss_kib(contender: &Contender, reporter: &Path) -> Result<f64> {
    let mut command = Command::new(reporter);
    contender.put_under(&mut command);
    let run = run_measured(&mut command, LIMIT)?;
    ensure!(run.succeeded(), "start_up.c under {}: {}", contender.name, run.ending());
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let figure = text.split_whitespace().next().context("start_up.c prints its peak RSS")?;
    figure.parse().with_context(|| format!("start_up.c printed {text:?}"))
}

fn compile(source: &Path, program: &Path) -> Result<()> {
    fs::create_dir_all(program.parent().context("a file lies in a directory")?)?;
    run(Command::new("cc").arg("-O2").arg(source).arg("-o").arg(program))
}
