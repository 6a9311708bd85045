use core::time::Duration;
use std::path::Path;
use std::process::Command;

use super::{Program, complaint, difference};
use crate::measured::{Measured, run_measured};

fn shell(script: &str) -> Measured {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    run_measured(&mut command, Duration::from_secs(60)).expect("sh starts")
}

#[test]
fn equal_output_of_a_run_with_the_library_mapped_is_no_difference() {
    assert_eq!(difference(&shell("echo a"), &shell("echo a"), 1), None);
}

#[test]
fn other_output_another_ending_and_a_library_not_mapped_are_differences() {
    let plain = shell("echo a");
    assert!(difference(&plain, &shell("echo b"), 1).is_some());
    assert!(difference(&plain, &shell("echo a; kill -SEGV $$"), 1).is_some());
    assert!(difference(&plain, &shell("echo a"), 0).is_some());
}

#[test]
fn lines_of_strata_and_of_the_loader_are_complaints() {
    assert!(complaint(b"x\nstrata: bad free\n").is_some());
    assert!(complaint(b"ERROR: ld.so: object cannot be preloaded\n").is_some());
    assert_eq!(complaint(b"a warning of the program's own\n"), None);
}

#[test]
fn every_script_says_what_it_needs() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/programs");
    let mut scripts = 0;
    for entry in std::fs::read_dir(directory).expect("the scripts lie there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_some_and(|extension| extension == "sh") {
            let program = Program::read(path).expect("a readable script");
            assert!(!program.needs.is_empty(), "{}", program.name);
            scripts += 1;
        }
    }
    assert!(scripts >= 8);
}
