//! `cargo xtask matrix`: the heap suites over page size × page heap × front end.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use clap::Args;

use crate::measured::{Measured, run_measured};
use crate::page_size::PageSizeName;
use crate::suite::Count;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run the heap suites in every cell of page size × page heap × front end.
///
/// Each cell runs in a process of its own; one table of results comes at the end, and the exit
/// status is 0 only if every cell is green. A seed that a test printed is given back by
/// STRATA_SEED, which passes through to the cells.
#[derive(Args)]
pub(crate) struct Options {
    /// Random walks of a few thousand steps
    #[arg(long)]
    pub(crate) short: bool,

    /// The length of random walks
    #[arg(long, value_name = "N", conflicts_with = "short")]
    steps: Option<u64>,

    /// Only cells whose name contains this, as in 4k/ or /temeraire/per_cpu
    #[arg(long, value_name = "PART")]
    cell: Option<String>,

    /// A cell that takes longer is killed and red
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,

    /// Run only tests whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// The last one is the example of a page heap of one's own.
const PAGE_HEAPS: [&str; 3] = ["legacy", "temeraire", "buddy"];
const FRONT_ENDS: [&str; 2] = ["per_cpu", "per_thread"];

/// Steps of a random walk in the short form: some seconds a cell.
const SHORT_STEPS: u64 = 5_000;

/// The profile of the root manifest that the suites are built with.
const PROFILE: &str = "matrix";

/// One combination of the choices that a heap is built from.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    page_size: PageSizeName,
    page_heap: &'static str,
    front_end: &'static str,
}

impl Cell {
    fn all() -> impl Iterator<Item = Self> {
        PageSizeName::ALL.into_iter().flat_map(|page_size| {
            PAGE_HEAPS.into_iter().flat_map(move |page_heap| {
                FRONT_ENDS.map(move |front_end| Self { page_size, page_heap, front_end })
            })
        })
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.page_size.name(), self.page_heap, self.front_end)
    }
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let count = run_cells(workspace, options)?;
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The short form, counted by cells.
pub(crate) fn run_short(workspace: &Workspace) -> Result<Count> {
    let options = Options { short: true, steps: None, cell: None, limit: 300, filter: None };
    run_cells(workspace, &options)
}

fn run_cells(workspace: &Workspace, options: &Options) -> Result<Count> {
    let suites = build(workspace)?;
    let wanted = |cell: &Cell| {
        options.cell.as_ref().is_none_or(|part| cell.to_string().contains(part.as_str()))
    };
    let cells: Vec<Cell> = Cell::all().filter(wanted).collect();
    if cells.is_empty() {
        bail!("no cell is named like that; they are {}", names());
    }

    let mut table = Table::new([
        ("cell", Align::Left),
        ("result", Align::Left),
        ("tests", Align::Right),
        ("s", Align::Right),
        ("peak MiB", Align::Right),
    ]);
    let mut count = Count::default();
    for cell in cells {
        eprintln!("matrix: {cell}");
        let run = run_cell(&suites, cell, options)?;
        let tests = Count::in_output(&String::from_utf8_lossy(&run.stdout));
        let result = judge(&run, tests);
        if result == "green" {
            count.passed += 1;
        } else {
            count.failed += 1;
            show_output(cell, &run);
        }
        table.push([
            cell.to_string(),
            result,
            tests.passed.to_string(),
            format!("{:.1}", run.wall.as_secs_f64()),
            (run.peak_rss_bytes >> 20).to_string(),
        ]);
    }
    println!("{table}");
    println!("{} cells green, {} red", count.passed, count.failed);
    Ok(count)
}

fn names() -> String {
    Cell::all().map(|cell| cell.to_string()).collect::<Vec<_>>().join(", ")
}

fn run_cell(suites: &PathBuf, cell: Cell, options: &Options) -> Result<Measured> {
    let mut command = Command::new(suites);
    command.env("STRATA_MATRIX_CELL", cell.to_string()).args(&options.filter);
    if let Some(steps) = options.steps.or(options.short.then_some(SHORT_STEPS)) {
        command.env("STRATA_MATRIX_STEPS", steps.to_string());
    }
    run_measured(&mut command, Duration::from_secs(options.limit))
}

/// Green, or why not. A cell in which no test ran shows nothing and is red.
fn judge(run: &Measured, tests: Count) -> String {
    if !run.succeeded() {
        return format!("RED: {}", run.ending());
    }
    if tests.passed == 0 {
        return "RED: no test ran".to_owned();
    }
    "green".to_owned()
}

fn show_output(cell: Cell, run: &Measured) {
    println!("── {cell} ──");
    println!("{}", String::from_utf8_lossy(&run.stdout));
    println!("{}", String::from_utf8_lossy(&run.stderr));
}

/// Builds the suites once and returns the program that holds them.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = workspace.cargo("test");
    command
        .args(["--package", "strata-alloc", "--test", "matrix", "--profile", PROFILE])
        .args(["--no-run", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(workspace.target().join("matrix"))
        .stderr(Stdio::inherit());
    let output = command.output().context("starting cargo test")?;
    if !output.status.success() {
        bail!("the heap suites (strata-alloc, tests/matrix.rs) do not build");
    }
    let messages =
        Message::parse_stream(output.stdout.as_slice()).collect::<Result<Vec<_>, _>>()?;
    let mut programs = messages.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) if artifact.target.name == "matrix" => {
            artifact.executable
        }
        _ => None,
    });
    let program = programs.next_back().context("cargo built no program of the heap suites")?;
    Ok(program.into_std_path_buf())
}
