//! The heap's own thread in programs.

use strata_c_tests::{Case, Failures, Linking, Program};

#[test]
fn programs_live_beside_it() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("background.c", Linking::Preloaded));
    failures.conclude();
}

#[test]
fn programs_live_beside_it_with_other_layers() {
    let program = Program::compile("background.c", Linking::Preloaded);
    let mut failures = Failures::default();
    for conf in ["front_end:per_thread", "page_heap:legacy"] {
        for name in ["freed_memory_goes_back_while_the_program_sleeps", "a_storm_of_forks"] {
            let case = Case::named(&program, name);
            failures.note(format_args!("{conf}, {}", case.name()), case.run_configured(conf));
        }
    }
    failures.conclude();
}

#[test]
fn a_program_can_be_without_it() {
    let program = Program::compile("background.c", Linking::Preloaded);
    let case = Case::named(&program, "none_where_it_is_switched_off");
    let mut failures = Failures::default();
    failures.note("off", case.run_configured("background_thread:false"));
    failures.conclude();
}
