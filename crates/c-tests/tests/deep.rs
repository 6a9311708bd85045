//! Libraries that look for `malloc` in the C library.

use std::path::Path;
use strata_c_tests::{Allocator, Linking, Program, output_within_limit};

#[test]
fn who_looks_for_malloc_in_the_c_library_gets_the_programs() {
    let library = Program::compile_library("deep_library.c");
    for arguments in [&["-rdynamic"][..], &["-rdynamic", "-fno-pie", "-no-pie"]] {
        let program = Program::compile_with("deep.c", Linking::Preloaded, arguments);
        run(&program, &library);
    }
}

fn run(program: &Program, library: &Path) {
    for allocator in [Allocator::System, Allocator::Strata] {
        for conf in ["", "front_end:per_thread", "hardened:true"] {
            for case in program.cases() {
                let mut command = program.command(allocator);
                command.arg(case.name()).arg(library).env("STRATA_CONF", conf);
                let output = output_within_limit(&mut command).expect("it ends");
                let said = String::from_utf8_lossy(&output.stderr);
                let name = case.name();
                assert!(
                    output.status.success(),
                    "{name}, {allocator:?} {conf}: {}, {said}",
                    output.status
                );
            }
            if allocator == Allocator::System {
                break;
            }
        }
    }
}
