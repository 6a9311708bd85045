//! `cargo xtask repeat`: every test again and again, on few CPUs that others want, too.

use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, Message};
use clap::Args;

use crate::dist;
use crate::measured::{Measured, run_measured};
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::test::LIBRARY;
use crate::workspace::Workspace;

/// Run every test of the workspace again and again, on two CPUs each of which another process wants all the time: a
/// test that can fail by chance fails here before it does elsewhere.
///
/// Test binaries run one after the other, as cargo runs them. What a binary says is shown when it fails for the
/// first time; a table of runs comes at the end, and the exit status is 0 only if none failed. Needs taskset.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each binary runs
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u64,

    /// No binary begins later than so many minutes after the first
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,

    /// CPUs that tests may use
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: usize,

    /// Processes that want each of these CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    busy: usize,

    /// Only binaries whose name contains this, as in strata-alloc/ or /misuse
    #[arg(value_name = "PART")]
    filter: Option<String>,
}

/// A binary that takes longer is killed, and has failed.
const LIMIT: Duration = Duration::from_secs(1800);

/// A test binary, and how it did.
struct Binary {
    /// Its package and its target.
    name: String,
    program: PathBuf,
    /// Where cargo runs it.
    directory: PathBuf,
    runs: u64,
    failures: u64,
    longest: Duration,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let allowed = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let mut cpus =
        allowed_cpus(&allowed).context("the kernel does not say which CPUs there are")?;
    ensure!(options.cpus > 0, "tests need a CPU");
    cpus.truncate(options.cpus);
    dist::build_library(workspace, PageSizeName::Eight)?;
    let mut binaries = build(workspace)?;
    if let Some(part) = &options.filter {
        binaries.retain(|binary| binary.name.contains(part.as_str()));
    }
    if binaries.is_empty() {
        bail!("no test binary is named like that");
    }
    let longest = options.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    repeat(&mut binaries, &cpus, options, longest)?;
    Ok(conclude(&binaries))
}

/// The CPUs that the process may run on, from its status: a list as in `0-3,6`.
fn allowed_cpus(status: &str) -> Option<Vec<u32>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

/// Builds all test binaries, as `cargo xtask test` does.
fn build(workspace: &Workspace) -> Result<Vec<Binary>> {
    let mut command = workspace.cargo("test");
    command
        .args(["--workspace", "--exclude", LIBRARY, "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = command.output().context("starting cargo test")?;
    ensure!(output.status.success(), "the tests do not build");
    let messages =
        Message::parse_stream(output.stdout.as_slice()).collect::<Result<Vec<_>, _>>()?;
    let binaries = messages.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) if artifact.profile.test => {
            binary_of(workspace, artifact)
        }
        _ => None,
    });
    Ok(binaries.collect())
}

fn binary_of(workspace: &Workspace, artifact: Artifact) -> Option<Binary> {
    let members = workspace.members();
    let package = members.into_iter().find(|package| package.id == artifact.package_id)?;
    Some(Binary {
        name: format!("{}/{}", package.name, artifact.target.name),
        program: artifact.executable?.into_std_path_buf(),
        directory: package.manifest_path.parent()?.as_std_path().to_owned(),
        runs: 0,
        failures: 0,
        longest: Duration::ZERO,
    })
}

fn repeat(
    binaries: &mut [Binary],
    cpus: &[u32],
    options: &Options,
    longest: Option<Duration>,
) -> Result<()> {
    let _busy = Busy::on(cpus, options.busy)?;
    let began = Instant::now();
    for round in 1..=options.rounds {
        eprintln!("repeat: round {round}");
        for binary in &mut *binaries {
            if longest.is_some_and(|longest| began.elapsed() > longest) {
                return Ok(());
            }
            binary.run(cpus)?;
        }
    }
    Ok(())
}

impl Binary {
    fn run(&mut self, cpus: &[u32]) -> Result<()> {
        let mut command = on_cpus(cpus);
        let run = run_measured(command.arg(&self.program).current_dir(&self.directory), LIMIT)?;
        self.runs += 1;
        self.longest = self.longest.max(run.wall);
        if !run.succeeded() {
            self.failures += 1;
            if self.failures == 1 {
                self.show(&run);
            }
        }
        Ok(())
    }

    fn show(&self, run: &Measured) {
        println!("── {}, run {}: {} ──", self.name, self.runs, run.ending());
        println!("{}", String::from_utf8_lossy(&run.stdout));
        println!("{}", String::from_utf8_lossy(&run.stderr));
    }
}

/// The beginning of a command that runs on these CPUs alone.
fn on_cpus(cpus: &[u32]) -> Command {
    let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &list.join(",")]);
    command
}

/// Processes that do nothing else than want a CPU, until this ends, or the process that made them is gone without a word.
struct Busy(Vec<Child>);

impl Busy {
    /// So many on each of `cpus`.
    fn on(cpus: &[u32], many: usize) -> Result<Self> {
        let mut busy = Self(Vec::new());
        for &cpu in cpus {
            for _ in 0..many {
                let mut command = on_cpus(&[cpu]);
                command.args(["sh", "-c", "while kill -0 $PPID 2> /dev/null; do :; done"]);
                busy.0.push(command.spawn().context("cannot start taskset")?);
            }
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that is gone already needs no more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Prints the table; the last line is the sum.
fn conclude(binaries: &[Binary]) -> ExitCode {
    let mut table = Table::new([
        ("tests", Align::Left),
        ("runs", Align::Right),
        ("failed", Align::Right),
        ("longest s", Align::Right),
    ]);
    for binary in binaries {
        table.push([
            binary.name.clone(),
            binary.runs.to_string(),
            binary.failures.to_string(),
            format!("{:.1}", binary.longest.as_secs_f64()),
        ]);
    }
    println!("{table}");
    let runs: u64 = binaries.iter().map(|binary| binary.runs).sum();
    let failures: u64 = binaries.iter().map(|binary| binary.failures).sum();
    println!("{runs} runs, {failures} failed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests;
