//! Runs in which every call is timed, and which stay idle at the end.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use strata_workloads::warm_up;

use super::contender::Contender;
use super::record::{Cell, Row};
use super::rounds::{Sample, float, in_turns, reach, rounded};

/// A process that did its work and now sleeps.
struct Idler {
    /// Where its figure belongs: row and allocator.
    row: usize,
    allocator: String,
    child: Child,
    output: BufReader<ChildStdout>,
    rss_kib: u64,
}

#[derive(Deserialize)]
struct AfterIdling {
    idle_rss_kib: u64,
}

/// Every contender does every workload once a round, with a clock beside each call. Processes that
/// sleep at their end do so while others work, as long as memory allows.
pub(crate) fn run(
    contenders: &[Contender],
    rows: &mut [Row],
    rounds: usize,
    percent: usize,
    idle_seconds: u64,
) {
    let room_kib = available_kib() / 3;
    for round in 0..rounds {
        let mut idlers = VecDeque::new();
        for number in 0..rows.len() {
            let Some(row) = rows.get_mut(number) else { continue };
            eprint!(
                "\r\x1b[Kbench: every call timed, round {} of {rounds}, {}",
                round + 1,
                row.workload
            );
            let name = row.workload.clone();
            in_turns(contenders, row, round, |contender, cell| {
                let idler = start(contender, &name, number, percent, idle_seconds, cell)?;
                idlers.push_back(idler);
                Ok(())
            });
            while idlers.iter().map(|idler| idler.rss_kib).sum::<u64>() > room_kib {
                let Some(first) = idlers.pop_front() else { break };
                end(first, rows, idle_seconds);
            }
        }
        idlers.into_iter().for_each(|idler| end(idler, rows, idle_seconds));
    }
    eprint!("\r\x1b[K");
}

/// Starts a run and waits for its figures; the process then goes on to idle.
fn start(
    contender: &Contender,
    workload: &str,
    row: usize,
    percent: usize,
    idle_seconds: u64,
    cell: &mut Cell,
) -> Result<Idler> {
    warm_up(reach(workload, percent));
    let mut command = contender.command();
    command.arg(workload).arg(percent.to_string()).arg("watched").arg(idle_seconds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting it")?;
    let mut output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.is_empty() {
        let mut said = String::new();
        if let Some(mut errors) = child.stderr.take() {
            errors.read_to_string(&mut said)?;
        }
        let status = child.wait()?;
        anyhow::bail!("{status}: {}", said.trim());
    }
    let sample: Sample = serde_json::from_str(&line).context("reading its figures")?;
    if let Some(seen) = sample.latencies.as_ref().filter(|seen| seen.calls > 0) {
        cell.p50.push(rounded(seen.p50));
        cell.p99.push(rounded(seen.p99));
        cell.p999.push(rounded(seen.p999));
        cell.longest.push(seen.max.round());
    }
    let allocator = cell.allocator.clone();
    Ok(Idler { row, allocator, child, output, rss_kib: sample.rss_kib })
}

/// Waits for a process that idles, and enters what it occupied at its end.
fn end(idler: Idler, rows: &mut [Row], idle_seconds: u64) {
    let Idler { row, allocator, .. } = &idler;
    let row = rows.get_mut(*row);
    let cell = row.and_then(|row| row.cells.iter_mut().find(|c| c.allocator == *allocator));
    let Some(cell) = cell else { return };
    match after_idling(idler, idle_seconds) {
        Ok(kib) => cell.final_rss_kib.push(float(kib)),
        Err(error) => cell.failures.push(format!("while idle: {error:#}")),
    }
}

fn after_idling(mut idler: Idler, idle_seconds: u64) -> Result<u64> {
    let mut rest = String::new();
    idler.output.read_to_string(&mut rest)?;
    let status = idler.child.wait()?;
    ensure!(status.success(), "{status}");
    if idle_seconds == 0 {
        return Ok(idler.rss_kib);
    }
    let after: AfterIdling = serde_json::from_str(&rest).context("reading its last figure")?;
    Ok(after.idle_rss_kib)
}

/// What the kernel thinks it could still hand out.
fn available_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
