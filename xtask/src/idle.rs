//! `cargo xtask idle`: what comes back of memory that was freed, while the program does nothing.

use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command::run;
use crate::dist;
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Run programs that free most of what they had, and watch them do nothing
///
/// `survivors` has 150 000 blocks of 512 bytes, 100 000 of 1 KiB and 50 000 of 2 KiB, and frees 19 in 20 at random; at
/// least 76 % of its peak is to go back. `everything` has 1 GiB and frees it all; at most 32 MiB more than at its start are
/// to stay. Where control groups of version 1 may be made, what the kernel charges the program stands beside what is
/// resident: of a hugepage that was given back in part, it charges all of it until it is split.
#[derive(Args)]
pub(crate) struct Options {
    /// Which programs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Shape::value_variants().to_vec())]
    programs: Vec<Shape>,
    /// A library to preload instead of Strata's; "none" is the C library's allocator
    #[arg(long, value_name = "LIBRARY")]
    preload: Option<PathBuf>,
    /// STRATA_CONF for the programs
    #[arg(long, value_name = "PAIRS")]
    conf: Option<String>,
    /// How long to watch
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Survivors,
    Everything,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Survivors => "survivors",
            Self::Everything => "everything",
        }
    }
}

const MIB: u64 = 1 << 20;

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let library = match &options.preload {
        Some(library) if library.as_os_str() == "none" => None,
        Some(library) => Some(fs::canonicalize(library)?),
        None => {
            dist::build_library(workspace, PageSizeName::Eight)?;
            Some(dist::shared_library(workspace, PageSizeName::Eight))
        }
    };
    let program = compile(workspace)?;
    let mut reached = true;
    for &shape in &options.programs {
        reached &= watch(&program, shape, library.as_deref(), options)?;
    }
    // Other allocators owe nothing.
    let ours = options.preload.is_none() && options.conf.is_none();
    Ok(if reached || !ours { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let program = workspace.target().join("idle");
    run(Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(workspace.root().join("benches/programs/idle.c")))?;
    Ok(program)
}

/// Runs one program and prints what became of its memory; says whether it reached what it is to reach.
fn watch(program: &Path, shape: Shape, library: Option<&Path>, options: &Options) -> Result<bool> {
    let group = Group::new();
    let mut running =
        Running::start(program, shape, library, options.conf.as_deref(), group.as_ref())?;
    running.expect_phase("start")?;
    let start = running.look(group.as_ref())?;
    running.go_on()?;
    running.expect_phase("peak")?;
    let peak = running.look(group.as_ref())?;
    running.go_on()?;
    running.expect_phase("freed")?;
    let mut table = Table::new([
        ("after", Align::Right),
        ("resident MiB", Align::Right),
        ("returned", Align::Right),
        ("charged MiB", Align::Right),
        ("threads", Align::Right),
    ]);
    let mut row = |when: String, seen: &Seen| {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB as f64);
        let returned = 100.0 * (1.0 - seen.resident as f64 / peak.resident as f64);
        table.push([
            when,
            mib(seen.resident),
            format!("{returned:.1} %"),
            seen.charged.map_or_else(|| "-".to_owned(), mib),
            seen.threads.to_string(),
        ]);
    };
    row("start".to_owned(), &start);
    row("peak".to_owned(), &peak);
    let mut last = running.look(group.as_ref())?;
    row("free".to_owned(), &last);
    for second in 1..=options.seconds {
        thread::sleep(Duration::from_secs(1));
        last = running.look(group.as_ref())?;
        row(format!("{second} s"), &last);
    }
    let (reached, goal) = match shape {
        Shape::Survivors => {
            (last.resident as f64 <= 0.24 * peak.resident as f64, "at least 76 % returned")
        }
        Shape::Everything => (
            last.resident <= start.resident + 32 * MIB,
            "at most 32 MiB more resident than at the start",
        ),
    };
    let verdict = if reached { "reached" } else { "missed" };
    println!("{}: {goal}: {verdict}\n{table}", shape.name());
    Ok(reached)
}

/// What is seen of a process.
struct Seen {
    resident: u64,
    /// What its control group is charged.
    charged: Option<u64>,
    threads: u64,
}

/// The program, waiting in a phase.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(
        program: &Path,
        shape: Shape,
        library: Option<&Path>,
        conf: Option<&str>,
        group: Option<&Group>,
    ) -> Result<Self> {
        let mut command = Command::new("sh");
        // The shell enters the group, and becomes the program.
        let enter = group.map_or_else(String::new, |group| {
            format!("echo $$ > '{}/cgroup.procs'; ", group.0.display())
        });
        let preload = library
            .map_or_else(String::new, |library| format!("LD_PRELOAD='{}' ", library.display()));
        command.args(["-c", &format!("{enter}{preload}exec \"$0\" \"$1\"")]);
        command.arg(program).arg(shape.name());
        command.env_remove("LD_PRELOAD").env("STRATA_CONF", conf.unwrap_or_default());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program")?;
        let lines = child.stdout.take().context("its output is a pipe")?;
        Ok(Self { child, lines: BufReader::new(lines) })
    }

    fn expect_phase(&mut self, name: &str) -> Result<()> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.trim() != name {
            bail!("the program said {line:?} where {name:?} was expected");
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its input is a pipe")?;
        input.write_all(b"\n")?;
        Ok(input.flush()?)
    }

    fn look(&self, group: Option<&Group>) -> Result<Seen> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
                .with_context(|| format!("no {name} in its status"))
        };
        Ok(Seen {
            resident: field("VmRSS:")? * 1024,
            charged: group.and_then(Group::charged),
            threads: field("Threads:")?,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It waits for a line that does not come.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control group of version 1 for the program.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let path =
            Path::new("/sys/fs/cgroup/memory").join(format!("strata-idle-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn charged(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.usage_in_bytes")).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group with a process that is just ending stays for a moment.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
