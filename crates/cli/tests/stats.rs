//! `strata stats` as a user calls it, on the snapshots that the renderings of `strata-stats` are tested with.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../stats/tests/golden").join(name)
}

fn stats(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.arg("stats").arg(file).args(arguments).output().expect("it can be started")
}

fn shown(file: &Path, arguments: &[&str]) -> String {
    let output = stats(file, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn refused(file: &Path, arguments: &[&str]) -> String {
    let output = stats(file, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "nothing is shown");
    String::from_utf8(output.stderr).expect("text")
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn the_summary_is_what_is_shown_unasked() {
    let text = shown(&snapshot("later.json"), &[]);
    assert!(text.starts_with("python3 (process "), "{text}");
    assert!(text.contains("\nThe program holds "), "{text}");
    assert!(!text.contains("Since the earlier snapshot"), "{text}");
    let earlier = snapshot("earlier.json");
    let earlier = earlier.to_str().expect("text");
    let text = shown(&snapshot("later.json"), &["--diff", earlier]);
    assert!(text.contains("Since the earlier snapshot"), "{text}");
}

#[test]
fn who_compares_what_cannot_be_compared_is_told() {
    /// A copy whose process has another number.
    fn copy(name: &str, process: u32) -> PathBuf {
        let text = fs::read_to_string(snapshot(name)).expect("it is there");
        let start = text.find("\"process_id\":").expect("a number") + "\"process_id\":".len();
        let end = start + text[start..].find(',').expect("more behind it");
        let file = scratch(&format!("{process}-{name}"));
        fs::write(&file, format!("{}{process}{}", &text[..start], &text[end..]))
            .expect("it is written");
        file
    }
    let (later, earlier) = (copy("later.json", 7), copy("earlier.json", 7));
    let another = copy("earlier.json", 8);
    for (form, is_in_the_text) in
        [("brief", true), ("explain", true), ("json", false), ("html", false)]
    {
        let said = |file: &Path, other: &Path| {
            let other = other.to_str().expect("text");
            let output = stats(file, &["--diff", other, "--format", form]);
            assert!(output.status.success() && !output.stdout.is_empty());
            let [text, aside] =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
            assert!(!is_in_the_text || aside.is_empty(), "{form}: {aside}");
            if is_in_the_text { text } else { aside }
        };
        let usual = said(&later, &earlier);
        assert!(!usual.contains("backwards") && !usual.contains("of two processes"), "{usual}");
        assert!(said(&earlier, &later).contains("backwards"), "{form}");
        assert!(said(&later, &another).contains("of two processes"), "{form}");
    }
}

#[test]
fn every_form_shows_the_snapshot() {
    let file = snapshot("later.json");
    for (form, sign) in [
        ("brief", "The program holds"),
        ("explain", "1. "),
        ("tcmalloc", "Bytes in use by application"),
        ("tcmalloc-today", "Bytes in use by application"),
        ("pbtxt", "in_use_by_app: "),
        ("pbtxt-today", "in_use_by_app: "),
        ("json", "{\"format\":\"strata-snapshot\""),
        ("html", "<!doctype html>"),
    ] {
        let text = shown(&file, &["--format", form]);
        assert!(text.contains(sign), "{form}: {text}");
    }
}

#[test]
fn a_snapshot_that_is_shown_as_json_is_a_snapshot() {
    let again = scratch("again.json");
    let page = again.to_str().expect("text");
    shown(&snapshot("later.json"), &["--format", "json", "-o", page]);
    let file = snapshot("later.json");
    assert_eq!(shown(&again, &["--format", "explain"]), shown(&file, &["--format", "explain"]));
}

#[test]
fn a_snapshot_is_read_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.args(["stats", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let text = fs::read(snapshot("earlier.json")).expect("it is there");
    child.stdin.take().expect("piped").write_all(&text).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown(&snapshot("earlier.json"), &[]));
}

#[test]
fn what_is_no_snapshot_costs_one_line_that_says_why() {
    let missing = scratch("missing.json");
    let said = refused(&missing, &[]);
    assert_eq!(
        said,
        format!("strata: {}: No such file or directory (os error 2)\n", missing.display())
    );

    let cut = scratch("cut.json");
    let whole = fs::read(snapshot("earlier.json")).expect("it is there");
    fs::write(&cut, &whole[..1000]).expect("it can be written");
    let said = refused(&cut, &[]);
    assert!(
        said.starts_with(&format!("strata: {}: corrupt at byte 1000: ", cut.display())),
        "{said}"
    );

    let newer = scratch("newer.json");
    fs::write(&newer, r#"{"format":"strata-snapshot","version":1000}"#).expect("it can be written");
    let said = refused(&newer, &[]);
    assert!(said.contains("a snapshot of version 1000; this reader knows up to "), "{said}");
}

#[test]
fn forms_that_show_no_differences_say_so() {
    let earlier = snapshot("earlier.json");
    let earlier = earlier.to_str().expect("text");
    let said = refused(&snapshot("later.json"), &["--format", "tcmalloc", "--diff", earlier]);
    assert_eq!(said, "strata: --diff goes with --format brief, explain, json and html\n");
}
