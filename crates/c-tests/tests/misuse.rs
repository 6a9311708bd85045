//! Pointers that were never handed out, or are handed back twice: one line that names the pointer, and an end.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use strata_c_tests::{Allocator, Linking, Program, output_within_limit};

const SIGABRT: i32 = 6;

/// Runs a case; the pointer that it told, and what the library said.
fn said_of(case: &str, conf: &str) -> (String, String) {
    let program = Program::compile("misuse.c", Linking::Preloaded);
    let mut command = program.command(Allocator::Strata);
    let output = output_within_limit(command.arg(case).env("STRATA_CONF", conf)).expect("it ends");
    let said = without_thread(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.signal(), Some(SIGABRT), "{case}: {}, {said}", output.status);
    (String::from_utf8_lossy(&output.stdout).trim_end().to_owned(), said)
}

/// The line with `_` for the number of each thread.
fn without_thread(said: &str) -> String {
    let mut parts = said.split("thread ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| {
        line + "thread _" + part.trim_start_matches(|digit: char| digit.is_ascii_digit())
    })
}

#[test]
fn a_pointer_that_was_never_handed_out_is_named() {
    for case in [
        "stack",
        "static_data",
        "text",
        "own_mapping",
        "unmapped",
        "low",
        "beyond_user_space",
        "all_ones",
        "before_the_first_block",
        "realloc_of_static_data",
    ] {
        for conf in ["", "front_end:per_thread", "hardened:true"] {
            let (pointer, said) = said_of(case, conf);
            let function = if case.starts_with("realloc") { "realloc" } else { "free" };
            let expected = format!(
                "strata: pointer that was never handed out: {function}({pointer}), in no span, thread _; last: unknown\n"
            );
            assert_eq!(said, expected, "{case}");
        }
    }
}

/// One line that begins so and names the pointer.
fn one_line_names_the_pointer(case: &str, beginning: &str) {
    for conf in ["", "front_end:per_thread"] {
        let (pointer, said) = said_of(case, conf);
        assert!(said.starts_with(beginning), "{case}: {said}");
        assert!(said.contains(&pointer), "{case}: {said} names {pointer}");
        assert_eq!(said.matches('\n').count(), 1, "{case}: {said}");
    }
}

#[test]
fn a_pointer_into_a_large_block_is_named() {
    one_line_names_the_pointer("inside_a_large_block", "strata: pointer into a block: free(");
}

#[test]
fn a_large_block_freed_twice_is_named() {
    one_line_names_the_pointer("large_block_twice", "strata: ");
}

#[test]
fn a_small_block_freed_twice_is_named_when_it_leaves_the_caches() {
    one_line_names_the_pointer("small_block_twice", "strata: ");
    one_line_names_the_pointer("small_block_twice_in_a_thread_that_ends", "strata: ");
}

#[test]
fn a_pointer_into_a_small_block_is_named_when_it_leaves_the_caches() {
    one_line_names_the_pointer("inside_a_small_block", "strata: pointer into a block: free(");
}

#[test]
fn a_write_after_free_in_a_hardened_heap_is_found_while_the_program_does_other_things() {
    let (pointer, said) = said_of("written_after_free_and_left_alone", "hardened:true");
    let span =
        said.split("span ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let expected = format!(
        "strata: write after free: sweep({pointer}), class 8 of 112 bytes, span {span} of 1 pages, thread _; \
         last: freed by thread _\n"
    );
    assert_eq!(said, expected);
}

/// What eight threads do wrong at once is told line by line, each of it once, and they go on.
#[test]
fn lines_of_many_threads_are_whole_and_as_many_as_misuses() {
    let program = Program::compile("misuse.c", Linking::Preloaded);
    for conf in
        ["misuse:report", "misuse:report,front_end:per_thread", "misuse:report,hardened:true"]
    {
        let mut command = program.command(Allocator::Strata);
        let command = command.arg("many_at_once_in_eight_threads").env("STRATA_CONF", conf);
        let output = output_within_limit(command).expect("it ends");
        let said = without_thread(&String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{conf}: {}, {said}", output.status);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut expected = Vec::new();
        for line in told.lines() {
            let [freed, resized, inside] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("three pointers: {line}");
            };
            let nowhere = "in no span, thread _; last: unknown";
            expected.push(format!("pointer that was never handed out: free({freed}), {nowhere}"));
            expected
                .push(format!("pointer that was never handed out: realloc({resized}), {nowhere}"));
            expected.push(format!("pointer into a block: free({inside})"));
        }
        let mut lines: Vec<String> = Vec::new();
        for line in said.lines() {
            let line = line.strip_prefix("strata: ").unwrap_or_else(|| panic!("{conf}: {line}"));
            // Of which class, the other tests compare.
            let is_inside = line.starts_with("pointer into a block: ");
            let (beginning, rest) = line.split_once("), ").expect("a pointer stands in brackets");
            if is_inside {
                assert!(
                    rest.starts_with("class ") && rest.ends_with(" pages, thread _; last: unknown"),
                    "{line}"
                );
            }
            lines.push(if is_inside { format!("{beginning})") } else { line.to_owned() });
        }
        expected.sort();
        lines.sort();
        assert_eq!(expected.len(), 8 * 100 * 3);
        assert!(lines == expected, "{conf}: {said}");
    }
}

/// What is said to a pipe that nobody reads is lost, and the program ends as it would have.
#[test]
fn a_line_that_nobody_reads_is_lost_and_nothing_else() {
    let program = Program::compile("misuse.c", Linking::Preloaded);
    for (conf, signal) in [
        ("", Some(SIGABRT)),
        ("hardened:true", Some(SIGABRT)),
        ("misuse:report", None),
        ("misuse:report,front_end:sideways,exit_report:tcmalloc", None),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be had");
        drop(reader);
        let mut command = program.command(Allocator::Strata);
        let command = command.arg("stack").env("STRATA_CONF", conf).stdout(Stdio::null());
        let status = command.stderr(writer).status().expect("it can be started");
        assert_eq!(status.signal(), signal, "{conf}: {status}");
        assert_eq!(status.code(), if signal.is_none() { Some(0) } else { None }, "{conf}");
    }
}
