//! Commands: cargo's packages and targets, and the tasks and options of `cargo xtask`.

use clap::{Command, CommandFactory};

use crate::Arguments;
use crate::workspace::Workspace;

/// What can be named in a command.
pub(super) struct Commands {
    packages: Vec<String>,
    /// Kind and name, as in `test`, `binary`.
    targets: Vec<(String, String)>,
    tasks: Command,
}

impl Commands {
    /// Those of the workspace.
    pub(super) fn of(workspace: &Workspace) -> Self {
        let members = workspace.members();
        let targets = members.iter().flat_map(|package| &package.targets).flat_map(|target| {
            target.kind.iter().map(|kind| (kind.to_string(), target.name.clone()))
        });
        Self {
            packages: members.iter().map(|package| package.name.to_string()).collect(),
            targets: targets.collect(),
            tasks: Arguments::command(),
        }
    }

    /// What the commands of `text` name and nobody knows.
    pub(super) fn unknown_in(&self, text: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        for (_, rest) in
            text.match_indices("cargo ").map(|(at, cargo)| text.split_at(at + cargo.len()))
        {
            let line = rest.lines().next().unwrap_or_default();
            let end = line.find(['`', '#', '|', '&', ';', ')']).unwrap_or(line.len());
            let words: Vec<&str> = line[..end].split_whitespace().collect();
            match words.as_slice() {
                ["xtask", task, options @ ..] => unknown.extend(self.unknown_task(task, options)),
                words => unknown.extend(self.unknown_target(words)),
            }
        }
        unknown
    }

    fn unknown_task(&self, task: &str, options: &[&str]) -> Option<String> {
        // Names in capitals stand for any.
        if !task.chars().all(|c| c.is_ascii_lowercase()) {
            return None;
        }
        let Some(command) = self.tasks.find_subcommand(task) else {
            return Some(format!("there is no cargo xtask {task}"));
        };
        if command.get_arguments().any(|argument| argument.is_allow_hyphen_values_set()) {
            return None; // It passes options on.
        }
        let own = options.iter().take_while(|option| **option != "--");
        let long = own.filter_map(|option| option.strip_prefix("--"));
        let names = long.map(|option| option.split(['=', '[']).next().unwrap_or_default());
        let mut unknown = names.filter(|name| {
            *name != "help" && command.get_arguments().all(|known| known.get_long() != Some(name))
        });
        unknown.next().map(|name| format!("cargo xtask {task} has no option --{name}"))
    }

    fn unknown_target(&self, words: &[&str]) -> Option<String> {
        words.windows(2).find_map(|pair| {
            let &[option, name] = pair else { return None };
            let known = match option {
                "-p" | "--package" => self.packages.iter().any(|package| package == name),
                "--test" | "--example" | "--bench" => {
                    let kind = option.trim_start_matches('-');
                    self.targets.iter().any(|(k, n)| k == kind && n == name)
                }
                _ => true,
            };
            (!known).then(|| format!("cargo knows no {option} {name}"))
        })
    }
}
