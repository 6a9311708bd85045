//! System calls that fail: one after the other, each once, then for good. `STRATA_ALL_FAULTS` fails them all, not a sample.
//!
//! strace makes them fail. What fails before the program is loaded is the dynamic loader's to tell.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use strata_c_tests::{Failures, Linking, Program, has_cxx, shared_library};

/// Why a run is not as it must be: it ends with 0 and `ok`, or the loader refused to start it.
fn verdict(output: &Output) -> Result<(), String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let loaders_own = output.status.code() == Some(127);
    if loaders_own || (output.status.success() && output.stdout == b"ok\n") {
        return Ok(());
    }
    Err(format!("{}, {}", output.status, said.trim_end()))
}

/// The same for programs in C++.
fn fail_each_in_cxx(call: &str, error: &str, first: usize, wanted: usize, for_good: bool) {
    fail_each_of("faults.cc", call, error, first, wanted, for_good, "");
}

/// A run of `program` under strace, which does to `call` what `inject` says, and writes a line for each to `log`.
fn traced(program: &Program, call: &str, inject: Option<&str>, conf: &str, log: &Path) -> Output {
    let mut strace = Command::new("timeout");
    strace
        .args(["600", "strace", "-f", "-qqq", "-o"])
        .arg(log)
        .args(["-e", &format!("trace={call}")]);
    if let Some(inject) = inject {
        strace.args(["-e", inject]);
    }
    strace.arg("-E").arg(format!("LD_PRELOAD={}", shared_library().display()));
    strace.arg("-E").arg(format!("STRATA_CONF={conf}"));
    strace.arg(program.path()).output().expect("timeout can be started")
}

/// How many calls of that name a thread of an undisturbed run makes at most: strace counts each thread's by themselves.
fn calls(program: &Program, call: &str, conf: &str) -> usize {
    let log = program.path().with_extension(format!("{call}.log"));
    let output = traced(program, call, None, conf, &log);
    verdict(&output).expect("nothing fails");
    let text = fs::read_to_string(&log).expect("strace wrote it");
    let mut of_threads = BTreeMap::<&str, usize>::new();
    for line in text.lines().filter(|line| line.contains(&format!("{call}("))) {
        *of_threads.entry(line.split_whitespace().next().unwrap_or_default()).or_default() += 1;
    }
    of_threads.into_values().max().unwrap_or(0)
}

/// Fails the calls of that name from the `first`, each in a run of its own: so many of them as are wanted, spread over an
/// undisturbed run, or all of them where `STRATA_ALL_FAULTS` is set. With `for_good` also all after it.
fn fail_each(call: &str, error: &str, first: usize, wanted: usize, for_good: bool) {
    fail_each_configured(call, error, first, wanted, for_good, "");
}

/// The same with options of the library.
fn fail_each_configured(
    call: &str,
    error: &str,
    first: usize,
    wanted: usize,
    for_good: bool,
    conf: &str,
) {
    fail_each_of("faults.c", call, error, first, wanted, for_good, conf);
}

fn fail_each_of(
    source: &str,
    call: &str,
    error: &str,
    first: usize,
    wanted: usize,
    for_good: bool,
    conf: &str,
) {
    let known =
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.is_err() {
        eprintln!("left out: {call} that fails: no strace");
        return;
    }
    let program = Program::compile(source, Linking::Preloaded);
    let last = calls(&program, call, conf).max(first);
    let all = env::var_os("STRATA_ALL_FAULTS").is_some();
    let step = if all { 1 } else { (last + 1 - first).div_ceil(wanted) };
    let mut failures = Failures::default();
    for number in (first..=last).step_by(step) {
        let after = if for_good { "+" } else { "" };
        let inject = format!("inject={call}:error={error}:when={number}{after}");
        let output = traced(&program, call, Some(&inject), conf, Path::new("/dev/null"));
        failures.note(inject, verdict(&output));
    }
    failures.conclude();
}

#[test]
fn mmap_may_fail() {
    // The first one is the loader's, which dies of it.
    fail_each("mmap", "ENOMEM", 2, 20, false);
    fail_each("mmap", "ENOMEM", 14, 6, true);
}

#[test]
fn what_cannot_be_had_throws() {
    if has_cxx() {
        fail_each_in_cxx("mmap", "ENOMEM", 2, 8, false);
        // Not before the C++ runtime has memory for exceptions where there is none.
        fail_each_in_cxx("mmap", "ENOMEM", 36, 4, true);
        fail_each_in_cxx("mprotect", "ENOMEM", 1, 8, false);
        fail_each_in_cxx("mprotect", "ENOMEM", 20, 4, true);
    } else {
        eprintln!("left out: C++ programs whose calls fail: no c++");
    }
}

#[test]
fn munmap_may_fail() {
    fail_each("munmap", "ENOMEM", 1, 4, false);
}

#[test]
fn madvise_may_fail() {
    fail_each("madvise", "EINVAL", 1, 15, false);
    fail_each("madvise", "EAGAIN", 1, 2, true);
}

#[test]
fn mprotect_may_fail() {
    fail_each("mprotect", "ENOMEM", 1, 12, false);
    fail_each("mprotect", "ENOMEM", 5, 4, true);
}

/// On kernels whose mremap moves no tables, the program makes no such call, and the run is an undisturbed one.
#[test]
fn mremap_may_fail() {
    fail_each("mremap", "ENOMEM", 1, 4, false);
    fail_each("mremap", "EFAULT", 1, 1, true);
}

#[test]
fn rseq_may_be_refused() {
    fail_each("rseq", "ENOSYS", 1, 2, true);
    fail_each("rseq", "EINVAL", 1, 2, false);
}

#[test]
fn membarrier_may_be_refused() {
    fail_each("membarrier", "EINVAL", 1, 4, false);
    fail_each("membarrier", "EPERM", 1, 2, true);
}

#[test]
fn the_number_of_the_process_may_be_refused() {
    fail_each("getpid", "EPERM", 1, 2, true);
}

#[test]
fn prctl_and_openat_may_be_refused() {
    fail_each("prctl", "EINVAL", 1, 3, false);
    fail_each("openat", "ENFILE", 2, 4, false);
}

#[test]
fn a_hardened_heap_bears_calls_that_fail() {
    let conf = "hardened:true";
    fail_each_configured("mmap", "ENOMEM", 10, 7, false, conf);
    fail_each_configured("mprotect", "ENOMEM", 1, 8, false, conf);
    fail_each_configured("mprotect", "ENOMEM", 9, 1, true, conf);
    fail_each_configured("madvise", "EINVAL", 1, 2, false, conf);
}
