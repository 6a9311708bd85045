//! `cargo xtask documents`: what the documents name is there.

mod commands;
mod prose;
mod tree;
mod variables;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;
use tree::Tree;

/// Check that what README.md and docs name exists: files, headings, commands, targets and variables.
///
/// A link leads to a file or a heading; a path or a file's name in backticks is one of this repository's;
/// `cargo xtask X` is a command with that option; `-p`, `--test`, `--example` and `--bench` name what cargo has;
/// and every variable STRATA_… that is documented is read, and the other way round.
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn perform(workspace: &Workspace, _: &Options) -> Result<ExitCode> {
    let complaints = complaints(workspace)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() {
        println!("documents: what they name is there");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// One sentence for each name that leads nowhere.
fn complaints(workspace: &Workspace) -> Result<Vec<String>> {
    let tree = Tree::read(workspace.root())?;
    let commands = commands::Commands::of(workspace);
    let mut found = Vec::new();
    for document in tree.documents() {
        let text = read(workspace.root(), document)?;
        let wrong =
            prose::dead_links(document, &text, &tree, |file| read(workspace.root(), file).ok())
                .chain(prose::missing_paths(document, &text, &tree))
                .chain(commands.unknown_in(&text));
        found.extend(wrong.map(|what| format!("{document}: {what}")));
    }
    found.extend(variables::complaints(workspace.root(), &tree)?);
    Ok(found)
}

fn read(root: &Path, file: &str) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))
}

#[cfg(test)]
mod tests;
