//! What is seen of misuse, and what an attacker gets, case by case: in the default build and in a hardened heap, with
//! every line compared whole.

#![allow(clippy::panic, reason = "a test may fail")]

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use strata_c_tests::{Allocator, Linking, Program, has_cxx, output_within_limit};

/// How a case ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// With this line, in which every address, thread and count of pages is `_`, and by `SIGABRT`.
    Line(&'static str),
    /// By `SIGSEGV`.
    Fault,
    /// As if nothing were wrong, and without what the attacker wanted.
    Contained,
    /// The attacker has what he wanted.
    Exploited,
}

use End::{Contained, Exploited, Fault, Line};

const NOWHERE: &str =
    "pointer that was never handed out: free(_), in no span, thread _; last: unknown";
const TWICE: &str = "double free: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed into a cache";
/// Found when it is handed out again.
const AGAIN: &str = "block freed twice, or written after free: malloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed into a cache";
const TWICE_HARDENED: &str = "double free: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed by thread _";
const INSIDE: &str = "pointer into a block: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: unknown";
const INSIDE_LARGE: &str =
    "pointer into a block: free(_), large block, span _ of _ pages, thread _; last: unknown";
const OVERFLOW: &str = "write beyond the end of a block: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; \
                        last: allocated with 104 bytes by thread _";

