//! What a process does to itself and its surroundings, each in a process of its own.

use strata_c_tests::{Allocator, Failures, Linking, Program};

#[test]
fn preloaded_it_goes_on() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("surroundings.c", Linking::Preloaded));
    failures.conclude();
}

#[test]
fn linked_statically_it_goes_on() {
    let mut failures = Failures::default();
    for case in Program::compile("surroundings.c", Linking::Static).cases() {
        failures.note(case.name(), case.run(Allocator::Strata));
    }
    failures.conclude();
}

#[test]
fn per_thread_caches_go_on() {
    let mut failures = Failures::default();
    for case in Program::compile("surroundings.c", Linking::Preloaded).cases() {
        failures.note(case.name(), case.run_configured("front_end:per_thread"));
    }
    failures.conclude();
}

/// As long as it takes: `STRATA_FORKS` may ask for ten thousand.
#[test]
fn a_process_with_32_allocating_threads_forks() {
    let program = Program::compile("surroundings.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    let output = command.arg("forks_from_a_process_with_32_threads").output();
    let output = output.expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
