//! `cargo xtask misuse`: what is seen of misuse, case by case, beside the C library's allocator.

mod cost;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::run;
use crate::dist;
use crate::measured::{Measured, run_measured};
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run every case of misuse in a process of its own: on the C library's allocator, by default, with caches of threads
/// instead of CPUs, and hardened.
///
/// There are four tables: Strata's own, cases after other allocators' tests and after collections of attacks,
/// mistakes as programs make them, and cases in circumstances: with caches emptied between, on two CPUs, in
/// handlers and children. A case is EXPLOITED if it reached its aim, reported if the program was ended with a line,
/// stopped if it ended by a signal without one, and contained if it went on in vain. Fails where less is kept or
/// reported than is known to be.
#[derive(Args)]
pub(crate) struct Options {
    /// Only cases, or programs, whose name contains this
    #[arg(value_name = "PART")]
    filter: Option<String>,

    /// Instead of the cases, run real programs in so many rounds, and print what looking for misuse costs them
    #[arg(long, value_name = "ROUNDS")]
    cost: Option<usize>,
}

/// A program of cases, and the least that must be kept and reported of 50: by default, and hardened.
struct Suite {
    name: &'static str,
    source: &'static str,
    compiler: &'static [&'static str],
    default: Least,
    hardened: Least,
}

/// Of 50 cases, so many are not exploited, and so many reported.
#[derive(Clone, Copy)]
struct Least {
    kept: usize,
    reported: usize,
}

const SUITES: [Suite; 4] = [
    Suite {
        name: "Strata's own",
        source: "misuse_table.c",
        compiler: &["cc", "-std=gnu11"],
        default: Least { kept: 38, reported: 28 },
        hardened: Least { kept: 50, reported: 32 },
    },
    Suite {
        name: "after other suites",
        source: "misuse_suites.cc",
        compiler: &["c++", "-std=gnu++17"],
        default: Least { kept: 40, reported: 26 },
        hardened: Least { kept: 50, reported: 32 },
    },
    Suite {
        name: "mistakes of programs",
        source: "misuse_programs.cc",
        compiler: &["c++", "-std=gnu++17"],
        default: Least { kept: 48, reported: 40 },
        hardened: Least { kept: 50, reported: 40 },
    },
    Suite {
        name: "circumstances",
        source: "misuse_circumstances.cc",
        compiler: &["c++", "-std=gnu++17"],
        default: Least { kept: 42, reported: 40 },
        hardened: Least { kept: 50, reported: 40 },
    },
];

/// A case that takes longer is killed.
const LIMIT: Duration = Duration::from_secs(60);

/// What a case ends with that reached its aim.
const EXPLOITED: i32 = 42;

/// One way of running the cases.
struct Mode {
    name: &'static str,
    preloaded: bool,
    conf: &'static str,
}

const MODES: [Mode; 4] = [
    Mode { name: "glibc", preloaded: false, conf: "" },
    Mode { name: "default", preloaded: true, conf: "" },
    Mode { name: "per thread", preloaded: true, conf: "front_end:per_thread" },
    Mode { name: "hardened", preloaded: true, conf: "hardened:true" },
];

/// How cases ended.
#[derive(Clone, Copy, Default)]
struct Count {
    exploited: usize,
    reported: usize,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if let Some(rounds) = options.cost {
        cost::measure(workspace, rounds, options.filter.as_deref().unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    dist::build(workspace, &[PageSizeName::Eight])?;
    let mut enough = true;
    let mut any = false;
    for suite in &SUITES {
        let program = compile(workspace, suite)?;
        let cases = cases_of(&program, options.filter.as_deref().unwrap_or_default())?;
        if cases.is_empty() {
            continue;
        }
        any = true;
        println!("{} ({}):\n", suite.name, suite.source);
        let counts = run_suite(workspace, &program, &cases)?;
        for (mode, count) in MODES.iter().zip(counts) {
            let (kept, all) = (cases.len() - count.exploited, cases.len());
            println!("{:10} {kept} of {all} not exploited, {} reported", mode.name, count.reported);
        }
        println!();
        let [_, default, _, hardened] = counts;
        for (count, least) in [(default, suite.default), (hardened, suite.hardened)] {
            enough &= (cases.len() - count.exploited) * 50 >= least.kept * cases.len();
            enough &= count.reported * 50 >= least.reported * cases.len();
        }
    }
    if !any {
        bail!("no case is named like that");
    }
    Ok(if enough || options.filter.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile(workspace: &Workspace, suite: &Suite) -> Result<PathBuf> {
    let source = workspace.root().join("crates/c-tests/programs").join(suite.source);
    let program = workspace.target().join("misuse").join(suite.source.replace('.', "-"));
    fs::create_dir_all(program.parent().context("a file has a directory")?)?;
    let (compiler, arguments) = suite.compiler.split_first().context("a compiler is named")?;
    let mut compiler = Command::new(compiler);
    compiler.args(arguments);
    compiler.args(["-O1", "-g", "-w", "-fno-builtin", "-pthread", "-o"]);
    run(compiler.arg(&program).arg(source).arg("-ldl"))?;
    Ok(program)
}

fn cases_of(program: &Path, part: &str) -> Result<Vec<String>> {
    let listed = Command::new(program).output().context("starting the cases")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    Ok(names.filter(|case| case.contains(part)).map(str::to_owned).collect())
}

/// Runs every case in every mode, and prints how each ended.
fn run_suite(
    workspace: &Workspace,
    program: &Path,
    cases: &[String],
) -> Result<[Count; MODES.len()]> {
    let names = MODES.iter().map(|mode| (mode.name, Align::Left));
    let mut table = Table::new([("case", Align::Left)].into_iter().chain(names));
    let mut counts = MODES.map(|_| Count::default());
    for case in cases {
        let mut row = vec![case.clone()];
        for (mode, count) in MODES.iter().zip(&mut counts) {
            let end = end_of(&run_case(workspace, program, case, mode)?);
            count.exploited += usize::from(end == "EXPLOITED");
            count.reported += usize::from(end == "reported");
            row.push(end.to_owned());
        }
        table.push(row);
    }
    println!("{table}");
    Ok(counts)
}

fn run_case(workspace: &Workspace, program: &Path, case: &str, mode: &Mode) -> Result<Measured> {
    let mut command = Command::new(program);
    command.arg(case).env_remove("LD_PRELOAD").env("STRATA_CONF", mode.conf);
    if mode.preloaded {
        command.env("LD_PRELOAD", dist::shared_library(workspace, PageSizeName::Eight));
    }
    run_measured(&mut command, LIMIT)
}

fn end_of(run: &Measured) -> &'static str {
    use std::os::unix::process::ExitStatusExt;
    const SIGABRT: i32 = 6;
    match (run.status.signal(), run.status.code()) {
        _ if run.timed_out => "too long",
        (Some(SIGABRT), _) if !run.stderr.is_empty() => "reported",
        (Some(_), _) => "stopped",
        (None, Some(0)) => "contained",
        (None, Some(EXPLOITED)) => "EXPLOITED",
        (None, _) => "failed",
    }
}
