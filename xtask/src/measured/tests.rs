use core::time::Duration;
use std::process::Command;

use super::run_measured;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn output_and_exit_code_arrive_apart() {
    let run = run_measured(&mut shell("echo out; echo err >&2; exit 3"), Duration::from_secs(60))
        .expect("sh starts");
    assert_eq!(run.stdout, b"out\n");
    assert_eq!(run.stderr, b"err\n");
    assert_eq!(run.status.code(), Some(3));
    assert!(!run.succeeded());
    assert!(run.peak_rss_bytes > 0);
}

#[test]
fn a_process_and_its_children_are_killed_when_their_time_is_up() {
    let run = run_measured(&mut shell("sleep 600 & sleep 600"), Duration::from_millis(100))
        .expect("sh starts");
    assert!(run.timed_out);
    assert!(run.wall < Duration::from_secs(60));
}

#[test]
fn a_missing_program_is_an_error_that_names_it() {
    let error = run_measured(&mut Command::new("no-such-program"), Duration::from_secs(1))
        .err()
        .expect("there is no such program");
    assert!(format!("{error:#}").contains("no-such-program"));
}
