//! What the program's user sees when the allocator has something to say.

use strata_os::{ends_with_its_line, in_own_process};

#[test]
fn a_crash_is_one_line_and_an_abort() {
    ends_with_its_line("a_crash_is_one_line_and_an_abort", |expect| {
        expect("double free of 0x7f001000, class 7".into());
        strata_os::crash!("double free of {:#x}, class {}", 0x7f00_1000, 7);
    });
}

#[test]
fn lines_of_several_threads_do_not_mix() {
    let output = in_own_process("lines_of_several_threads_do_not_mix", || {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for line in 0..200 {
                        strata_os::warn_line!("thread {thread} line {line} {}", "x".repeat(300));
                    }
                });
            }
        });
    });
    let Some(output) = output else { return };
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
fn a_closed_standard_error_is_no_error() {
    let output = in_own_process("a_closed_standard_error_is_no_error", || {
        // SAFETY: nobody else in this process writes to it.
        unsafe { libc::close(libc::STDERR_FILENO) };
        strata_os::set_errno(7);
        strata_os::warn_line!("nobody reads this");
        assert_eq!(strata_os::errno(), 7);
    });
    let is_well =
        |output: &std::process::Output| output.status.success() && output.stderr.is_empty();
    assert!(output.as_ref().is_none_or(is_well), "{output:?}");
}

#[test]
#[should_panic(expected = "nobody says this")]
fn another_line_than_the_expected_one_is_seen() {
    ends_with_its_line("another_line_than_the_expected_one_is_seen", |expect| {
        expect("nobody says this".into());
        strata_os::crash!("somebody says that");
    });
}

#[test]
#[should_panic(expected = "unix_wait_status(0)")]
fn a_process_that_ends_otherwise_is_seen() {
    ends_with_its_line("a_process_that_ends_otherwise_is_seen", |_| std::process::exit(0));
}
