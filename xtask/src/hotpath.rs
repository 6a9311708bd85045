//! `cargo xtask hotpath`: the fast paths of the release build, held against a table.

mod golden;
mod kinds;
mod path;
mod sections;
mod symbol;

use core::ops::Add;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use iced_x86::{Formatter, Instruction, IntelFormatter};

use self::golden::{Entry, Golden, Verdict};
use self::kinds::Kinds;
use self::path::Code;
use crate::command::{run, shown};
use crate::dist;
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Hold the fast paths of malloc, free, operator new and delete, and GlobalAlloc against a table.
///
/// Builds libstrata.so as `cargo xtask dist` does, and a Rust program whose global allocator is
/// `Heap`; disassembles both; and counts the instructions of each function's fast path by kind. Fails if
/// one of them calls, has a lock prefix or divides, and if a number differs from xtask/hotpath.toml.
/// That table names the compiler it was made with: where another one compiles, or RUSTFLAGS is set,
/// a difference is a warning.
///
/// The fast path begins at the entry and takes no conditional jump, unless what stands behind the
/// jump leaves the function before it branches again, and the jump's target does not. It follows
/// jumps within the function and ends at the first return. A jump out of the function is a call.
///
/// Every copy of a restartable sequence in both files is looked at too: that it begins right behind the store that
/// names it, ends with its commit, and leaves as they are the registers that a second run reads.
///
/// loads, stores and read_modify_writes are instructions that access memory so; compares are cmp, test
/// and bt; locked are a lock prefix, xchg with memory and mfence. x86-64 only.
#[derive(Args)]
pub(crate) struct Options {
    /// Write the table anew from what is found; fails if a path has what none may have
    #[arg(long)]
    bless: bool,

    /// Print the instructions of every path
    #[arg(long)]
    listing: bool,
}

/// The program of `strata-benches` that is looked at.
const PROGRAM: &str = "hotpath";

/// A function whose path is pinned: in which file, its name for people, and the linker's.
struct Function {
    file: File,
    name: &'static str,
    symbol: &'static str,
}

#[derive(Clone, Copy)]
enum File {
    Library,
    Program,
}

const FUNCTIONS: [Function; 6] = [
    Function { file: File::Library, name: "malloc", symbol: "malloc" },
    Function { file: File::Library, name: "free", symbol: "free" },
    Function { file: File::Library, name: "operator new", symbol: "_Znwm" },
    Function { file: File::Library, name: "operator delete, sized", symbol: "_ZdlPvm" },
    Function { file: File::Program, name: "GlobalAlloc::alloc", symbol: "hotpath_alloc" },
    Function { file: File::Program, name: "GlobalAlloc::dealloc", symbol: "hotpath_dealloc" },
];

/// A function's path, as it was found.
struct Found {
    entry: Entry,
    path: Vec<(Instruction, Kinds)>,
}

/// What the comparison with the table came to, and the look at the sections.
pub(crate) struct Outcome {
    /// Functions and sections that are as they should be, or whose difference another compiler excuses.
    pub(crate) passed: u64,
    /// Those that are not.
    pub(crate) failed: u64,
}

impl Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let files = Files::build(workspace)?.context("this machine is no x86-64")?;
    let found = files.find_all()?;
    if options.listing {
        found.iter().for_each(print_listing);
    }
    let file = Golden::file(workspace);
    if options.bless {
        return bless(&found, &file);
    }
    let outcome = compare(&found, &file)? + look_at_sections(&files)?;
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds, compares with the table, and looks at the sections; none on a machine that is no x86-64.
pub(crate) fn check(workspace: &Workspace) -> Result<Option<Outcome>> {
    let Some(files) = Files::build(workspace)? else {
        return Ok(None);
    };
    let paths = compare(&files.find_all()?, &Golden::file(workspace))?;
    Ok(Some(paths + look_at_sections(&files)?))
}

/// What is looked at.
struct Files {
    library: PathBuf,
    program: PathBuf,
}

impl Files {
    /// Builds both; none on a machine that is no x86-64.
    fn build(workspace: &Workspace) -> Result<Option<Self>> {
        dist::build_library(workspace, PageSizeName::Eight)?;
        let library = dist::shared_library(workspace, PageSizeName::Eight);
        if !symbol::is_x86_64(&library)? {
            return Ok(None);
        }
        Ok(Some(Self { library, program: build_program(workspace)? }))
    }

    fn find_all(&self) -> Result<Vec<Found>> {
        let found = FUNCTIONS.iter().map(|function| {
            let file = match function.file {
                File::Library => &self.library,
                File::Program => &self.program,
            };
            let code = symbol::code_of(file, function.symbol)?;
            find(function, &code).with_context(|| function.name)
        });
        found.collect()
    }
}

/// Prints what is wrong with sections of both files, and counts them.
fn look_at_sections(files: &Files) -> Result<Outcome> {
    let mut outcome = Outcome { passed: 0, failed: 0 };
    for file in [&files.library, &files.program] {
        let sections::Found { sections, faults } = sections::look_at_all(file)?;
        println!("{sections} restartable sequences in {}", file.display());
        for fault in &faults {
            println!("{fault}");
        }
        let failed = faults.len();
        outcome = outcome + Outcome { passed: (sections - failed) as u64, failed: failed as u64 };
    }
    Ok(outcome)
}

