//! What the program's user sees when the allocator has something to say.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// Runs the ignored test `name` of this file in a process of its own.
fn run(name: &str) -> Output {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .expect("it runs")
}

#[test]
#[ignore = "run by a_crash_is_one_line_and_an_abort"]
fn crashes() {
    strata_os::crash!("double free of {:#x}, class {}", 0x7f00_1000, 7);
}

#[test]
fn a_crash_is_one_line_and_an_abort() {
    let output = run("crashes");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "strata: double free of 0x7f001000, class 7\n");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

#[test]
#[ignore = "run by lines_of_several_threads_do_not_mix"]
fn warns_from_threads() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for line in 0..200 {
                    strata_os::warn_line!("thread {thread} line {line} {}", "x".repeat(300));
                }
            });
        }
    });
}

#[test]
fn lines_of_several_threads_do_not_mix() {
    let output = run("warns_from_threads");
    let text = String::from_utf8(output.stderr).expect("what we wrote");
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..8 * 200)
        .map(|at| format!("strata: thread {} line {} {}", at / 200, at % 200, "x".repeat(300)))
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
#[ignore = "run by a_closed_standard_error_is_no_error"]
fn warns_into_nothing() {
    // SAFETY: nobody else in this process writes to it.
    unsafe { libc::close(libc::STDERR_FILENO) };
    strata_os::set_errno(7);
    strata_os::warn_line!("nobody reads this");
    assert_eq!(strata_os::errno(), 7);
}

#[test]
fn a_closed_standard_error_is_no_error() {
    let output = run("warns_into_nothing");
    assert!(output.status.success() && output.stderr.is_empty());
}
