//! `MallocExtension`, as a C program finds it by the dynamic linker.

use strata_c_tests::{Failures, Linking, Program};

fn every_case_holds(conf: &str) {
    let program = Program::compile("malloc_extension.c", Linking::Preloaded);
    let mut failures = Failures::default();
    for case in program.cases() {
        failures.note(format_args!("{} ({conf})", case.name()), case.run_configured(conf));
    }
    failures.conclude();
}

#[test]
fn malloc_extension_does_what_its_header_says() {
    every_case_holds("");
}

#[test]
fn malloc_extension_does_so_where_caches_are_per_thread() {
    every_case_holds("front_end:per_thread");
}