/// In a target directory of its own, so that no other build unites its features with these.
fn build_program(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target().join("hotpath");
    run(workspace
        .cargo("build")
        .args(["--package", "strata-benches", "--bin", PROGRAM, "--release", "--target-dir"])
        .arg(&target))?;
    Ok(target.join("release").join(PROGRAM))
}

fn find(function: &Function, code: &Code) -> Result<Found> {
    let mut sum = Kinds::default();
    let mut path = Vec::new();
    for instruction in code.fast_path()? {
        let kinds = Kinds::of(&instruction, code.is_call(&instruction));
        sum += kinds;
        path.push((instruction, kinds));
    }
    Ok(Found { entry: Entry { function: function.name.to_owned(), kinds: sum }, path })
}

fn bless(found: &[Found], file: &Path) -> Result<ExitCode> {
    let entries: Vec<Entry> = found.iter().map(|found| found.entry.clone()).collect();
    println!("{}", table(found, None));
    let forbidden = print_forbidden(found);
    ensure!(forbidden == 0, "nothing written: no table allows that");
    Golden { rustc: compiler()?, path: entries }.write(file)?;
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// Prints both tables and what is wrong.
fn compare(found: &[Found], file: &Path) -> Result<Outcome> {
    let golden = Golden::read(file)?;
    println!("{}", table(found, Some(&golden)));
    print_forbidden(found);

    let excuse = excuse(&golden)?;
    let verdicts: Vec<Verdict> =
        found.iter().map(|found| golden.verdict(&found.entry, excuse.is_none())).collect();
    let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|v| wanted(v)).count();
    let excused = count(|&verdict| verdict == Verdict::ExcusablyDifferent);
    if let Some(excuse) = excuse.filter(|_| excused > 0) {
        println!("warning: differences are excused in {excused}: the table {excuse}");
    }
    let entries: Vec<Entry> = found.iter().map(|found| found.entry.clone()).collect();
    let superfluous = golden.superfluous(&entries);
    for name in &superfluous {
        println!("{name} is in the table and nowhere else");
    }
    let different = count(|&verdict| verdict == Verdict::Different) + superfluous.len();
    if different > 0 {
        println!("differences from xtask/hotpath.toml: {different}");
        println!("`cargo xtask hotpath --listing` shows the instructions");
        println!("`cargo xtask hotpath --bless` makes what is found the table, if it is meant so");
    }
    let failed = count(|verdict| verdict.is_failure()) + superfluous.len();
    let passed = count(|verdict| !verdict.is_failure());
    Ok(Outcome { passed: passed as u64, failed: failed as u64 })
}

/// A line for each path, and below it what `golden` says where that is something else.
fn table(found: &[Found], golden: Option<&Golden>) -> Table {
    let headings = [
        "instructions",
        "loads",
        "stores",
        "r-m-w",
        "compares",
        "cond. jumps",
        "calls",
        "locked",
        "divisions",
    ];
    let numbers = headings.iter().map(|&heading| (heading, Align::Right));
    let mut table = Table::new([("fast path", Align::Left)].into_iter().chain(numbers));
    let row = |name: &str, kinds: &Kinds| {
        let numbers = kinds.numbers().map(|number| number.to_string());
        [name.to_owned()].into_iter().chain(numbers)
    };
    for Found { entry, .. } in found {
        table.push(row(&entry.function, &entry.kinds));
        match golden.map(|golden| golden.kinds(&entry.function)) {
            Some(Some(kinds)) if kinds != entry.kinds => table.push(row("  in the table", &kinds)),
            Some(None) => table.push(["  not in the table"]),
            _ => {}
        }
    }
    table
}

/// Prints the instructions that no path may have; says how many there are.
fn print_forbidden(found: &[Found]) -> usize {
    let mut count = 0;
    for Found { entry, path } in found {
        for (instruction, _) in path.iter().filter(|(_, kinds)| kinds.is_forbidden()) {
            println!("forbidden in {}: {}", entry.function, text(instruction));
            count += 1;
        }
    }
    count
}

fn print_listing(found: &Found) {
    println!("{}", found.entry.function);
    for (instruction, kinds) in &found.path {
        let of_kind = Kinds::NAMES.iter().zip(kinds.numbers()).skip(1);
        let names: Vec<&str> =
            of_kind.filter(|&(_, number)| number > 0).map(|(name, _)| *name).collect();
        println!("{}", format!("  {:<40}{}", text(instruction), names.join(", ")).trim_end());
    }
    println!();
}

/// Address and instruction, in Intel's syntax as the sections are written in.
fn text(instruction: &Instruction) -> String {
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_show_branch_size(false);
    let mut text = format!("{:x}  ", instruction.ip());
    formatter.format(instruction, &mut text);
    text
}

/// Why the table need not hold here; none if it must.
fn excuse(golden: &Golden) -> Result<Option<String>> {
    let compiler = compiler()?;
    if compiler != golden.rustc {
        return Ok(Some(format!("is for {}, and this is {compiler}", golden.rustc)));
    }
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    Ok((!flags.trim().is_empty()).then(|| format!("is for no RUSTFLAGS, and they are {flags}")))
}

/// What `rustc --version` says.
fn compiler() -> Result<String> {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("--version");
    let output = command.output().with_context(|| format!("starting {}", shown(&command)))?;
    ensure!(output.status.success(), "{} ended with {}", shown(&command), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests;
