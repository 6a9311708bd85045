//! Another commit of Strata, built beside this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::contender::{BASE, Contender, Prepared, STRATA, STRATA_PRELOADED};
use super::contender::{build_linked, build_program};
use super::record::Role;
use crate::command::run;
use crate::dist;
use crate::page_size::PageSizeName;
use crate::workspace::Workspace;

/// Both forms of the commit that `revision` names and of what is checked out. Both do the workloads
/// that are checked out: only the allocator differs.
pub(crate) fn prepare(workspace: &Workspace, revision: &str) -> Result<Prepared> {
    let commit = commit(workspace, revision)?;
    let place = workspace.target().join("bench/against").join(&commit);
    check_out(workspace, &commit, &place.join("tree"))?;

    let base = build_linked(workspace, BASE)?;
    let linked = build_linked(workspace, STRATA)?;
    dist::build_library(workspace, PageSizeName::Eight)?;
    let library = dist::shared_library(workspace, PageSizeName::Eight);

    eprintln!("bench: building {revision}");
    let other_linked = other_program(workspace, &place)?;
    let other_library = place.join("libstrata.so");
    dist::build_library_of(workspace, &place.join("tree"), &place.join("dist"), &other_library)?;

    let names = [STRATA, STRATA_PRELOADED].map(|name| (name, format!("{name}@{revision}")));
    let [(strata, strata_there), (preloaded, preloaded_there)] = &names;
    let contenders = vec![
        Contender::new(strata_there, strata_there, Role::Peer, other_linked, None),
        Contender::new(strata, strata_there, Role::Ours, linked, None),
        Contender::new(
            preloaded_there,
            preloaded_there,
            Role::Peer,
            base.clone(),
            Some(other_library),
        ),
        Contender::new(preloaded, preloaded_there, Role::Ours, base, Some(library)),
    ];
    Ok(Prepared { contenders, left_out: Vec::new() })
}

fn commit(workspace: &Workspace, revision: &str) -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(workspace.root()).args(["rev-parse", "--verify", "--quiet"]);
    let output = git.arg(format!("{revision}^{{commit}}")).output().context("starting git")?;
    ensure!(output.status.success(), "git knows no commit {revision}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A worktree of git's; what an earlier run has checked out is used again.
fn check_out(workspace: &Workspace, commit: &str, tree: &Path) -> Result<()> {
    if tree.join("Cargo.toml").is_file() {
        return Ok(());
    }
    // Trees whose directories were deleted would stand in the way.
    run(Command::new("git").current_dir(workspace.root()).args(["worktree", "prune"]))?;
    let mut git = Command::new("git");
    git.current_dir(workspace.root()).args(["worktree", "add", "--quiet", "--detach"]);
    run(git.arg(tree).arg(commit))
}

/// This tree's program of workloads on that tree's allocator.
fn other_program(workspace: &Workspace, place: &Path) -> Result<PathBuf> {
    let (here, there) = (workspace.root().join("benches/peers/strata"), place.join("peer"));
    fs::create_dir_all(there.join("src"))?;
    fs::copy(here.join("src/main.rs"), there.join("src/main.rs"))?;
    fs::copy(here.join("Cargo.lock"), there.join("Cargo.lock"))?;
    let manifest = fs::read_to_string(here.join("Cargo.toml"))?;
    let workloads = workspace.root().join("benches/workloads");
    let allocator = place.join("tree/crates/alloc");
    let manifest = with_path(&manifest, "../../workloads", &workloads)?;
    let manifest = with_path(&manifest, "../../../crates/alloc", &allocator)?;
    let file = there.join("Cargo.toml");
    fs::write(&file, manifest)?;
    build_program(workspace, STRATA, &file, &place.join("target"))
}

/// The manifest with another directory in the place of one that it names.
fn with_path(manifest: &str, relative: &str, directory: &Path) -> Result<String> {
    let (old, new) = (format!("path = \"{relative}\""), format!("path = {directory:?}"));
    ensure!(manifest.contains(&old), "the peer's manifest has no {old}");
    Ok(manifest.replace(&old, &new))
}
