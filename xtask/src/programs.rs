//! `cargo xtask programs`: programs that nobody here wrote, with and without Strata.
//!
//! Each is a shell script under `benches/programs` whose first lines say what it is, which
//! programs it needs and which of them bring a malloc of their own. `SCRIPT prepare SCALE` makes
//! its input, `SCRIPT run SCALE` prints something that depends on the input alone.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::find_program;
use crate::dist;
use crate::measured::{Measured, run_measured};
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run real programs with and without libstrata.so preloaded and compare what they print.
///
/// A program fails if it prints something else or ends otherwise under Strata, if Strata complains
/// on its standard error, or if the library was mapped into none of its processes.
#[derive(Args)]
pub(crate) struct Options {
    /// Small inputs: a second or two a program
    #[arg(long)]
    short: bool,

    /// The pages that Strata serves the programs from
    #[arg(long, value_enum, default_value = "8k")]
    page_size: PageSizeName,

    /// STRATA_CONF for the runs under Strata
    #[arg(long, value_name = "KEY:VALUE,…")]
    conf: Option<String>,

    /// Fail if a program had to be left out
    #[arg(long)]
    strict: bool,

    /// Only these programs
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// A run that takes longer is killed, and the program fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// The same in the long form, where machines are busy with other things.
const LONG_LIMIT: Duration = Duration::from_secs(900);

/// What `prepare` ends with when something that is no program is not there; its last line says what.
pub(crate) const LEFT_OUT: i32 = 77;

/// How large the inputs are in the long form; 1 in the short one.
const LONG_SCALE: u32 = 8;

/// One script, as its first lines describe it.
pub(crate) struct Program {
    pub(crate) name: String,
    script: PathBuf,
    needs: Vec<String>,
    own_malloc: Option<String>,
}

impl Program {
    fn read(script: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&script)?;
        let field = |name: &str| {
            text.lines().take_while(|line| line.starts_with('#')).find_map(|line| {
                line.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned)
            })
        };
        let name = script.file_stem().context("a script has a name")?.to_string_lossy().into();
        let needs = field("needs").unwrap_or_default();
        let needs = needs.split_whitespace().map(str::to_owned).collect();
        Ok(Self { name, needs, own_malloc: field("own malloc"), script })
    }

    /// The first program that it needs and that is not on the path.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.needs.iter().map(String::as_str).find(|need| find_program(need).is_none())
    }

    pub(crate) fn command(&self, verb: &str, scale: u32, directory: &Path) -> Command {
        let mut command = Command::new("sh");
        command.arg(&self.script).arg(verb).arg(scale.to_string()).current_dir(directory);
        command
    }
}

/// What came of one program.
pub(crate) enum Outcome {
    Same,
    LeftOut { missing: String },
    Failed { why: String },
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(f, "ok"),
            Self::LeftOut { missing } => write!(f, "left out: no {missing}"),
            Self::Failed { why } => write!(f, "FAILED: {why}"),
        }
    }
}

/// A program with its outcome, and both runs if they took place.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    own_malloc: Option<String>,
    runs: Option<(Measured, Measured)>,
    /// Processes of the run that had the library mapped.
    processes: usize,
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build(workspace, &[options.page_size])?;
    let comparisons = compare(workspace, options)?;
    let bad = comparisons.iter().any(|comparison| match comparison.outcome {
        Outcome::Same => false,
        Outcome::LeftOut { .. } => options.strict,
        Outcome::Failed { .. } => true,
    });
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The short form of every program; the libraries have been built.
pub(crate) fn run_short(workspace: &Workspace) -> Result<Vec<Comparison>> {
    let options = Options {
        short: true,
        page_size: PageSizeName::Eight,
        conf: None,
        strict: false,
        names: Vec::new(),
    };
    compare(workspace, &options)
}

fn compare(workspace: &Workspace, options: &Options) -> Result<Vec<Comparison>> {
    let library = dist::shared_library(workspace, options.page_size);
    if !library.is_file() {
        bail!("{} has not been built", library.display());
    }
    let mut comparisons = Vec::new();
    for program in chosen(workspace, &options.names)? {
        eprintln!("programs: {}", program.name);
        let directory = workspace.target().join("programs").join(&program.name);
        comparisons.push(compare_one(&program, &directory, &library, options)?);
    }
    println!("{}", table_of(&comparisons));
    for comparison in &comparisons {
        if let Some(note) = &comparison.own_malloc {
            println!("{} brings its own malloc: {note}", comparison.name);
        }
    }
    Ok(comparisons)
}

pub(crate) fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<Program>> {
    let directory = workspace.root().join("benches/programs");
    let mut programs = Vec::new();
    for entry in
        fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sh") {
            programs.push(Program::read(path)?);
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(unknown) = names.iter().find(|name| !programs.iter().any(|p| &p.name == *name)) {
        bail!("there is no program {unknown} under {}", directory.display());
    }
    programs.retain(|program| names.is_empty() || names.contains(&program.name));
    Ok(programs)
}

