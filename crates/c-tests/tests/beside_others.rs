//! Beside another library that is preloaded, before this one and behind it.

use std::path::Path;
use strata_c_tests::{Allocator, Linking, Program, output_within_limit, shared_library};

/// Runs all cases with these libraries preloaded.
fn run(program: &Program, libraries: &[&Path]) {
    run_some(program, libraries, |_| true);
}

/// Runs the cases with such names.
fn run_some(program: &Program, libraries: &[&Path], is_meant: impl Fn(&str) -> bool) {
    let paths: Vec<_> = libraries.iter().map(|path| path.to_string_lossy()).collect();
    for case in program.cases().iter().filter(|case| is_meant(case.name())) {
        let mut command = program.command(Allocator::System);
        let output =
            output_within_limit(command.arg(case.name()).env("LD_PRELOAD", paths.join(":")))
                .expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}, {paths:?}: {}, {said}", case.name(), output.status);
    }
}

#[test]
fn a_library_that_stands_before_system_calls_and_has_fork_handlers_goes_before_it_or_behind() {
    let other = Program::compile_library("other_library.c");
    let program = Program::compile("beside_others.c", Linking::Preloaded);
    let ours = shared_library();
    run(&program, &[&other]);
    run(&program, &[&other, &ours]);
    run(&program, &[&ours, &other]);
}

/// The loader looks for "the next" behind who calls `dlsym`: here that library.
#[test]
fn a_library_with_a_dlsym_of_its_own_goes_before_it() {
    let other = Program::compile_library("own_dlsym.c");
    let program = Program::compile("beside_others.c", Linking::Preloaded);
    let is_meant = |name: &str| name == "threads_and_forks_and_reports_go_on";
    run_some(&program, &[&other, &shared_library()], is_meant);
}

#[test]
fn on_a_c_library_that_keeps_its_list_while_handlers_run_forks_and_registrations_go_on() {
    let older = Program::compile_library("older_fork.c");
    run(&Program::compile("registrations.c", Linking::Preloaded), &[&shared_library(), &older]);
}
