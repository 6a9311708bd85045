//! `cargo xtask test`: everything that needs only Rust and a C compiler.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::shown;
use crate::dist;
use crate::documents;
use crate::hotpath;
use crate::layers;
use crate::library_tests::{self, Selection};
use crate::loom;
use crate::matrix;
use crate::page_size::PageSizeName;
use crate::programs::{self, Outcome};
use crate::simulate;
use crate::suite::Count;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run every check and test: format, layers, documents, clippy here and for aarch64, documentation, the libraries
/// and their hot path, unit, integration and doc tests, heaps of a tebibyte and a day on 256 CPUs, and the short
/// forms of matrix, loom and programs.
///
/// Needs only Rust and a C compiler. What had to be left out for want of a program is named at
/// the end.
#[derive(Args)]
pub(crate) struct Options {
    /// Fail if anything had to be left out
    #[arg(long)]
    strict: bool,

    /// Only these steps, by the names in the table
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,

    /// Not these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    without: Vec<String>,
}

/// The package that needs a cargo invocation of its own: it is `no_std` with a panic handler, and
/// cannot be linked into a test harness.
pub(crate) const LIBRARY: &str = "strata-c";

/// The tests of the libraries, which run once these have been built.
pub(crate) const LIBRARY_TESTS: &str = "strata-c-tests";

/// The other machine that all crates compile for.
const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// What a step did.
#[derive(Default)]
struct Done {
    count: Count,
    /// What it could not do, and the program that was missing for it.
    left_out: Vec<String>,
}

impl Done {
    /// A check that either holds or does not counts as one test.
    fn check(holds: bool) -> Self {
        let count = Count { passed: u64::from(holds), failed: u64::from(!holds) };
        Self { count, left_out: Vec::new() }
    }

    fn left_out(what: &str, missing: &str) -> Self {
        Self { count: Count::default(), left_out: vec![format!("{what}: no {missing}")] }
    }
}

/// One line of the table at the end.
struct Line {
    name: &'static str,
    done: Done,
    took: Duration,
    error: Option<String>,
}

impl Line {
    fn failed(&self) -> bool {
        self.error.is_some() || self.done.count.failed > 0
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "FAILED: {error}"),
            None if self.failed() => write!(f, "FAILED"),
            None if self.done.left_out.is_empty() => write!(f, "ok"),
            None => write!(f, "left out {}", self.done.left_out.len()),
        }
    }
}

type Step = (&'static str, fn(&Workspace) -> Result<Done>);

const STEPS: [Step; 14] = [
    ("format", format),
    ("layers", layers),
    ("documents", documents),
    ("clippy", clippy),
    ("aarch64", aarch64),
    ("documentation", documentation),
    ("libraries", libraries),
    ("hotpath", hotpath),
    ("workspace", workspace_tests),
    ("c", tests_of_the_libraries),
    ("simulate", simulate),
    ("matrix", matrix),
    ("loom", loom),
    ("programs", programs),
];

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    for name in options.only.iter().chain(&options.without) {
        let known = STEPS.iter().any(|(step, _)| step == name);
        anyhow::ensure!(known, "there is no step {name}");
    }
    let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
    let wanted = |name: &str| {
        (options.only.is_empty() || has(&options.only, name)) && !has(&options.without, name)
    };
    let mut lines = Vec::new();
    for (name, step) in STEPS {
        if wanted(name) {
            lines.push(perform_step(workspace, name, step));
        }
    }
    Ok(conclude(&lines, options.strict))
}

fn perform_step(
    workspace: &Workspace,
    name: &'static str,
    step: fn(&Workspace) -> Result<Done>,
) -> Line {
    println!("\n══ {name}");
    let started = Instant::now();
    match step(workspace) {
        Ok(done) => Line { name, done, took: started.elapsed(), error: None },
        Err(error) => {
            let done = Done::check(false);
            Line { name, done, took: started.elapsed(), error: Some(format!("{error:#}")) }
        }
    }
}