fn compare_one(
    program: &Program,
    directory: &Path,
    library: &Path,
    options: &Options,
) -> Result<Comparison> {
    let mut comparison = Comparison {
        name: program.name.clone(),
        outcome: Outcome::Same,
        own_malloc: program.own_malloc.clone(),
        runs: None,
        processes: 0,
    };
    if let Some(missing) = program.missing() {
        comparison.outcome = Outcome::LeftOut { missing: missing.to_owned() };
        return Ok(comparison);
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let (work, loaded) = (directory.join("work"), directory.join("loaded"));
    fs::create_dir_all(&work)?;
    fs::create_dir_all(&loaded)?;
    // Servers that change their user write there too.
    fs::set_permissions(&loaded, Permissions::from_mode(0o777))?;

    let (scale, limit) = if options.short { (1, LIMIT) } else { (LONG_SCALE, LONG_LIMIT) };
    let prepared = run_measured(&mut program.command("prepare", scale, &work), limit)?;
    if prepared.status.code() == Some(LEFT_OUT) {
        comparison.outcome = Outcome::LeftOut { missing: last_line(&prepared.stderr) };
        return Ok(comparison);
    }
    if !prepared.succeeded() {
        let why = format!("its input could not be made: {}", last_line(&prepared.stderr));
        comparison.outcome = Outcome::Failed { why };
        return Ok(comparison);
    }
    let without = run_measured(&mut program.command("run", scale, &work), limit)?;
    let mut preloaded = program.command("run", scale, &work);
    preloaded.env("LD_PRELOAD", library);
    // The dynamic loader then writes a file per process that names what it has mapped.
    preloaded.env("LD_DEBUG", "files").env("LD_DEBUG_OUTPUT", loaded.join("process"));
    if let Some(conf) = &options.conf {
        preloaded.env("STRATA_CONF", conf);
    }
    let with = run_measured(&mut preloaded, limit)?;

    comparison.processes = processes_with(library, &loaded)?;
    if let Some(why) = difference(&without, &with, comparison.processes) {
        save(directory, &without, &with)?;
        let why = format!("{why} (see {})", directory.display());
        comparison.outcome = Outcome::Failed { why };
    }
    comparison.runs = Some((without, with));
    Ok(comparison)
}

/// How many of the files that the loader wrote name `library`.
fn processes_with(library: &Path, directory: &Path) -> Result<usize> {
    let library = library.to_string_lossy();
    let mut processes = 0;
    for entry in fs::read_dir(directory)? {
        let text = fs::read(entry?.path())?;
        processes += usize::from(String::from_utf8_lossy(&text).contains(library.as_ref()));
    }
    Ok(processes)
}

/// What is wrong with the second run, in words.
fn difference(without: &Measured, with: &Measured, processes: usize) -> Option<String> {
    if !without.succeeded() {
        let last = last_line(&without.stderr);
        return Some(format!("already without Strata: {}, {last}", without.ending()));
    }
    if !with.succeeded() {
        return Some(format!("{}, {}", with.ending(), last_line(&with.stderr)));
    }
    if let Some(line) = complaint(&with.stderr) {
        return Some(line);
    }
    if with.stdout != without.stdout {
        return Some("the output differs".to_owned());
    }
    (processes == 0).then(|| "no process had the library mapped".to_owned())
}

/// A line of Strata's or of the dynamic loader's.
fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let ours = |line: &&str| line.starts_with("strata: ") || line.starts_with("ERROR: ld.so");
    text.lines().find(ours).map(str::to_owned)
}

pub(crate) fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next_back().unwrap_or("nothing on stderr").to_owned()
}

fn save(directory: &Path, without: &Measured, with: &Measured) -> Result<()> {
    for (name, run) in [("without", without), ("with", with)] {
        fs::write(directory.join(format!("{name}.stdout")), &run.stdout)?;
        fs::write(directory.join(format!("{name}.stderr")), &run.stderr)?;
    }
    Ok(())
}

fn table_of(comparisons: &[Comparison]) -> Table {
    let mut table = Table::new([
        ("program", Align::Left),
        ("result", Align::Left),
        ("processes", Align::Right),
        ("s without", Align::Right),
        ("s with", Align::Right),
        ("peak MiB without", Align::Right),
        ("peak MiB with", Align::Right),
    ]);
    for comparison in comparisons {
        let mut cells = vec![comparison.name.clone(), comparison.outcome.to_string()];
        if let Some((without, with)) = &comparison.runs {
            cells.push(comparison.processes.to_string());
            cells.extend([without, with].map(|run| format!("{:.2}", run.wall.as_secs_f64())));
            cells.extend([without, with].map(|run| (run.peak_rss_bytes >> 20).to_string()));
        }
        table.push(cells);
    }
    table
}

#[cfg(test)]
mod tests;
