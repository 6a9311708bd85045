//! The interface, a check at a time, by two programs in TAP form: on Strata, and on glibc's allocator where that is right.

use std::process::{Command, Stdio};
use strata_c_tests::{Allocator, Linking, Program, complaints_about_header, has_cxx};

/// What a run of a program said.
#[derive(Default)]
struct Tap {
    planned: usize,
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Tap {
    fn of(command: &mut Command) -> Self {
        let output = command.arg("--tap").output().expect("the program can be started");
        let mut tap = Self::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line {
                _ if line.starts_with("1..") => tap.planned = line[3..].parse().expect("a number"),
                _ if line.contains(" # SKIP") => tap.skipped += 1,
                _ if line.starts_with("ok ") => tap.passed += 1,
                _ if line.starts_with("not ok ") => tap.failed.push(line.to_owned()),
                _ => {}
            }
        }
        if !tap.failed.is_empty() {
            tap.failed.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        tap
    }

    fn assert_all_passed(&self, on: &str) {
        assert!(self.failed.is_empty(), "{on}:\n{}", self.failed.join("\n"));
        assert_eq!(self.passed + self.skipped, self.planned, "{on}: the program stopped early");
    }
}

/// Runs all checks of a program on both allocators; says how many there are.
fn check(source: &str, linking: Linking) -> usize {
    let program = Program::compile(source, linking);
    let mut command = program.command(Allocator::Strata);
    let ours = Tap::of(command.env("TAP_IS_STRATA", "1"));
    ours.assert_all_passed("Strata");
    assert_eq!(ours.skipped, 0);
    if linking == Linking::Preloaded {
        let systems = Tap::of(&mut program.command(Allocator::System));
        systems.assert_all_passed("the system's allocator, on which the checks are tested");
        assert!(systems.skipped * 3 < systems.planned, "most of what is checked is common");
    }
    ours.planned
}

#[test]
fn headers_are_right_in_every_c_and_every_cxx() {
    let c = ["-std=c89", "-std=c99", "-std=c11", "-std=c17", "-std=c2x"];
    let cxx = [
        "-std=c++98",
        "-std=c++03",
        "-std=c++11",
        "-std=c++14",
        "-std=c++17",
        "-std=c++20",
        "-std=c++2b",
    ];
    let cxx = cxx.iter().filter(|_| has_cxx());
    for standard in c.iter().chain(cxx) {
        for header in ["strata.h", "malloc_extension.h"] {
            let complaints = complaints_about_header(header, standard);
            assert!(complaints.is_empty(), "{header}, {standard}:\n{complaints}");
        }
    }
}

#[test]
fn every_check_in_c_passes() {
    assert!(check("interface.c", Linking::Preloaded) >= 90);
}

#[test]
fn every_check_in_cxx_passes() {
    if has_cxx() {
        assert!(check("interface.cc", Linking::Preloaded) >= 40);
    } else {
        eprintln!("left out: the checks in C++: no c++");
    }
}

/// Neither what the standards promise nor glibc's introspection hangs on how the heap is made up.
#[test]
fn every_check_in_c_passes_in_every_configuration() {
    let program = Program::compile("interface.c", Linking::Preloaded);
    for conf in ["hardened:true", "front_end:per_thread", "page_heap:legacy"] {
        let mut command = program.command(Allocator::Strata);
        command.env("TAP_IS_STRATA", "1").env("STRATA_CONF", conf);
        Tap::of(&mut command).assert_all_passed(conf);
    }
}

/// Pipes what a program says of its heap into the script that reads it.
fn reads_malloc_info(mut program: Command, arguments: &[&str]) {
    let mut child = program.stdout(Stdio::piped()).spawn().expect("the program can be started");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/read_malloc_info.py");
    let mut python = Command::new("python3");
    python.arg(script).args(arguments).stdin(child.stdout.take().expect("it is piped"));
    let read = python.output().expect("python3 can be started");
    assert!(child.wait().expect("the program ends").success());
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{program:?} {arguments:?}: {said}");
}

#[test]
fn what_malloc_info_writes_is_read_by_the_parsers_of_python() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|it| it.status.success()) {
        eprintln!("left out: parsers of XML: no python3");
        return;
    }
    let program = Program::compile("malloc_info.c", Linking::Preloaded);
    reads_malloc_info(program.command(Allocator::System), &[]);
    for conf in ["", "hardened:true", "front_end:per_thread", "page_heap:legacy"] {
        let mut command = program.command(Allocator::Strata);
        command.env("STRATA_CONF", conf);
        reads_malloc_info(command, &["--exact"]);
    }
}

#[test]
fn every_check_passes_where_the_library_is_linked() {
    check("interface.c", Linking::Archive);
    if has_cxx() {
        check("interface.cc", Linking::Archive);
        check("interface.cc", Linking::Static);
    }
}