/// Prints the table, what was left out and the sum; the last line is the sum.
fn conclude(lines: &[Line], strict: bool) -> ExitCode {
    let mut table = Table::new([
        ("step", Align::Left),
        ("passed", Align::Right),
        ("failed", Align::Right),
        ("s", Align::Right),
        ("result", Align::Left),
    ]);
    let mut sum = Count::default();
    for line in lines {
        sum += line.done.count;
        table.push([
            line.name.to_owned(),
            line.done.count.passed.to_string(),
            line.done.count.failed.to_string(),
            format!("{:.0}", line.took.as_secs_f64()),
            line.to_string(),
        ]);
    }
    println!("\n{table}");
    let left_out: Vec<&String> = lines.iter().flat_map(|line| &line.done.left_out).collect();
    for what in &left_out {
        println!("left out: {what}");
    }
    let failed = lines.iter().any(Line::failed);
    let incomplete = strict && !left_out.is_empty();
    if incomplete {
        println!("nothing may be left out of a strict run");
    }
    println!("{} passed, {} failed, {} left out", sum.passed, sum.failed, left_out.len());
    if failed || incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn format(workspace: &Workspace) -> Result<Done> {
    let mut members = workspace.cargo("fmt");
    members.args(["--all", "--", "--check"]);
    // The peers are no members; their programs are formatted like the rest.
    let mut peers = Command::new("rustfmt");
    peers.args(["--check", "--edition", "2024"]).current_dir(workspace.root());
    for peer in fs::read_dir(workspace.root().join("benches/peers"))? {
        peers.arg(peer?.path().join("src/main.rs"));
    }
    check_all([members, peers])
}

fn layers(workspace: &Workspace) -> Result<Done> {
    let code = layers::perform(workspace, &layers::Options {})?;
    Ok(Done::check(code == ExitCode::SUCCESS))
}

fn documents(workspace: &Workspace) -> Result<Done> {
    let code = documents::perform(workspace, &documents::Options {})?;
    Ok(Done::check(code == ExitCode::SUCCESS))
}

fn clippy(workspace: &Workspace) -> Result<Done> {
    let mut most = workspace.cargo("clippy");
    most.args(["--workspace", "--exclude", LIBRARY, "--all-targets", "--", "-D", "warnings"]);
    let mut library = workspace.cargo("clippy");
    library.args(["--package", LIBRARY, "--profile", "dist", "--", "-D", "warnings"]);
    check_all([most, library])
}

/// Nothing runs there: what the code of other machines is worth stands in docs/LIMITS.md. It compiles, without warnings.
fn aarch64(workspace: &Workspace) -> Result<Done> {
    if !has_target(workspace, AARCH64)? {
        return Ok(Done::left_out("aarch64", &format!("Rust target {AARCH64}")));
    }
    let mut most = workspace.cargo("clippy");
    most.args(["--workspace", "--exclude", LIBRARY, "--target", AARCH64]);
    let mut library = workspace.cargo("clippy");
    library.args(["--package", LIBRARY, "--profile", "dist", "--target", AARCH64]);
    for cargo in [&mut most, &mut library] {
        cargo.args(["--", "-D", "warnings"]);
    }
    check_all([most, library])
}

/// Whether the standard library of another machine is installed.
fn has_target(workspace: &Workspace, target: &str) -> Result<bool> {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", target]).current_dir(workspace.root());
    let output = command.output().with_context(|| format!("starting {}", shown(&command)))?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn documentation(workspace: &Workspace) -> Result<Done> {
    // The command and the library are both called strata: one invocation cannot document both.
    let mut most = workspace.cargo("doc");
    most.args(["--workspace", "--no-deps", "--exclude", "strata-cli"]);
    let mut command = workspace.cargo("doc");
    command.args(["--package", "strata-cli", "--no-deps"]);
    for cargo in [&mut most, &mut command] {
        cargo.arg("--keep-going").env("RUSTDOCFLAGS", "-D warnings");
    }
    check_all([most, command])
}

fn libraries(workspace: &Workspace) -> Result<Done> {
    dist::build(workspace, &PageSizeName::ALL)?;
    Ok(Done::check(true))
}

fn hotpath(workspace: &Workspace) -> Result<Done> {
    Ok(match hotpath::check(workspace)? {
        Some(outcome) => {
            let count = Count { passed: outcome.passed, failed: outcome.failed };
            Done { count, left_out: Vec::new() }
        }
        None => Done::left_out("hotpath", "x86-64"),
    })
}

fn workspace_tests(workspace: &Workspace) -> Result<Done> {
    let mut command = workspace.cargo("test");
    command.args(["--workspace", "--no-fail-fast", "--exclude", LIBRARY]);
    if workspace.member(LIBRARY_TESTS).is_some() {
        command.args(["--exclude", LIBRARY_TESTS]);
    }
    counted(&mut command)
}

fn tests_of_the_libraries(workspace: &Workspace) -> Result<Done> {
    let Some(package) = workspace.member(LIBRARY_TESTS) else { return Ok(Done::default()) };
    let Selection { command, left_out } = library_tests::select(workspace, package);
    let count = command.map(|mut command| counted(&mut command)).transpose()?;
    Ok(Done { count: count.unwrap_or_default().count, left_out })
}

fn matrix(workspace: &Workspace) -> Result<Done> {
    Ok(Done { count: matrix::run_short(workspace)?, left_out: Vec::new() })
}

fn simulate(workspace: &Workspace) -> Result<Done> {
    simulate::in_short(workspace)?;
    Ok(Done::check(true))
}

fn loom(workspace: &Workspace) -> Result<Done> {
    let mut done = Done::default();
    for package in loom::packages(workspace) {
        done.count += counted(&mut loom::cargo_test(workspace, package, true))?.count;
    }
    Ok(done)
}

fn programs(workspace: &Workspace) -> Result<Done> {
    let mut done = Done::default();
    for comparison in programs::run_short(workspace)? {
        match comparison.outcome {
            Outcome::Same => done.count.passed += 1,
            Outcome::Failed { .. } => done.count.failed += 1,
            Outcome::LeftOut { missing } => {
                done.left_out.push(format!("{}: no {missing}", comparison.name));
            }
        }
    }
    Ok(done)
}

/// Runs commands that check one thing each.
fn check_all<const N: usize>(commands: [Command; N]) -> Result<Done> {
    let mut done = Done::default();
    for mut command in commands {
        let status = command.status().with_context(|| format!("starting {}", shown(&command)))?;
        done.count += Done::check(status.success()).count;
    }
    Ok(done)
}

/// Runs a cargo test, shows what it prints and counts its tests. A command that fails without a
/// failed test, because something does not build, counts as one.
fn counted(command: &mut Command) -> Result<Done> {
    command.stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", shown(command)))?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            count += Count::in_line(&line);
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(Done { count, left_out: Vec::new() })
}
