//! `cargo xtask reconcile`: real programs' ledgers against what the kernel has of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use strata_stats::{Document, explain};

use crate::dist;
use crate::measured::run_measured;
use crate::page_size::PageSizeName;
use crate::programs::{LEFT_OUT, LIMIT, Program, chosen, last_line};
use crate::table::{Align, Table};
use crate::workspace::Workspace;

/// Compare what the ledger of each real program says with what the kernel has in memory.
///
/// Each process of each program under benches/programs writes a snapshot when it ends. A program fails if a
/// snapshot says more than 1 MiB or 0.5 % something else than the kernel, or if the ledger of a process with one
/// thread does not add up to the byte.
#[derive(Args)]
pub(crate) struct Options {
    /// Inputs of the long form
    #[arg(long)]
    long: bool,

    /// Say of each program's largest process what stands out in it
    #[arg(long)]
    explain: bool,

    /// More for STRATA_CONF
    #[arg(long, value_name = "KEY:VALUE,…")]
    conf: Option<String>,

    /// Only these programs
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// How large the inputs of the long form are.
const LONG_SCALE: u32 = 8;

/// What came of one program's snapshots.
#[derive(Default)]
struct Found {
    snapshots: usize,
    /// Of processes that had several threads when it was taken.
    threaded: usize,
    /// Most that the kernel had of one process, in bytes.
    greatest_bytes: u64,
    /// The greatest difference to the kernel, in bytes and as a share of what that has.
    worst_bytes: u64,
    worst_share: f64,
    /// The most that one ledger did not explain, of processes with one thread and with several.
    unexplained_bytes: u64,
    unexplained_threaded_bytes: u64,
    /// Snapshots that disagree, each with its title and why.
    faults: Vec<String>,
    largest: Option<Document>,
}

impl Found {
    fn add(&mut self, document: Document) {
        let (ledger, title) = (document.figures().ledger(), document.title());
        let threads = document.snapshot.process.map_or(0, |process| process.threads);
        let alone = threads <= 1 && !document.snapshot.heap.background.has_thread;
        self.snapshots += 1;
        self.threaded += usize::from(!alone);
        let unexplained = ledger.unexplained().unsigned_abs();
        let difference = ledger.in_use_difference().unsigned_abs();
        let worst =
            if alone { &mut self.unexplained_bytes } else { &mut self.unexplained_threaded_bytes };
        *worst = (*worst).max(unexplained).max(difference);
        if alone && (unexplained, difference) != (0, 0) {
            self.faults.push(format!(
                "{title}: {unexplained} bytes unexplained; in use differs by {difference}"
            ));
        }
        let Some(kernel) = document.kernel.as_deref() else { return };
        let counted =
            kernel.mappings_resident_bytes.unwrap_or_else(|| kernel.pages_resident_bytes());
        let off = kernel.difference_bytes().unsigned_abs();
        self.worst_bytes = self.worst_bytes.max(off);
        self.worst_share = self.worst_share.max(off as f64 / (counted as f64).max(1.0));
        if !kernel.agrees() {
            self.faults.push(format!("{title}\n{kernel}"));
        }
        if self.largest.is_none() || counted > self.greatest_bytes {
            self.greatest_bytes = counted;
            self.largest = Some(document);
        }
    }
}

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    dist::build(workspace, &[PageSizeName::Eight])?;
    let library = dist::shared_library(workspace, PageSizeName::Eight);
    let mut table = Table::new([
        ("program", Align::Left),
        ("snapshots", Align::Right),
        ("threaded", Align::Right),
        ("largest MiB", Align::Right),
        ("off by KiB", Align::Right),
        ("off by %", Align::Right),
        ("unexplained", Align::Right),
        ("while threads run", Align::Right),
        ("result", Align::Left),
    ]);
    let mut words = String::new();
    let mut failed = false;
    for program in chosen(workspace, &options.names)? {
        eprintln!("reconcile: {}", program.name);
        let directory = workspace.target().join("reconcile").join(&program.name);
        let mut cells = vec![program.name.clone()];
        match snapshots_of(&program, &directory, &library, options)? {
            Ok(found) => {
                let off_kib = found.worst_bytes as f64 / 1024.0;
                cells.extend([
                    found.snapshots.to_string(),
                    found.threaded.to_string(),
                    format!("{:.1}", found.greatest_bytes as f64 / (1 << 20) as f64),
                    format!("{off_kib:.1}"),
                    format!("{:.3}", found.worst_share * 100.0),
                    found.unexplained_bytes.to_string(),
                    found.unexplained_threaded_bytes.to_string(),
                    if found.faults.is_empty() { "agrees" } else { "DISAGREES" }.to_owned(),
                ]);
                failed |= !found.faults.is_empty();
                for fault in found.faults.iter().take(3) {
                    words += &format!("{}: {fault}\n", program.name);
                }
                if let Some(largest) = found.largest.filter(|_| options.explain) {
                    let findings = explain(largest.figures(), None);
                    words += &format!("{}: {}\n{findings}\n", program.name, largest.title());
                }
            }
            Err(why) => {
                cells.extend(core::iter::repeat_n(String::new(), 7));
                failed |= why.starts_with("FAILED");
                cells.push(why);
            }
        }
        table.push(cells);
    }
    print!("{words}");
    println!("{table}");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs a program and reads its snapshots; else says why there are none.
fn snapshots_of(
    program: &Program,
    directory: &Path,
    library: &Path,
    options: &Options,
) -> Result<Result<Found, String>> {
    if let Some(missing) = program.missing() {
        return Ok(Err(format!("left out: no {missing}")));
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let (work, taken) = (directory.join("work"), directory.join("snapshots"));
    fs::create_dir_all(&work)?;
    fs::create_dir_all(&taken)?;
    // Servers that change their user write there too.
    fs::set_permissions(&taken, Permissions::from_mode(0o777))?;
    let scale = if options.long { LONG_SCALE } else { 1 };
    let prepared = run_measured(&mut program.command("prepare", scale, &work), LIMIT)?;
    if prepared.status.code() == Some(LEFT_OUT) {
        return Ok(Err(format!("left out: no {}", last_line(&prepared.stderr))));
    }
    let mut command = program.command("run", scale, &work);
    let more = options.conf.as_deref().map(|conf| format!(",{conf}")).unwrap_or_default();
    let conf = format!("snapshot_file:{}/%p.json{more}", taken.display());
    command.env("LD_PRELOAD", library).env("STRATA_CONF", conf);
    let run = run_measured(&mut command, LIMIT)?;
    if !prepared.succeeded() || !run.succeeded() {
        return Ok(Err(format!("FAILED: {}, {}", run.ending(), last_line(&run.stderr))));
    }
    let mut found = Found::default();
    for entry in fs::read_dir(&taken)? {
        let path = entry?.path();
        // What was being written when its process was killed.
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read(&path)?;
        let document =
            Document::read(&text).with_context(|| format!("reading {}", path.display()))?;
        found.add(document);
    }
    Ok(if found.snapshots == 0 { Err("FAILED: no snapshot".into()) } else { Ok(found) })
}
