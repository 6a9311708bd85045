//! `strata run` as a user calls it.
//!
//! The library is a file that the dynamic loader takes for an empty one: what happens in it is tested with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command as it is installed: in `bin`, with a `lib` beside it.
struct Installed {
    root: PathBuf,
}

impl Installed {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("bin")).expect("a directory can be made");
        fs::create_dir_all(root.join("lib")).expect("a directory can be made");
        // A copy would be busy while another test starts a process that inherits it, open for writing.
        fs::hard_link(env!("CARGO_BIN_EXE_strata"), root.join("bin/strata"))
            .expect("both lie under target");
        let root = root.canonicalize().expect("just made");
        for library in ["libstrata.so", "libstrata-4k.so", "libstrata-32k.so", "libstrata-256k.so"]
        {
            fs::write(root.join("lib").join(library), "").expect("a file can be written");
        }
        Self { root }
    }

    fn library(&self, name: &str) -> String {
        self.root.join("lib").join(name).display().to_string()
    }

    /// Without what the tests themselves may have been started with.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("bin/strata"));
        command.args(arguments);
        for variable in ["LD_PRELOAD", "STRATA_CONF", "STRATA_REPORT_PID"] {
            command.env_remove(variable);
        }
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command can be started")
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    // The loader complains about each process that it preloads the empty file into.
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().filter(|line| !line.contains("cannot be preloaded")).collect()
}

#[test]
fn the_exit_status_is_the_commands() {
    let strata = Installed::new("status");
    assert_eq!(strata.output(&["run", "--", "sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(strata.output(&["run", "true"]).status.code(), Some(0));
}

#[test]
fn the_command_gets_its_arguments_as_they_are() {
    let strata = Installed::new("arguments");
    let output = strata.output(&["run", "--", "printf", "%s|", "--report", "a b", "", "--"]);
    assert_eq!(stdout(&output), "--report|a b||--|");
}

#[test]
fn a_command_that_is_missing_costs_one_line_and_127() {
    let strata = Installed::new("missing");
    let output = strata.output(&["run", "--", "no-such-command-anywhere"]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(stderr(&output), "strata: no-such-command-anywhere: command not found");
}

#[test]
fn a_file_that_cannot_be_run_costs_one_line_and_126() {
    let strata = Installed::new("not-executable");
    let file = strata.library("libstrata.so");
    let output = strata.output(&["run", "--", &file]);
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(stderr(&output), format!("strata: {file}: permission denied"));
}

#[test]
fn a_library_that_is_missing_costs_one_line_and_125() {
    let strata = Installed::new("no-library");
    fs::remove_file(strata.library("libstrata-4k.so")).expect("it was there");
    let output = strata.output(&["run", "--page-size=4k", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).starts_with("strata: the library is missing: there is no "));
}

#[test]
fn the_library_of_the_page_size_is_preloaded_before_others() {
    let strata = Installed::new("preload");
    for (size, file) in [
        ("4k", "libstrata-4k.so"),
        ("8k", "libstrata.so"),
        ("32k", "libstrata-32k.so"),
        ("256k", "libstrata-256k.so"),
    ] {
        let argument = format!("--page-size={size}");
        let output = strata.output(&["run", &argument, "--", "printenv", "LD_PRELOAD"]);
        assert_eq!(stdout(&output), format!("{}\n", strata.library(file)));
    }
    let mut command = strata.command(&["run", "--", "printenv", "LD_PRELOAD"]);
    let output = command.env("LD_PRELOAD", "other.so").output().expect("it can be started");
    assert_eq!(stdout(&output), format!("{}:other.so\n", strata.library("libstrata.so")));
}

#[test]
fn arguments_are_added_to_the_configuration() {
    let strata = Installed::new("conf");
    let arguments =
        ["run", "--report=tcmalloc", "--page-heap=legacy", "--", "printenv", "STRATA_CONF"];
    let mut command = strata.command(&arguments);
    let output = command.env("STRATA_CONF", "cpu_id:cpu").output().expect("it can be started");
    assert_eq!(stdout(&output), "cpu_id:cpu,exit_report:tcmalloc,page_heap:legacy\n");
}

#[test]
fn the_report_is_asked_of_the_process_that_becomes_the_command() {
    let strata = Installed::new("pid");
    let script = "test \"$STRATA_REPORT_PID\" = $$ && echo same";
    let output = strata.output(&["run", "--report", "--", "sh", "-c", script]);
    assert_eq!(stdout(&output), "same\n");
}

#[test]
fn without_arguments_the_environment_stays_as_it_is() {
    let strata = Installed::new("plain");
    let script = "echo \"${STRATA_CONF-none} ${STRATA_REPORT_PID-none}\"";
    assert_eq!(stdout(&strata.output(&["run", "--", "sh", "-c", script])), "none none\n");
}

#[test]
fn an_unknown_page_heap_is_named() {
    let strata = Installed::new("unknown");
    let output = strata.output(&["run", "--page-heap=sideways", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("sideways"));
}
