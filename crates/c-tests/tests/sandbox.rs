//! Programs behind filters of system calls that kill, or refuse what `malloc` needs: they live as on glibc's `malloc`.

use strata_c_tests::{Allocator, Case, Failures, Linking, Program};

/// Behind the filters no file can be written, a snapshot neither.
fn sandboxed(linking: Linking) -> Program {
    Program::compile("sandbox.c", linking).with_unaudited(|_| true)
}

#[test]
fn preloaded_it_lives_behind_filters_that_kill() {
    let mut failures = Failures::default();
    failures.run_all(&sandboxed(Linking::Preloaded));
    failures.conclude();
}

#[test]
fn linked_statically_it_lives_behind_filters_that_kill() {
    let mut failures = Failures::default();
    for case in sandboxed(Linking::Static).cases() {
        failures.note(case.name(), case.run(Allocator::Strata));
    }
    failures.conclude();
}

#[test]
fn other_heaps_live_behind_filters_that_kill() {
    let program = sandboxed(Linking::Preloaded);
    let mut failures = Failures::default();
    for conf in ["front_end:per_thread", "page_heap:legacy", "hardened:true"] {
        for name in [
            "no_call_is_trapped",
            "threads_behind_one_filter",
            "a_child_behind_a_filter",
            "behind_a_filter_that_refuses_mprotect",
        ] {
            let case = Case::named(&program, name);
            failures.note(format_args!("{conf}, {name}"), case.run_configured(conf));
        }
    }
    failures.conclude();
}
