//! Programs that give up their rights one call after the other are not ended because of the heap's thread.

use strata_c_tests::{Failures, Linking, Program};

#[test]
fn a_program_that_gives_up_its_rights_lives() {
    for linking in [Linking::Preloaded, Linking::Static] {
        let mut failures = Failures::default();
        failures.run_all(&Program::compile("rights.c", linking));
        failures.conclude();
    }
}

/// The heap has a thread from the start there.
#[test]
fn a_program_that_writes_snapshots_and_gives_up_its_rights_lives() {
    let program = Program::compile("rights.c", Linking::Preloaded);
    let directory = program.path().with_extension("snapshots");
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let conf = format!("snapshot_interval:1,snapshot_file:{}/%p", directory.display());
    let mut failures = Failures::default();
    for case in program.cases() {
        failures.note(case.name(), case.run_configured(&conf));
    }
    failures.conclude();
}
