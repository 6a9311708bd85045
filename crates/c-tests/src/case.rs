//! One case of a test program, in a process of its own.

use crate::{Program, audit::Audit};
use core::fmt;
use core::time::Duration;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Instant;

/// The longest that a case may take: a guard against those that hang, which no load makes others reach.
const LIMIT: Duration = Duration::from_secs(600);

/// Whose `malloc` a case runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// This library's.
    Strata,
    /// The C library's.
    System,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    program: Program,
    name: String,
    also_on_system: bool,
}

/// The cases that failed, with the reasons.
#[derive(Debug, Default)]
pub struct Failures(Vec<String>);

impl Case {
    /// A line of a program's list: the name, and `glibc` if the case holds there too.
    pub(crate) fn from_line(program: &Program, line: &str) -> Self {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let also_on_system = rest == "glibc";
        Self { program: program.clone(), name: name.to_owned(), also_on_system }
    }

    /// The case of that name, which the program need not list.
    pub fn named(program: &Program, name: &str) -> Self {
        Self { program: program.clone(), name: name.to_owned(), also_on_system: false }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it holds on the C library's allocator too.
    pub fn is_also_on_system(&self) -> bool {
        self.also_on_system
    }

    /// Runs it; the reason if it fails.
    ///
    /// # Errors
    ///
    /// How the process ended, and what it said, unless it ended with 0.
    pub fn run(&self, allocator: Allocator) -> Result<(), String> {
        let mut command = self.program.command(allocator);
        command.arg(&self.name);
        match allocator {
            Allocator::Strata => self.run_audited(&mut command, ""),
            Allocator::System => run_within_limit(&mut command).outcome,
        }
    }

    /// Runs it under Strata, configured by `STRATA_CONF`; the reason if it fails.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn run_configured(&self, conf: &str) -> Result<(), String> {
        let mut command = self.program.command(Allocator::Strata);
        self.run_audited(command.arg(&self.name), conf)
    }

    /// Runs it under Strata on a glibc that was told to register no rseq areas; the reason if it fails.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn run_without_rseq_of_libc(&self) -> Result<(), String> {
        let mut command = self.program.command(Allocator::Strata);
        command.arg(&self.name).env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        self.run_audited(&mut command, "")
    }

    /// Runs it with at most `kib` KiB of address space; the reason if it fails.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn run_within(&self, allocator: Allocator, kib: u32) -> Result<(), String> {
        let program = self.program.command(allocator);
        let mut shell = Command::new("sh");
        // The library is preloaded after the limit is set: a shell that lived under both would be tested as well.
        let preload =
            program.get_envs().find_map(|(name, value)| (name == "LD_PRELOAD").then_some(value)?);
        let script = "ulimit -v \"$1\"; shift; test -z \"$PRELOAD\" || export LD_PRELOAD=\"$PRELOAD\"; exec \"$@\"";
        shell
            .args(["-c", script, "sh"])
            .arg(kib.to_string())
            .arg(self.program.path())
            .arg(&self.name);
        shell
            .env("PRELOAD", preload.unwrap_or_default())
            .env_remove("LD_PRELOAD")
            .env_remove("STRATA_CONF");
        match allocator {
            Allocator::Strata => self.run_audited(&mut shell, ""),
            Allocator::System => run_within_limit(&mut shell).outcome,
        }
    }

    /// Runs the command, configured so, and once more to look at what its heap's ledger says at the end: a heap
    /// that is to write that is set up before its program's first block.
    fn run_audited(&self, command: &mut Command, conf: &str) -> Result<(), String> {
        if !conf.is_empty() {
            command.env("STRATA_CONF", conf);
        }
        run_within_limit(command).outcome?;
        if !self.program.is_audited(&self.name) {
            return Ok(());
        }
        let audit = Audit::of(&self.program);
        command.env("STRATA_CONF", audit.configuration(conf));
        let run = run_within_limit(command);
        run.outcome.and_then(|()| audit.verdict(run.process))
    }
}

impl Failures {
    /// Notes the outcome of `what`.
    pub fn note(&mut self, what: impl fmt::Display, outcome: Result<(), String>) {
        if let Err(reason) = outcome {
            self.0.push(format!("{what}: {reason}"));
        }
    }

    /// Runs all cases of a program under Strata, and under the C library's allocator where that is right.
    ///
    /// # Panics
    ///
    /// If the program has no cases: something is wrong with it.
    pub fn run_all(&mut self, program: &Program) {
        let cases = program.cases();
        assert!(!cases.is_empty(), "{} has no cases", program.path().display());
        for case in cases {
            self.note(
                format_args!("{} ({:?})", case.name(), program.linking()),
                case.run(Allocator::Strata),
            );
            if case.is_also_on_system() {
                self.note(format_args!("{} (system)", case.name()), case.run(Allocator::System));
            }
        }
    }

    /// Ends the test.
    ///
    /// # Panics
    ///
    /// If anything failed, with the list.
    pub fn conclude(self) {
        assert!(self.0.is_empty(), "{} failed:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// A process that has ended.
struct Run {
    /// Its number; 0 if there was none.
    process: u32,
    /// How it ended, if not well.
    outcome: Result<(), String>,
}

/// Runs a command to its end, without input; how it ended and what it and its children said.
///
/// # Errors
///
/// That it could not be started, or that it still ran after ten minutes and was ended.
pub fn output_within_limit(command: &mut Command) -> Result<Output, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let stdout = read_aside(child.stdout.take());
    let stderr = read_aside(child.stderr.take());
    let status = wait(&mut child)?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    Ok(Output { status, stdout, stderr })
}

fn run_within_limit(command: &mut Command) -> Run {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => Run { process: child.id(), outcome: see_out(&mut child) },
        Err(error) => Run { process: 0, outcome: Err(format!("{command:?}: {error}")) },
    }
}

fn see_out(child: &mut Child) -> Result<(), String> {
    let stderr = read_aside(child.stderr.take());
    let status = wait(child)?;
    // Children that live on may have the pipe still.
    if status.success() {
        return Ok(());
    }
    let said = stderr.join().unwrap_or_default();
    Err(format!("{status}, {}", String::from_utf8_lossy(&said).trim_end()))
}

fn read_aside(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if started.elapsed() < LIMIT => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("still running after {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
