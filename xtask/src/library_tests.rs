//! The tests of the libraries, and the programs that they need.

use std::env;
use std::process::{Command, Stdio};

use cargo_metadata::Package;

use crate::workspace::Workspace;

/// A program that a test starts.
#[derive(Clone, Copy)]
struct Need {
    name: &'static str,
    /// The environment variable that names another one.
    variable: Option<&'static str>,
}

impl Need {
    const fn program(name: &'static str) -> Self {
        Self { name, variable: None }
    }

    /// What is started, by the same rule as in the tests.
    fn chosen(self) -> String {
        self.variable.and_then(|name| env::var(name).ok()).unwrap_or_else(|| self.name.to_owned())
    }

    /// What to call it if it cannot be started and asked for its version.
    fn missing(self) -> Option<String> {
        let chosen = self.chosen();
        let mut command = Command::new(&chosen);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let answers = command.status().is_ok_and(|status| status.success());
        let name = if chosen == self.name { chosen } else { format!("{} ({chosen})", self.name) };
        (!answers).then_some(name)
    }
}

const CC: Need = Need { name: "cc", variable: Some("CC") };
const CXX: Need = Need { name: "c++", variable: Some("CXX") };

/// What every test of the package needs: they are C programs.
const EVERY_TEST: [Need; 1] = [CC];

/// Which tests a group is.
enum Tests {
    /// All of one file under `tests/`.
    File(&'static str),
    /// One, by its name.
    Named(&'static str),
}

/// Tests that need more than the others.
struct Group {
    what: &'static str,
    tests: Tests,
    needs: &'static [Need],
}

const GROUPS: [Group; 4] = [
    Group { what: "operators new and delete", tests: Tests::File("operators"), needs: &[CXX] },
    Group {
        what: "C++ libraries that come late",
        tests: Tests::Named("a_cxx_library_in_a_c_program_gets_its_exceptions"),
        needs: &[CXX],
    },
    Group {
        what: "system calls that fail",
        tests: Tests::File("faults"),
        needs: &[Need::program("strace"), Need::program("timeout")],
    },
    Group {
        what: "the library as a file",
        tests: Tests::File("binary"),
        needs: &[Need::program("nm"), Need::program("readelf"), Need::program("objdump")],
    },
];

/// What can be run here.
pub(crate) struct Selection {
    /// The tests that have all that they need; none if every test lacks something.
    pub(crate) command: Option<Command>,
    /// The others by name, each with the program that it lacks.
    pub(crate) left_out: Vec<String>,
}

/// Looks for the programs, and selects the tests of `package` that have theirs.
pub(crate) fn select(workspace: &Workspace, package: &Package) -> Selection {
    if let Some(missing) = first_missing(&EVERY_TEST) {
        let left_out = vec![format!("c: all tests of the libraries: no {missing}")];
        return Selection { command: None, left_out };
    }
    let mut left_out = Vec::new();
    let mut files = Vec::new();
    let mut names = Vec::new();
    for group in &GROUPS {
        let Some(missing) = first_missing(group.needs) else { continue };
        left_out.push(format!("c: {}: no {missing}", group.what));
        match group.tests {
            Tests::File(name) => files.push(name),
            Tests::Named(name) => names.push(name),
        }
    }
    let mut command = workspace.cargo("test");
    command.args(["--package", package.name.as_str(), "--no-fail-fast"]);
    if !files.is_empty() {
        command.arg("--lib");
        let others = package
            .targets
            .iter()
            .filter(|target| target.is_test() && !files.iter().any(|file| *file == target.name));
        for target in others {
            command.args(["--test", &target.name]);
        }
    }
    command.arg("--");
    for name in names {
        command.args(["--skip", name]);
    }
    Selection { command: Some(command), left_out }
}

fn first_missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.missing())
}

#[cfg(test)]
mod tests;
