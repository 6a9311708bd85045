//! `MallocExtension`, as a C program finds it by the dynamic linker.

use strata_c_tests::{Failures, Linking, Program};

fn every_case_holds(source: &str, conf: &str) {
    let program = Program::compile(source, Linking::Preloaded);
    let mut failures = Failures::default();
    for case in program.cases() {
        failures.note(format_args!("{} ({conf})", case.name()), case.run_configured(conf));
    }
    failures.conclude();
}

#[test]
fn malloc_extension_does_what_its_header_says() {
    every_case_holds("malloc_extension.c", "");
}

#[test]
fn malloc_extension_does_so_where_caches_are_per_thread() {
    every_case_holds("malloc_extension.c", "front_end:per_thread");
}

#[test]
fn programs_that_were_compiled_for_gperftools_get_its_functions() {
    every_case_holds("gperftools.c", "");
    every_case_holds("gperftools.c", "front_end:per_thread");
    every_case_holds("gperftools.c", "page_heap:legacy");
}
