//! What looking for misuse costs programs that nobody here wrote.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::bench::spread::geometric_mean;
use crate::dist;
use crate::measured::run_measured;
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Scripts of `benches/programs` whose work is done in processes that they wait for, so that its time is known.
const PROGRAMS: [&str; 8] = ["gcc", "git", "lua", "perl", "python", "ruby", "sort", "sqlite"];

/// A run that takes longer is killed.
const LIMIT: Duration = Duration::from_secs(300);

/// Who runs a program: a name, the library if one is preloaded, and its options.
struct Runner {
    name: &'static str,
    library: Option<PathBuf>,
    conf: &'static str,
}

/// Runs each program under each runner in turn, `rounds` times; prints the least times of user and system of the
/// library that does not look, in seconds, and the others' as parts of it.
pub(super) fn measure(workspace: &Workspace, rounds: usize, part: &str) -> Result<()> {
    ensure!(rounds > 0, "without a round there is nothing to compare");
    dist::build_library(workspace, PageSizeName::Eight)?;
    let library = dist::shared_library(workspace, PageSizeName::Eight);
    let unchecked = dist::build_unchecked_library(workspace)?;
    let runner = |name, library, conf| Runner { name, library, conf };
    let runners = [
        runner("unchecked", Some(unchecked), ""),
        runner("default", Some(library.clone()), ""),
        runner("hardened", Some(library), "hardened:true"),
        runner("glibc", None, ""),
    ];
    let columns = runners.iter().map(|runner| (runner.name, Align::Right));
    let mut table = Table::new([("program", Align::Left)].into_iter().chain(columns));
    let mut parts: [Vec<f64>; 4] = Default::default();
    for program in PROGRAMS.into_iter().filter(|program| program.contains(part)) {
        eprintln!("misuse: {program}");
        let Some(work) = prepare(workspace, program)? else {
            table.push([program, "left out"]);
            continue;
        };
        let least = least_times(workspace, program, &work, &runners, rounds)?;
        let [first, ..] = least;
        let mut cells = vec![program.to_owned(), format!("{first:.3} s")];
        for (own, part) in least.iter().zip(&mut parts) {
            part.push(own / first);
        }
        cells.extend(least.iter().skip(1).map(|own| format!("{:.2}", own / first)));
        table.push(cells);
    }
    let means = parts.each_ref().map(|parts| geometric_mean(parts).unwrap_or(f64::NAN));
    let shown = means.iter().map(|mean| format!("{mean:.2}"));
    table.push(["geometric mean".to_owned()].into_iter().chain(shown));
    println!("{table}");
    let [_, default, hardened, _] = means;
    println!("hardened: {:.2} times default", hardened / default);
    Ok(())
}

/// Makes a program's input; none if something that it needs is not there.
fn prepare(workspace: &Workspace, program: &str) -> Result<Option<PathBuf>> {
    let work = workspace.target().join("misuse/programs").join(program);
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let prepared = run_measured(&mut command(workspace, program, "prepare", &work), LIMIT)?;
    Ok(prepared.succeeded().then_some(work))
}

fn least_times(
    workspace: &Workspace,
    program: &str,
    work: &Path,
    runners: &[Runner; 4],
    rounds: usize,
) -> Result<[f64; 4]> {
    let mut least = [f64::INFINITY; 4];
    for _ in 0..rounds {
        for (runner, least) in runners.iter().zip(&mut least) {
            let mut command = command(workspace, program, "run", work);
            command.env_remove("LD_PRELOAD").env("STRATA_CONF", runner.conf);
            if let Some(library) = &runner.library {
                command.env("LD_PRELOAD", library);
            }
            let run = run_measured(&mut command, LIMIT)?;
            ensure!(run.succeeded(), "{program} under {}: {}", runner.name, run.ending());
            *least = least.min(run.cpu.as_secs_f64());
        }
    }
    Ok(least)
}

fn command(workspace: &Workspace, program: &str, verb: &str, work: &Path) -> Command {
    let script = workspace.root().join("benches/programs").join(format!("{program}.sh"));
    let mut command = Command::new("sh");
    command.arg(script).args([verb, "1"]).current_dir(work);
    command
}
