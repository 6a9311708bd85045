//! Programs that nobody here wrote, whose memory runs out: at the n-th call for address space or for access to it,
//! once or for good, and at limits on their address space. They end by their own means, or go on.
//! `STRATA_ALL_FAULTS` fails every call, not a sample.

use core::sync::atomic::{AtomicU32, Ordering};
use std::env;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use strata_c_tests::{Failures, shared_library};

/// A program, its arguments, and what it reads.
struct Subject {
    program: &'static str,
    arguments: &'static [&'static str],
    input: fn() -> String,
    /// What it prints if nothing fails.
    prints: &'static str,
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        program: "sqlite3",
        arguments: &[":memory:"],
        input: || {
            "CREATE TABLE t (i INTEGER PRIMARY KEY, s TEXT, b BLOB);\n\
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)\n\
             INSERT INTO t SELECT i, 'name' || (i * 7919 % 10007), zeroblob(i % 5000) FROM n;\n\
             CREATE INDEX x ON t (s);\nSELECT count(*) FROM t;\n"
                .to_owned()
        },
        prints: "6000\n",
    },
    Subject {
        program: "python3",
        arguments: &["-S", "-s", "-"],
        input: || {
            "rows = [{'i': i, 's': 'n%d' % i, 'b': bytes(i % 3000)} for i in range(6000)]\n\
             large = bytearray(20_000_000)\nrows.sort(key=lambda row: row['s'])\n\
             print(len(rows), len(large))\n"
                .to_owned()
        },
        prints: "6000 20000000\n",
    },
    Subject {
        program: "sort",
        arguments: &["-S", "40M", "--parallel=2"],
        input: || {
            (0..50_000_u32).map(|i| format!("{} line\n", i.wrapping_mul(2_654_435_761))).collect()
        },
        prints: "",
    },
    Subject {
        program: "perl",
        arguments: &["-"],
        input: || {
            "my %h; for my $i (1 .. 60000) { $h{$i * 7919 % 100003} = 'x' x ($i % 300) }\n\
             my $s = join ',', sort keys %h; print scalar(keys %h), \"\\n\";\n"
                .to_owned()
        },
        prints: "60000\n",
    },
];

/// Runs it behind `prefix`, with the library preloaded to the program alone.
fn run(subject: &Subject, prefix: &[String]) -> Output {
    let preload = format!("LD_PRELOAD={}", shared_library().display());
    let mut command = Command::new("timeout");
    command
        .arg("1200")
        .args(prefix)
        .args([
            "env",
            &preload,
            "PYTHONHASHSEED=0",
            "PERL_HASH_SEED=0",
            "PERL_PERTURB_KEYS=0",
            subject.program,
        ])
        .args(subject.arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("timeout can be started");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = (subject.input)();
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it writes");
    output
}

/// What programs end by that gave up: Python aborts; Perl, when it has said so, leaves scopes in the middle of what
/// it was about, and may fall over a value that is half made (`Perl_croak_no_mem`, `Perl_my_exit`,
/// `Perl_sv_clear`).
const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// What must not happen: death by a signal, unless the program says itself that it gives up, and any word of ours.
fn verdict(subject: &Subject, output: &Output) -> Result<(), String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let signal = output
        .status
        .signal()
        .or_else(|| output.status.code().filter(|code| *code > 128).map(|code| code - 128));
    let gave_up = said.contains("Fatal Python error") || said.contains("memory");
    let wrong_result = output.status.success()
        && !subject.prints.is_empty()
        && output.stdout != subject.prints.as_bytes()
        && said.is_empty();
    let is_good = !said.contains("strata: ")
        && !wrong_result
        && output.status.code() != Some(124)
        && match signal {
            None => true,
            Some(signal) => {
                gave_up && (signal == SIGABRT || signal == SIGSEGV && said == "Out of memory!\n")
            }
        };
    if is_good { Ok(()) } else { Err(format!("{}, {}", output.status, said.trim_end())) }
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Which of the calls in an undisturbed run is the first that is not the loader's, which dies of a failed one with
/// or without us, and how many there are. Each thread counts by itself.
fn calls(subject: &Subject, call: &str) -> (usize, usize) {
    // Tests run at the same time.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let log = env::temp_dir().join(format!("strata-{}-{number}", std::process::id()));
    let prefix = ["strace", "-f", "--seccomp-bpf", "-qqq", "-o"].map(str::to_owned);
    let rest = [log.display().to_string(), "-e".to_owned(), format!("trace={call}")];
    let output = run(subject, &[prefix.as_slice(), rest.as_slice()].concat());
    assert!(
        output.status.success(),
        "{}: {}",
        subject.program,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&log).expect("strace wrote it");
    let _ = std::fs::remove_file(&log);
    let of_call = || text.lines().filter(|line| line.contains(&format!("{call}(")));
    // The first reservation of address space is ours.
    let first = of_call().position(|line| line.contains("PROT_NONE")).unwrap_or(0) + 1;
    (first, of_call().count())
}

/// Fails the calls of that name, each in a run of its own, once (`after` is empty) or from there on (`+`).
fn fail_each(call: &str, after: &str, wanted: usize) {
    let all = env::var_os("STRATA_ALL_FAULTS").is_some();
    let mut failures = Failures::default();
    for subject in SUBJECTS.iter().filter(|subject| is_there(subject.program) && is_there("strace"))
    {
        let (first, last) = calls(subject, call);
        let step = if all { 1 } else { (last + 1 - first).div_ceil(wanted).max(1) };
        for number in (first..=last).step_by(step) {
            let inject = format!("inject={call}:error=ENOMEM:when={number}{after}");
            let prefix = [
                "strace",
                "-f",
                "--seccomp-bpf",
                "-qqq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
                &inject,
            ]
            .map(str::to_owned);
            let output = run(subject, &prefix);
            failures.note(format_args!("{}, {inject}", subject.program), verdict(subject, &output));
        }
    }
    failures.conclude();
}

#[test]
fn a_call_for_address_space_may_fail() {
    fail_each("mmap", "", 6);
}

#[test]
fn address_space_may_be_at_its_end() {
    fail_each("mmap", "+", 6);
}

#[test]
fn a_call_for_access_may_fail() {
    fail_each("mprotect", "", 6);
}

#[test]
fn no_more_access_may_be_had() {
    fail_each("mprotect", "+", 6);
}

#[test]
fn programs_bear_limits_on_their_address_space() {
    let all = env::var_os("STRATA_ALL_FAULTS").is_some();
    let mut failures = Failures::default();
    for subject in SUBJECTS.iter().filter(|subject| is_there(subject.program)) {
        for mebibytes in (24..=224).step_by(if all { 1 } else { 25 }) {
            let limit = format!("--as={}", mebibytes << 20);
            let output = run(subject, &["prlimit".to_owned(), limit.clone()]);
            failures.note(format_args!("{}, {limit}", subject.program), verdict(subject, &output));
        }
    }
    failures.conclude();
}
