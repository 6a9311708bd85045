//! Libraries that are loaded while the program runs.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use strata_c_tests::{Allocator, Linking, Program, has_cxx, output_within_limit, shared_library};

const SIGABRT: i32 = 6;

fn run(case: &str, library: &Path, allocator: Allocator) {
    let program = Program::compile("late.c", Linking::Preloaded);
    let output =
        output_within_limit(program.command(allocator).arg(case).arg(library)).expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}, {allocator:?}: {}, {said}", output.status);
}

#[test]
fn a_cxx_library_in_a_c_program_gets_its_exceptions() {
    if has_cxx() {
        let library = Program::compile_library("late_cxx.cc");
        for allocator in [Allocator::Strata, Allocator::System] {
            run("a_late_cxx_library_catches_bad_alloc", &library, allocator);
            run("libraries_come_and_go", &library, allocator);
        }
    } else {
        eprintln!("left out: C++ libraries that come late: no c++");
    }
}

#[test]
fn the_library_itself_may_come_late() {
    for case in [
        "the_allocator_may_come_late",
        "the_allocator_may_come_late_and_keep_to_itself",
        "the_allocator_may_come_late_for_all",
    ] {
        run(case, &shared_library(), Allocator::System);
    }
}

#[test]
fn two_copies_live_side_by_side() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libstrata-copy.so");
    std::fs::copy(shared_library(), &copy).expect("a file can be copied");
    run("the_allocator_may_come_late", &copy, Allocator::Strata);
    std::fs::remove_file(&copy).expect("it is ours");
}

#[test]
fn operator_new_without_a_cxx_runtime_ends_the_program_with_one_line() {
    let program = Program::compile("late.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    let output = output_within_limit(command.arg("a_program_without_cxx_ends_with_a_line"))
        .expect("it ends");
    assert_eq!(output.status.signal(), Some(SIGABRT));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "strata: operator new: no memory for 9223372036854775808 bytes, aligned to 1, \
         and no C++ runtime that could throw std::bad_alloc\n"
    );
}
