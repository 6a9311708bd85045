//! What a Rust program's user asks for by `STRATA_CONF`, in processes of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use strata_alloc::Heap;
use strata_stats::{Document, report_as_asked};

#[global_allocator]
static HEAP: Heap = Heap::new();

/// Long enough for a snapshot on any machine; the test does not wait for it where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "a part of another test"]
fn program() {
    assert!(report_as_asked(&HEAP));
    assert!(!report_as_asked(&HEAP), "a heap is reported once");
    sums_hold();
    if let Ok(path) = std::env::var("WAIT_FOR") {
        let begin = Instant::now();
        while !Path::new(&path).exists() {
            assert!(begin.elapsed() < PATIENCE, "no snapshot");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::remove_file(path).unwrap();
    }
}

/// The test's own threads wait for this one, or are about to.
fn sums_hold() {
    let begin = Instant::now();
    loop {
        let figures = HEAP.core().unwrap().figures();
        if figures.adds_up() {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{figures:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn run(options: &str, wait_for: Option<&Path>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "program", "--nocapture"]).env("STRATA_CONF", options);
    if let Some(path) = wait_for {
        command.env("WAIT_FOR", path);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn snapshot_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(std::format!("strata-asked-{}-{name}.json", std::process::id()))
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    assert_eq!(run("", None).stderr, b"");
}

#[test]
fn a_report_is_written_when_the_program_ends() {
    for (form, beginning) in [
        ("brief", "The program holds"),
        ("tcmalloc", "------------------------------------------------\nMALLOC:"),
        ("json", "{"),
    ] {
        let output = run(&std::format!("exit_report:{form}"), None);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(beginning), "{text}");
    }
}

#[test]
fn a_snapshot_is_there_when_the_program_has_ended() {
    let path = snapshot_path("end");
    run(&std::format!("snapshot_file:{}", path.display()), None);
    let document = Document::read(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = document.title();
    assert!(text.contains("process "), "{text}");
}

#[test]
fn snapshots_are_written_while_the_program_runs() {
    let path = snapshot_path("interval");
    let options = std::format!("snapshot_file:{},snapshot_interval:1", path.display());
    run(&options, Some(&path));
    assert!(path.exists(), "and one at the end");
    std::fs::remove_file(&path).unwrap();
}