/// The case, its end in the default build, and in a hardened heap.
const CASES: [(&str, End, End); 57] = [
    ("double_free_next_call", Line(TWICE), Line(TWICE_HARDENED)),
    ("double_free_a_b_a", Line(AGAIN), Line(TWICE_HARDENED)),
    ("double_free_after_thousands", Line(AGAIN), Line(TWICE_HARDENED)),
    ("double_free_other_thread", Line(TWICE), Line(TWICE_HARDENED)),
    ("double_free_two_threads_at_once", Line(AGAIN), Line(TWICE_HARDENED)),
    ("double_free_of_what_realloc_left", Line(TWICE), Line(TWICE_HARDENED)),
    ("double_free_after_neighbours_were_used_again", Line(TWICE), Line(TWICE_HARDENED)),
    (
        "double_free_of_an_aligned_block",
        Line(
            "double free: free(_), class 16 of 256 bytes, span _ of _ pages, thread _; last: freed into a cache",
        ),
        Line(
            "double free: free(_), class 18 of 320 bytes, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    (
        "double_free_of_the_smallest_block",
        Line(
            "double free: free(_), class 1 of 8 bytes, span _ of _ pages, thread _; last: freed into a cache",
        ),
        Line(
            "double free: free(_), class 2 of 16 bytes, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    ("double_free_after_realloc_to_nothing", Line(TWICE), Line(TWICE_HARDENED)),
    (
        "double_sized_free",
        Line(
            "double free: sized free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed into a cache",
        ),
        Line(
            "double free: sized free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    (
        "double_free_of_a_large_block",
        Line("pointer into free memory: free(_), in no span, thread _; last: unknown"),
        Line(
            "double free: free(_), large block, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    (
        "double_free_of_an_unmapped_block",
        Line("pointer into free memory: free(_), in no span, thread _; last: unknown"),
        Line("pointer into free memory: free(_), in no span, thread _; last: unknown"),
    ),
    ("stale_free_of_the_next_owners_block", Exploited, Line(TWICE_HARDENED)),
    ("free_of_the_stack", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_static_data", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_text", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_a_mapping", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_an_unmapped_address", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_a_low_address", Line(NOWHERE), Line(NOWHERE)),
    ("free_of_an_address_beyond_user_space", Line(NOWHERE), Line(NOWHERE)),
    ("free_inside_a_block", Line(INSIDE), Line(INSIDE)),
    ("free_inside_a_block_at_an_odd_address", Line(INSIDE), Line(INSIDE)),
    (
        "free_inside_a_block_of_a_power_of_two",
        Line(
            "pointer into a block: free(_), class 16 of 256 bytes, span _ of _ pages, thread _; last: unknown",
        ),
        Line(
            "pointer into a block: free(_), class 17 of 288 bytes, span _ of _ pages, thread _; last: unknown",
        ),
    ),
    ("free_eight_bytes_into_a_block", Line(INSIDE), Line(INSIDE)),
    (
        "free_of_a_forged_block",
        Line(
            "pointer into a block: free(_), class 28 of 1024 bytes, span _ of _ pages, thread _; last: unknown",
        ),
        Line(
            "pointer into a block: free(_), class 28 of 1024 bytes, span _ of _ pages, thread _; last: unknown",
        ),
    ),
    ("free_of_a_large_blocks_second_page", Line(INSIDE_LARGE), Line(INSIDE_LARGE)),
    ("free_inside_a_large_block", Line(INSIDE_LARGE), Line(INSIDE_LARGE)),
    (
        "free_of_a_block_that_nobody_has",
        Line(AGAIN),
        Line(
            "pointer that was never handed out: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: none",
        ),
    ),
    (
        "realloc_of_the_stack",
        Line("pointer that was never handed out: realloc(_), in no span, thread _; last: unknown"),
        Line("pointer that was never handed out: realloc(_), in no span, thread _; last: unknown"),
    ),
    (
        "realloc_of_a_freed_block",
        Line(
            "use of a freed block: realloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed into a cache",
        ),
        Line(
            "use of a freed block: realloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    (
        "realloc_inside_a_block",
        Line(
            "pointer into a block: realloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: unknown",
        ),
        Line(
            "pointer into a block: realloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: unknown",
        ),
    ),
    (
        "size_of_the_stack",
        Contained,
        Line(
            "pointer that was never handed out: malloc_usable_size(_), in no span, thread _; last: unknown",
        ),
    ),
    (
        "size_of_a_freed_block",
        Line(
            "use of a freed block: malloc_usable_size(_), class 8 of 112 bytes, span _ of _ pages, thread _; \
             last: freed into a cache",
        ),
        Line(
            "use of a freed block: malloc_usable_size(_), class 8 of 112 bytes, span _ of _ pages, thread _; \
             last: freed by thread _",
        ),
    ),
    (
        "sized_free_of_the_stack",
        Line(
            "pointer that was never handed out: sized free(_), in no span, thread _; last: unknown",
        ),
        Line(
            "pointer that was never handed out: sized free(_), in no span, thread _; last: unknown",
        ),
    ),
    (
        "sized_free_with_less",
        Line(
            "wrong size: sized free(_), class 28 of 1024 bytes, span _ of _ pages, thread _; last: freed with 100 bytes",
        ),
        Line(
            "wrong size: sized free(_), class 28 of 1024 bytes, span _ of _ pages, thread _; \
             last: allocated with 1000 bytes by thread _",
        ),
    ),
    (
        "sized_free_with_more",
        Line(
            "wrong size: sized free(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed with 1000 bytes",
        ),
        Line(
            "wrong size: sized free(_), class 8 of 112 bytes, span _ of _ pages, thread _; \
             last: allocated with 100 bytes by thread _",
        ),
    ),
    (
        "sized_free_of_a_large_block_with_little",
        Line(
            "wrong size: sized free(_), large block, span _ of _ pages, thread _; last: freed with 100 bytes",
        ),
        Line(
            "wrong size: sized free(_), large block, span _ of _ pages, thread _; \
             last: allocated with 1048576 bytes by thread _",
        ),
    ),
    ("link_to_an_address", Line(AGAIN), Contained),
    ("link_to_an_address_in_a_remote_block", Line(AGAIN), Contained),
    ("link_of_garbage", Line(AGAIN), Contained),
    ("link_by_a_public_rule", Line(AGAIN), Contained),
    ("link_copied_from_another_block", Contained, Contained),
    ("overflow_by_1", Exploited, Line(OVERFLOW)),
    ("overflow_by_8", Exploited, Line(OVERFLOW)),
    ("overflow_by_32", Exploited, Line(OVERFLOW)),
    (
        "underflow_by_8",
        Exploited,
        Line(
            "write before the beginning of a block: free(_), class 8 of 112 bytes, span _ of _ pages, thread _; \
             last: allocated with 104 bytes by thread _",
        ),
    ),
    ("overflow_by_a_page_behind_a_large_block", Exploited, Fault),
    ("underflow_before_a_large_block", Exploited, Fault),
    (
        "write_to_a_block_of_no_bytes",
        Contained,
        Line(
            "write beyond the end of a block: free(_), class 1 of 8 bytes, span _ of _ pages, thread _; \
             last: allocated with 0 bytes by thread _",
        ),
    ),
    ("write_after_free_then_calloc", Line(AGAIN), Contained),
    (
        "write_after_free_into_the_next_owners_block",
        Exploited,
        Line(
            "write after free: malloc(_), class 8 of 112 bytes, span _ of _ pages, thread _; last: freed by thread _",
        ),
    ),
    ("read_of_a_freed_secret", Exploited, Contained),
    ("read_of_the_previous_owners_secret", Exploited, Contained),
    ("read_of_a_freed_large_block", Contained, Fault),
    ("next_address_is_known", Contained, Contained),
    ("last_freed_is_next", Exploited, Contained),
];

/// Cases that end one way or another by chance: what waits where is a matter of moments, or of random places.
fn may_also_end(case: &str, hardened: bool, end: End) -> bool {
    match (case, hardened) {
        // The two may have been in one CPU's cache, one after the other, or in those of two: there the second waits
        // until it is handed out, or leaves the cache.
        (
            "double_free_two_threads_at_once"
            | "double_free_other_thread"
            | "link_to_an_address_in_a_remote_block"
            | "double_free_there_and_here"
            | "free_of_16_bytes_on_two_cpus"
            | "free_of_100_bytes_on_two_cpus"
            | "free_of_9000_bytes_on_two_cpus"
            | "double_free_of_64_blocks_by_four_threads"
            | "double_free_by_two_threads_that_ended",
            false,
        ) => match end {
            Line(line) => {
                line.starts_with("double free: flush of a cache(")
                    // The span went back with the first of the two.
                    || line.starts_with("pointer into free memory: flush of a cache(")
                    || line.starts_with("double free: free(")
                    || line.starts_with("block freed twice, or written after free: ")
            }
            Contained => true,
            Exploited | Fault => false,
        },
        // Some of the thousand are found in the quarantine.
        ("write_after_free_then_calloc", true) => match end {
            Line(line) => line.starts_with("write after free: malloc("),
            _ => false,
        },
        (
            "link_to_an_address"
            | "link_to_an_address_in_a_remote_block"
            | "link_of_garbage"
            | "link_by_a_public_rule"
            | "link_copied_from_another_block",
            true,
        ) => match end {
            Line(line) => line.starts_with("write after free: malloc("),
            _ => false,
        },
        ("next_address_is_known", false) => end == Exploited,
        _ => false,
    }
}

/// How heaps are configured: where CPUs have caches, by the CPUs' own numbers. Cases choose their CPUs; the number
/// that the kernel gives a thread beside them may be another one at another time, and be the same on two.
const DEFAULT: &str = "cpu_id:cpu";
const HARDENED: &str = "hardened:true";
const REPORTED: [&str; 2] = ["cpu_id:cpu,misuse:report", "hardened:true,misuse:report"];

/// What the program does that does `case`.
fn run(program: &Program, case: &str, conf: &str) -> Output {
    let mut command = program.command(Allocator::Strata);
    output_within_limit(command.arg(case).env("STRATA_CONF", conf)).expect("it ends")
}

/// How it ends.
fn end_of(program: &Program, case: &str, conf: &str) -> End {
    const SIGABRT: i32 = 6;
    const SIGSEGV: i32 = 11;
    let output = run(program, case, conf);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match (output.status.signal(), output.status.code()) {
        (Some(SIGABRT), _) => {
            // Several threads may each have had a line before the first of them ended the program.
            assert!(said.ends_with('\n'), "{case}, {conf}: {said}");
            let mut lines = said.lines().map(|line| line.strip_prefix("strata: "));
            assert!(lines.clone().all(|line| line.is_some()), "{case}, {conf}: {said}");
            let line = lines.next().flatten().unwrap_or_else(|| panic!("{case}, {conf}: {said}"));
            Line(plain(line).leak())
        }
        (Some(SIGSEGV), _) if said.is_empty() => Fault,
        (_, Some(0)) if said.is_empty() => Contained,
        (_, Some(42)) if said.is_empty() => Exploited,
        _ => panic!("{case}, {conf}: {}, {said}", output.status),
    }
}

/// The line with `_` for every address, thread and count of pages.
fn plain(line: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut plain = String::new();
    let mut before = "";
    for word in line.split_inclusive([' ', '(', ')', ',', ';']) {
        let (name, end) = word.split_at(word.trim_end_matches([' ', '(', ')', ',', ';']).len());
        let is_address = name.starts_with("0x");
        let is_count = is_number(name)
            && (before.trim_end() == "thread"
                || line.contains(&format!("{name} pages"))
                    && before.trim_end() == "of"
                    && !line.contains(&format!("of {name} bytes")));
        plain.push_str(if is_address || is_count { "_" } else { name });
        plain.push_str(end);
        if !name.is_empty() {
            before = word;
        }
    }
    plain
}

fn compare(hardened: bool) {
    let program = Program::compile("misuse_table.c", Linking::Preloaded);
    let listed: Vec<String> = program.cases().iter().map(|case| case.name().to_owned()).collect();
    assert_eq!(listed, CASES.map(|(case, ..)| case.to_owned()), "every case has its ends");
    let conf = if hardened { HARDENED } else { DEFAULT };
    let (mut exploited, mut reported, mut wrong) = (0, 0, Vec::new());
    for (case, default, in_hardened) in CASES {
        let expected = if hardened { in_hardened } else { default };
        let end = end_of(&program, case, conf);
        if end != expected && !may_also_end(case, hardened, end) {
            wrong.push(format!("{case}: {end:?} instead of {expected:?}"));
        }
        // An end by chance is compared above; what is counted is the same in each run.
        exploited += usize::from(end == Exploited && !may_also_end(case, hardened, end));
        reported += usize::from(matches!(end, Line(_)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (least_kept, least_reported) = if hardened { (57, 40) } else { (46, 38) };
    assert!(CASES.len() - exploited >= least_kept, "{exploited} exploited");
    assert!(reported >= least_reported, "{reported} reported");
}

#[test]
fn every_case_of_misuse_ends_in_the_default_build_as_it_is_known_to() {
    compare(false);
}

#[test]
fn every_case_of_misuse_ends_in_a_hardened_heap_as_it_is_known_to() {
    compare(true);
}

/// The ends that a list has for a case.
struct Known {
    case: &'static str,
    /// By default, and hardened.
    ends: [Vec<End>; 2],
}

impl Known {
    /// Whether the list has this end. A line in it that ends with an asterisk stands for all that begin so.
    fn has(&self, hardened: bool, end: End) -> bool {
        self.ends[usize::from(hardened)].iter().any(|&known| match (known, end) {
            (Line(known), Line(line)) => match known.strip_suffix('*') {
                Some(beginning) => line.starts_with(beginning),
                None => known == line,
            },
            _ => known == end,
        })
    }
}

fn known_ends(list: &'static str) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((mode, end)) = line.trim_start().split_once(": ") else {
            known.push(Known { case: line, ends: [Vec::new(), Vec::new()] });
            continue;
        };
        let end = match end {
            "contained" => Contained,
            "exploited" => Exploited,
            "fault" => Fault,
            line => Line(line),
        };
        let case = known.last_mut().expect("a case stands before its ends");
        case.ends[usize::from(mode == "hardened")].push(end);
    }
    known
}

/// Compares each case of a program with the list of its ends; by default at most so many reach their aim, and
/// hardened none.
fn compare_with_list(source: &'static str, list: &'static str, most_exploited: usize) {
    if !has_cxx() {
        return;
    }
    let program = Program::compile(source, Linking::Preloaded);
    let known = known_ends(list);
    let listed: Vec<String> = program.cases().iter().map(|case| case.name().to_owned()).collect();
    let written: Vec<&str> = known.iter().map(|known| known.case).collect();
    assert_eq!(listed, written, "every case has its ends");
    let mut wrong = Vec::new();
    for (hardened, conf) in [(false, DEFAULT), (true, HARDENED)] {
        let mut exploited = Vec::new();
        for known in &known {
            let end = end_of(&program, known.case, conf);
            if !known.has(hardened, end) && !may_also_end(known.case, hardened, end) {
                wrong.push(format!("{}, {conf}: {end:?}", known.case));
            }
            exploited.extend((end == Exploited).then_some(known.case));
        }
        let most = if hardened { 0 } else { most_exploited };
        assert!(exploited.len() <= most, "{conf}: {exploited:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_after_other_suites_ends_as_it_is_known_to() {
    compare_with_list("misuse_suites.cc", include_str!("misuse_suites.txt"), 8);
}

#[test]
fn every_mistake_that_programs_make_ends_as_it_is_known_to() {
    compare_with_list("misuse_programs.cc", include_str!("misuse_programs.txt"), 0);
}

#[test]
fn every_case_in_circumstances_ends_as_it_is_known_to() {
    compare_with_list("misuse_circumstances.cc", include_str!("misuse_circumstances.txt"), 6);
}

/// Where misuse is reported only, no mistake hangs, crashes, or has less said of it than where it ends the program.
#[test]
fn every_mistake_that_programs_make_may_be_survived() {
    if !has_cxx() {
        return;
    }
    let program = Program::compile("misuse_programs.cc", Linking::Preloaded);
    for Known { case, ends } in known_ends(include_str!("misuse_programs.txt")) {
        for (ends, conf) in ends.iter().zip(REPORTED) {
            // By chance it is not said; and the C library itself follows what is null since.
            if !ends.iter().all(|end| matches!(end, Line(_))) || ends.contains(&Fault) {
                continue;
            }
            let output = run(&program, case, conf);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let code = output.status.code();
            assert!(
                code == Some(0) && !said.is_empty(),
                "{case}, {conf}: {}, {said}",
                output.status
            );
            let are_lines =
                said.lines().all(|line| line.starts_with("strata: ") && line.contains("; last: "));
            assert!(are_lines && said.ends_with('\n'), "{case}, {conf}: {said}");
        }
    }
}

/// With `misuse:report` a program is told the same, and goes on, and the attacker has nothing more than that.
#[test]
fn what_is_reported_may_be_survived() {
    let program = Program::compile("misuse_table.c", Linking::Preloaded);
    for (case, default, in_hardened) in CASES {
        for (end, conf) in [default, in_hardened].into_iter().zip(REPORTED) {
            let Line(line) = end else { continue };
            if may_also_end(case, conf.starts_with("hardened"), Contained) {
                continue;
            }
            let output = run(&program, case, conf);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let first = said.lines().next().and_then(|line| line.strip_prefix("strata: "));
            assert_eq!(first.map(plain).as_deref(), Some(line), "{case}, {conf}");
            // What was written beyond a block's end stays written.
            let stays_written = case.starts_with("overflow") || case.starts_with("underflow");
            let code = output.status.code();
            let goes_on = code == Some(0) || code == Some(42) && stays_written;
            assert!(goes_on, "{case}, {conf}: {}, {said}", output.status);
        }
    }
}
