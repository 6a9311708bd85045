//! The report at the end of a program.

use strata_c_tests::{Allocator, Linking, Program, output_within_limit};

/// How many reports a program wrote to standard error.
fn reports(case: &str, environment: &[(&str, &str)]) -> usize {
    let program = Program::compile("report.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    command.arg(case).envs(environment.iter().copied());
    let output = output_within_limit(&mut command).expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}, {said}", output.status);
    said.matches("Bytes in use by application").count()
}

const ASKED: (&str, &str) = ("STRATA_CONF", "exit_report:tcmalloc");

#[test]
fn nobody_gets_a_report_unasked() {
    assert_eq!(reports("plain", &[]), 0);
}

#[test]
fn who_asks_gets_a_report() {
    assert_eq!(reports("plain", &[ASKED]), 1);
}

#[test]
fn a_program_that_closes_standard_error_gets_its_report() {
    assert_eq!(reports("closes_standard_error", &[ASKED]), 1);
}

#[test]
fn a_report_goes_to_no_file_that_only_has_the_number_of_standard_error() {
    assert_eq!(reports("reuses_all_descriptors", &[ASKED]), 0);
}

#[test]
fn a_child_writes_a_report_of_its_own() {
    assert_eq!(reports("forks", &[ASKED]), 2);
}

#[test]
fn only_the_named_process_writes_a_report() {
    assert_eq!(reports("forks", &[ASKED, ("STRATA_REPORT_PID", "1")]), 0);
    let program = Program::compile("report.c", Linking::Preloaded);
    let mut shell = std::process::Command::new("sh");
    let script = "STRATA_REPORT_PID=$$ LD_PRELOAD=\"$PRELOAD\" exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(program.path()).arg("forks");
    shell.env("PRELOAD", strata_c_tests::shared_library()).env(ASKED.0, ASKED.1);
    let output = output_within_limit(&mut shell).expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("Bytes in use by application").count(), 1, "{said}");
}

#[test]
fn a_program_that_skips_its_exit_handlers_writes_no_report() {
    assert_eq!(reports("ends_without_handlers", &[ASKED]), 0);
}

#[test]
fn an_unknown_key_costs_one_line_and_the_program_runs() {
    let program = Program::compile("report.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    let command = command.arg("plain").env("STRATA_CONF", "pgae_heap:legacy");
    let output = output_within_limit(command).expect("it ends");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "strata: STRATA_CONF: unknown key 'pgae_heap', value 'legacy': ignored\n");
}

#[test]
fn a_program_without_a_block_is_told_of_an_unknown_key_too() {
    let mut command = std::process::Command::new("true");
    command.env("LD_PRELOAD", strata_c_tests::shared_library());
    command.env("STRATA_CONF", "pgae_heap:legacy");
    let output = output_within_limit(&mut command).expect("it ends");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "strata: STRATA_CONF: unknown key 'pgae_heap', value 'legacy': ignored\n");
}
