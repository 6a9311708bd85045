//! What a process does to itself and its surroundings, each in a process of its own.

use strata_c_tests::{Allocator, Failures, Linking, Program};

/// Who counts in the words of another thread, beside it, loses of both counts.
fn program(linking: Linking) -> Program {
    const SHARERS: [&str; 3] = [
        "a_clone_and_its_parent_ask_for_the_first_block_at_once",
        "a_clone_with_our_memory_and_words_runs_beside_us",
        "several_clones_share_one_threads_words",
    ];
    Program::compile("surroundings.c", linking).with_unaudited(|case| SHARERS.contains(&case))
}

#[test]
fn preloaded_it_goes_on() {
    let mut failures = Failures::default();
    failures.run_all(&program(Linking::Preloaded));
    failures.conclude();
}

#[test]
fn linked_statically_it_goes_on() {
    let mut failures = Failures::default();
    for case in program(Linking::Static).cases() {
        failures.note(case.name(), case.run(Allocator::Strata));
    }
    failures.conclude();
}

#[test]
fn per_thread_caches_go_on() {
    let mut failures = Failures::default();
    for case in program(Linking::Preloaded).cases() {
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
