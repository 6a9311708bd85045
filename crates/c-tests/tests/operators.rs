//! C++'s operators new and delete.

use strata_c_tests::{Allocator, Case, Failures, Linking, Program, has_cxx};

/// Says what is left out if there is no compiler for C++.
fn can_compile_cxx() -> bool {
    let can = has_cxx();
    if !can {
        eprintln!("left out: operators new and delete: no c++");
    }
    can
}

#[test]
fn preloaded_they_keep_the_standard() {
    if can_compile_cxx() {
        let mut failures = Failures::default();
        failures.run_all(&Program::compile("operators.cc", Linking::Preloaded));
        failures.conclude();
    }
}

#[test]
fn linked_as_an_archive_they_keep_the_standard() {
    if can_compile_cxx() {
        let mut failures = Failures::default();
        failures.run_all(&Program::compile("operators.cc", Linking::Archive));
        failures.conclude();
    }
}

#[test]
fn linked_statically_they_keep_the_standard() {
    if can_compile_cxx() {
        let mut failures = Failures::default();
        failures.run_all(&Program::compile("operators.cc", Linking::Static));
        failures.conclude();
    }
}

#[test]
fn bad_alloc_is_caught_when_memory_has_run_out() {
    if can_compile_cxx() {
        let program = Program::compile("operators.cc", Linking::Preloaded);
        let case = Case::named(&program, "bad_alloc_is_caught_when_memory_has_run_out");
        let mut failures = Failures::default();
        for allocator in [Allocator::Strata, Allocator::System] {
            failures.note(format_args!("{allocator:?}"), case.run_within(allocator, 512 << 10));
        }
        failures.conclude();
    }
}

#[test]
fn operators_that_a_program_replaces_are_called_for_those_that_it_does_not() {
    if can_compile_cxx() {
        let mut failures = Failures::default();
        for linking in [Linking::Preloaded, Linking::Archive, Linking::Static] {
            failures.run_all(&Program::compile("own_operators.cc", linking));
        }
        let no_pie = ["-no-pie", "-fno-pic"];
        failures.run_all(&Program::compile_with("own_operators.cc", Linking::Preloaded, &no_pie));
        failures.conclude();
    }
}
