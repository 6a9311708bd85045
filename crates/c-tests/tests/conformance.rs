//! What C, POSIX and glibc's manual promise, of the library preloaded and linked.

use strata_c_tests::{Failures, Linking, Program};

fn every_case_holds(linking: Linking) {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("conformance.c", linking));
    failures.conclude();
}

#[test]
fn preloaded_it_keeps_the_standards() {
    every_case_holds(Linking::Preloaded);
}

#[test]
fn linked_as_an_archive_it_keeps_the_standards() {
    every_case_holds(Linking::Archive);
}

#[test]
fn linked_statically_it_keeps_the_standards() {
    every_case_holds(Linking::Static);
}

#[test]
fn every_configuration_keeps_the_standards() {
    let program = Program::compile("conformance.c", Linking::Preloaded);
    let mut failures = Failures::default();
    for page_heap in ["legacy", "temeraire"] {
        for front_end in ["per_cpu", "per_thread"] {
            let conf = format!("page_heap:{page_heap},front_end:{front_end}");
            for case in program.cases() {
                failures.note(format_args!("{} ({conf})", case.name()), case.run_configured(&conf));
            }
        }
    }
    for case in program.cases() {
        let conf = "hardened:true";
        failures.note(format_args!("{} ({conf})", case.name()), case.run_configured(conf));
    }
    failures.conclude();
}
