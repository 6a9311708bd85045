//! Snapshots that programs write, and what the kernel has of them.

#![allow(clippy::panic, reason = "a test may fail")]

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use strata_c_tests::{Allocator, Linking, Program, output_within_limit, shared_library};
use strata_stats::Document;

/// A directory of a test's own, empty.
fn place(test: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("snapshots-{test}"));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("a directory can be made");
    place
}

/// All snapshots in a directory, and nothing else: none is half written, and none was left beside its place.
fn snapshots(place: &Path) -> Vec<Document> {
    let entries = fs::read_dir(place).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths
        .map(|path| {
            assert!(
                path.extension().is_some_and(|extension| extension == "json"),
                "{}",
                path.display()
            );
            let text = fs::read(&path).expect("it can be read");
            Document::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

fn conf(place: &Path, more: &str) -> String {
    format!("snapshot_file:{}/%p.json{more}", place.display())
}

#[test]
fn a_program_leaves_a_snapshot_at_its_end() {
    let place = place("end");
    let program = Program::compile("report.c", Linking::Preloaded);
    let status = program
        .command(Allocator::Strata)
        .arg("plain")
        .env("STRATA_CONF", conf(&place, ""))
        .status()
        .expect("it can be started");
    assert!(status.success());
    let [snapshot] = &snapshots(&place)[..] else { panic!("one program, one snapshot") };
    assert_eq!(snapshot.figures().ledger().unexplained(), 0);
    assert!(snapshot.map.is_some() && snapshot.kernel.is_some());
}

#[test]
fn a_child_leaves_a_snapshot_of_its_own() {
    let place = place("forks");
    let program = Program::compile("report.c", Linking::Preloaded);
    let status = program
        .command(Allocator::Strata)
        .arg("forks")
        .env("STRATA_CONF", conf(&place, ",snapshot_detail:figures"))
        .status()
        .expect("it can be started");
    assert!(status.success());
    let snapshots = snapshots(&place);
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|snapshot| snapshot.map.is_none()));
}

#[test]
fn a_program_that_runs_writes_a_snapshot_each_interval() {
    let place = place("interval");
    // It is killed, so that what is found was written while it ran.
    let mut child = Command::new("sleep")
        .arg("3600")
        .env("LD_PRELOAD", shared_library())
        .env("STRATA_CONF", conf(&place, ",snapshot_interval:1"))
        .spawn()
        .expect("it can be started");
    let file = place.join(format!("{}.json", child.id()));
    let mut taken = Vec::new();
    while taken.len() < 2 {
        assert!(child.try_wait().expect("it is ours").is_none(), "it sleeps for an hour");
        if let Ok(text) = fs::read(&file) {
            let document = Document::read(&text).expect("a snapshot appears whole");
            taken.push(document.snapshot.taken_ns);
            taken.dedup();
        }
        std::thread::sleep(core::time::Duration::from_millis(20));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    assert!(taken[1] > taken[0]);
}

#[test]
fn a_place_that_cannot_be_written_costs_one_line() {
    let program = Program::compile("report.c", Linking::Preloaded);
    let output = program
        .command(Allocator::Strata)
        .arg("plain")
        .env("STRATA_CONF", "snapshot_file:/nowhere/at/all")
        .output()
        .expect("it can be started");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "strata: snapshot_file: cannot write '/nowhere/at/all' (errno 2)\n"
    );
}

#[test]
fn what_is_no_file_costs_one_line_and_stays() {
    let place = place("pipe");
    let pipe = place.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it can be started").success());
    let program = Program::compile("report.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    command.arg("plain").env("STRATA_CONF", format!("snapshot_file:{}", pipe.display()));
    let output = output_within_limit(&mut command).expect("it ends");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("strata: snapshot_file: '{}' is no regular file: left as it is\n", pipe.display())
    );
    assert!(fs::symlink_metadata(&pipe).expect("it stands").file_type().is_fifo());
}

/// Programs of other people: what they leave adds up, and agrees with what the kernel has of them.
#[test]
fn snapshots_of_real_programs_add_up_and_agree_with_the_kernel() {
    let place = place("programs");
    let numbers = place.with_extension("txt");
    let lines: String =
        (0..200_000u64).map(|n| format!("{}\n", n * 2_654_435_761 % 1_000_003)).collect();
    fs::write(&numbers, lines).expect("it can be written");
    let source = place.with_extension("c");
    let functions: String = (0..300)
        .map(|n| format!("int f{n}(int a) {{ return a * {n} + f{n}(a - 1); }}\n"))
        .collect();
    fs::write(&source, functions).expect("it can be written");
    let python = "x = [str(i) * 20 for i in range(100000)]; y = x[::7]; del x";
    let commands: [(&str, Vec<&str>); 3] = [
        ("python3", vec!["-c", python]),
        ("sort", vec![numbers.to_str().expect("text")]),
        ("gcc", vec!["-O1", "-w", "-S", "-o", "/dev/null", source.to_str().expect("text")]),
    ];
    for (name, arguments) in commands {
        let output = Command::new(name)
            .args(arguments)
            .env("LD_PRELOAD", shared_library())
            .env("STRATA_CONF", conf(&place, ""))
            .env("PYTHONMALLOC", "malloc")
            .output();
        match output {
            Ok(output) => assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            // Not every machine has every program.
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    let snapshots = snapshots(&place);
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        let title = snapshot.title();
        let ledger = snapshot.figures().ledger();
        assert_eq!(ledger.unexplained(), 0, "{title}");
        assert_eq!(ledger.in_use_difference(), 0, "{title}");
        let kernel = snapshot.kernel.expect("it was asked");
        assert!(kernel.agrees(), "{title}\n{kernel}");
    }
}
