//! `cargo xtask misuse`: what is seen of misuse, case by case, beside the C library's allocator.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::run;
use crate::dist;
use crate::measured::{Measured, run_measured};
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run every case of misuse in a process of its own: on the C library's allocator, by default, and hardened.
///
/// A case is exploited if it reached its aim, reported if the program was ended with a line, stopped if it ended by a
/// signal without one, and contained if it went on in vain. Fails where less is kept or reported than is known to be:
/// by default three quarters are not exploited and half are reported, in a hardened heap none and two thirds.
#[derive(Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this
    #[arg(value_name = "PART")]
    filter: Option<String>,
}

/// The source of the cases, in the workspace.
const SOURCE: &str = "crates/c-tests/programs/misuse_table.c";

/// A case that takes longer is killed.
const LIMIT: Duration = Duration::from_secs(60);

/// What a case ends with that reached its aim.
const EXPLOITED: i32 = 42;

/// One way of running the cases, and the least that it must reach, of 50.
struct Mode {
    name: &'static str,
    preloaded: bool,
    conf: &'static str,
    least_kept: usize,
    least_reported: usize,
}

const MODES: [Mode; 3] = [
    Mode { name: "glibc", preloaded: false, conf: "", least_kept: 0, least_reported: 0 },
    Mode { name: "default", preloaded: true, conf: "", least_kept: 37, least_reported: 26 },
    Mode {
        name: "hardened",
        preloaded: true,
        conf: "hardened:true",
        least_kept: 50,
        least_reported: 32,
    },
];

/// How cases ended.
#[derive(Default)]
struct Count {
    exploited: usize,
    reported: usize,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build(workspace, &[PageSizeName::Eight])?;
    let program = workspace.target().join("misuse/misuse_table");
    fs::create_dir_all(program.parent().context("a file has a directory")?)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O1", "-g", "-w", "-fno-builtin", "-pthread", "-o"]);
    run(compiler.arg(&program).arg(workspace.root().join(SOURCE)).arg("-ldl"))?;
    let listed = Command::new(&program).output().context("starting the cases")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let part = options.filter.as_deref().unwrap_or_default();
    let cases: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|case| case.contains(part))
        .collect();
    if cases.is_empty() {
        bail!("no case is named like that");
    }

    let mut table = Table::new([
        ("case", Align::Left),
        ("glibc", Align::Left),
        ("default", Align::Left),
        ("hardened", Align::Left),
    ]);
    let mut counts = MODES.map(|_| Count::default());
    for case in &cases {
        let mut row = vec![(*case).to_owned()];
        for (mode, count) in MODES.iter().zip(&mut counts) {
            let end = end_of(&run_case(workspace, &program, case, mode)?);
            count.exploited += usize::from(end == "EXPLOITED");
            count.reported += usize::from(end == "reported");
            row.push(end);
        }
        let row: [String; 4] = row.try_into().map_err(|_| anyhow::anyhow!("three modes"))?;
        table.push(row);
    }
    println!("{table}");
    let mut enough = true;
    for (mode, count) in MODES.iter().zip(&counts) {
        let kept = cases.len() - count.exploited;
        println!(
            "{:9} {kept} of {} not exploited, {} reported",
            mode.name,
            cases.len(),
            count.reported
        );
        enough &= kept * 50 >= mode.least_kept * cases.len();
        enough &= count.reported * 50 >= mode.least_reported * cases.len();
    }
    Ok(if enough || options.filter.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_case(workspace: &Workspace, program: &Path, case: &str, mode: &Mode) -> Result<Measured> {
    let mut command = Command::new(program);
    command.arg(case).env_remove("LD_PRELOAD").env("STRATA_CONF", mode.conf);
    if mode.preloaded {
        command.env("LD_PRELOAD", dist::shared_library(workspace, PageSizeName::Eight));
    }
    run_measured(&mut command, LIMIT)
}

fn end_of(run: &Measured) -> String {
    use std::os::unix::process::ExitStatusExt;
    const SIGABRT: i32 = 6;
    let end = match (run.status.signal(), run.status.code()) {
        _ if run.timed_out => "too long",
        (Some(SIGABRT), _) if !run.stderr.is_empty() => "reported",
        (Some(_), _) => "stopped",
        (None, Some(0)) => "contained",
        (None, Some(EXPLOITED)) => "EXPLOITED",
        (None, _) => "failed",
    };
    end.to_owned()
}
