//! Malloc in the life of a process.

use strata_c_tests::{Allocator, Case, Failures, Linking, Program, has_musl};

/// The address space that a program must be able to start and run in: 64 MiB.
const LITTLE_KIB: u32 = 64 << 10;

/// Enough for some threads, and little enough to run out of.
const LIMITED_KIB: u32 = 512 << 10;

#[test]
fn preloaded_it_lives_through_what_programs_do() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("life.c", Linking::Preloaded));
    failures.conclude();
}

#[test]
fn the_c_library_may_ask_for_the_first_block_of_a_program_or_thread() {
    for linking in [Linking::Preloaded, Linking::Archive] {
        let mut failures = Failures::default();
        failures.run_all(&Program::compile("first_block.c", linking));
        failures.conclude();
    }
}

#[test]
fn linked_statically_it_lives_through_what_programs_do() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("life.c", Linking::Static));
    failures.conclude();
}

/// The library registers an rseq area of its own for each thread there.
#[test]
fn linked_statically_on_musl_it_lives_through_what_programs_do() {
    if !has_musl() {
        eprintln!("left out: programs on musl: no musl-gcc");
        return;
    }
    let mut failures = Failures::default();
    for case in Program::compile("life.c", Linking::StaticMusl).cases() {
        failures.note(case.name(), case.run(Allocator::Strata));
    }
    failures.conclude();
}

#[test]
fn per_thread_caches_live_through_what_programs_do() {
    let mut failures = Failures::default();
    for case in Program::compile("life.c", Linking::Preloaded).cases() {
        failures.note(case.name(), case.run_configured("front_end:per_thread"));
    }
    failures.conclude();
}

#[test]
fn a_hardened_heap_lives_through_what_programs_do() {
    let mut failures = Failures::default();
    // Its pools and quarantines keep what threads freed.
    let keeps_little = |case: &Case| case.name() != "threads_leave_little_behind";
    let program = Program::compile("life.c", Linking::Preloaded);
    for case in program.cases().into_iter().filter(keeps_little) {
        failures.note(case.name(), case.run_configured("hardened:true"));
    }
    failures.conclude();
}

#[test]
fn it_lives_through_what_programs_do_where_libc_registers_no_rseq_area() {
    let mut failures = Failures::default();
    for case in Program::compile("life.c", Linking::Preloaded).cases() {
        failures.note(case.name(), case.run_without_rseq_of_libc());
    }
    failures.conclude();
}

fn under_a_limit(name: &str, kib: u32) {
    let program = Program::compile("life.c", Linking::Preloaded);
    let case = Case::named(&program, name);
    let mut failures = Failures::default();
    for allocator in [Allocator::Strata, Allocator::System] {
        failures.note(format_args!("{allocator:?}"), case.run_within(allocator, kib));
    }
    failures.conclude();
}

#[test]
fn it_starts_and_runs_in_64_mib_of_address_space() {
    under_a_limit("starts_and_runs_in_little_address_space", LITTLE_KIB);
    under_a_limit("most_of_little_address_space_is_the_programs", LITTLE_KIB);
}

#[test]
fn memory_that_ran_out_comes_back() {
    // How address space ends decides what metadata finds: little is left behind the last spans, or nothing.
    for more_kib in [0, 3000, 7080] {
        under_a_limit("memory_that_ran_out_comes_back", LIMITED_KIB + more_kib);
    }
}

#[test]
fn memory_runs_out_for_many_threads_at_once() {
    under_a_limit("memory_runs_out_for_many_threads_at_once", LIMITED_KIB);
}
