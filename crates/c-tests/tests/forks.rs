//! Forks in odd places, each case in a process of its own.

use strata_c_tests::{Allocator, Failures, Linking, Program};

#[test]
fn preloaded_it_lives_through_forks_in_odd_places() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("forks.c", Linking::Preloaded));
    failures.conclude();
}

#[test]
fn linked_statically_it_lives_through_forks_in_odd_places() {
    let mut failures = Failures::default();
    for case in Program::compile("forks.c", Linking::Static).cases() {
        failures.note(case.name(), case.run(Allocator::Strata));
    }
    failures.conclude();
}

#[test]
fn per_thread_caches_live_through_forks_in_odd_places() {
    let mut failures = Failures::default();
    for case in Program::compile("forks.c", Linking::Preloaded).cases() {
        failures.note(case.name(), case.run_configured("front_end:per_thread"));
    }
    failures.conclude();
}
