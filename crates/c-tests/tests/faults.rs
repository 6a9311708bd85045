//! System calls that fail: one after the other, each once, then for good.
//!
//! strace makes them fail. What fails before the program is loaded is the dynamic loader's to tell.

use std::process::{Command, Output, Stdio};
use strata_c_tests::{Failures, Linking, Program, shared_library};

/// Why a run is not as it must be: it ends with 0 and `ok`, or the loader refused to start it.
fn verdict(output: &Output) -> Result<(), String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let loaders_own = output.status.code() == Some(127);
    if loaders_own || (output.status.success() && output.stdout == b"ok\n") {
        return Ok(());
    }
    Err(format!("{}, {}", output.status, said.trim_end()))
}

/// Fails the calls of that name from `first` to `last`, each in a run of its own; with `for_good` also all after it.
fn fail_each(call: &str, error: &str, first: u32, last: u32, for_good: bool) {
    fail_each_configured(call, error, first, last, for_good, "");
}

/// The same with options of the library.
fn fail_each_configured(
    call: &str,
    error: &str,
    first: u32,
    last: u32,
    for_good: bool,
    conf: &str,
) {
    let known =
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.is_err() {
        eprintln!("left out: {call} that fails: no strace");
        return;
    }
    let program = Program::compile("faults.c", Linking::Preloaded);
    let mut failures = Failures::default();
    for number in first..=last {
        let after = if for_good { "+" } else { "" };
        let inject = format!("inject={call}:error={error}:when={number}{after}");
        let mut strace = Command::new("timeout");
        strace.args([
            "60",
            "strace",
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
        ]);
        strace
            .args(["-e", &inject, "-E"])
            .arg(format!("LD_PRELOAD={}", shared_library().display()));
        strace.arg("-E").arg(format!("STRATA_CONF={conf}"));
        let output = strace.arg(program.path()).output().expect("timeout can be started");
        failures.note(inject, verdict(&output));
    }
    failures.conclude();
}

#[test]
fn mmap_may_fail() {
    // The first one is the loader's, which dies of it.
    fail_each("mmap", "ENOMEM", 2, 32, false);
    fail_each("mmap", "ENOMEM", 14, 26, true);
}

#[test]
fn munmap_may_fail() {
    fail_each("munmap", "ENOMEM", 1, 4, false);
}

#[test]
fn madvise_may_fail() {
    fail_each("madvise", "EINVAL", 1, 40, false);
    fail_each("madvise", "EAGAIN", 1, 3, true);
}

#[test]
fn mprotect_may_fail() {
    fail_each("mprotect", "ENOMEM", 1, 30, false);
    fail_each("mprotect", "ENOMEM", 5, 12, true);
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
fn prctl_and_openat_may_be_refused() {
    fail_each("prctl", "EINVAL", 1, 3, false);
    fail_each("openat", "ENFILE", 2, 6, false);
}

#[test]
fn a_hardened_heap_bears_calls_that_fail() {
    let conf = "hardened:true";
    fail_each_configured("mmap", "ENOMEM", 10, 16, false, conf);
    fail_each_configured("mprotect", "ENOMEM", 1, 8, false, conf);
    fail_each_configured("mprotect", "ENOMEM", 9, 9, true, conf);
    fail_each_configured("madvise", "EINVAL", 1, 2, false, conf);
}
