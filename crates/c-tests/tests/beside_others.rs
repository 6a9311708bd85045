//! Beside another library that is preloaded, before this one and behind it.

use std::path::Path;
use strata_c_tests::{Allocator, Linking, Program, shared_library};

/// Runs all cases with these libraries preloaded.
fn run(program: &Program, libraries: &[&Path]) {
    let paths: Vec<_> = libraries.iter().map(|path| path.to_string_lossy()).collect();
    for case in program.cases() {
        let mut command = program.command(Allocator::System);
        let output = command.arg(case.name()).env("LD_PRELOAD", paths.join(":")).output();
        let output = output.expect("it can be started");
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
