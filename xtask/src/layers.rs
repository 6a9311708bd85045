//! `cargo xtask layers`: the crates use each other only as the drawing says.

use std::process::ExitCode;

use anyhow::Result;
use cargo_metadata::{DependencyKind, Package};
use clap::Args;

use crate::workspace::Workspace;

/// Check that crates use each other only as the drawing of the layers allows.
///
/// Reads the dependency graph from cargo. What a crate links has to follow the drawing in
/// docs/ARCHITECTURE.md; dev-dependencies may point upwards. Crates below `alloc` may use only a
/// few crates from outside.
#[derive(Args)]
pub(crate) struct Options {}

/// The layers and the arrows that leave them, lowest first.
const DRAWING: [Layer; 18] = [
    Layer::below_the_line("strata-trace", &[]),
    Layer::below_the_line("strata-os", &[]),
    Layer::below_the_line("strata-sync", &["strata-os"]),
    Layer::below_the_line("strata-size-classes", &[]),
    Layer::below_the_line("strata-span", &["strata-size-classes", "strata-sync", "strata-os"]),
    Layer::below_the_line("strata-page-heap", &["strata-span", "strata-sync", "strata-os"]),
    Layer::below_the_line(
        "strata-temeraire",
        &["strata-page-heap", "strata-span", "strata-sync", "strata-os"],
    ),
    Layer::below_the_line(
        "strata-central",
        &["strata-page-heap", "strata-span", "strata-size-classes", "strata-sync"],
    ),
    Layer::below_the_line(
        "strata-thread-cache",
        &["strata-size-classes", "strata-sync", "strata-os"],
    ),
    Layer::below_the_line("strata-cpu-cache", &["strata-size-classes", "strata-sync", "strata-os"]),
    Layer::below_the_line(
        "strata-upkeep",
        &[
            "strata-central",
            "strata-cpu-cache",
            "strata-page-heap",
            "strata-span",
            "strata-size-classes",
            "strata-sync",
        ],
    ),
    Layer::above_the_line("strata-alloc", &[]),
    Layer::above_the_line("strata-replay", &[]),
    Layer::above_the_line("strata-profile", &["strata-alloc"]),
    Layer::above_the_line("strata-stats", &["strata-profile", "strata-alloc"]),
    Layer::above_the_line("strata-memstat", &["strata-stats"]),
    Layer::above_the_line("strata-c", &["strata-stats", "strata-profile", "strata-alloc"]),
    Layer::above_the_line(
        "strata-cli",
        &["strata-memstat", "strata-stats", "strata-replay", "strata-alloc"],
    ),
];

/// Members that are no layer: they may use everything, and no layer may use them.
const TOOLS: [&str; 5] =
    ["xtask", "strata-benches", "strata-workloads", "strata-c-tests", "strata-example-buddy"];

/// What a crate below the line may take from outside.
const OUTSIDE: [&str; 5] = ["libc", "bitflags", "static_assertions", "serde", "loom"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    BelowTheLine,
    AboveTheLine,
}

/// One crate of the drawing.
struct Layer {
    name: &'static str,
    side: Side,
    arrows: &'static [&'static str],
}

impl Layer {
    const fn below_the_line(name: &'static str, arrows: &'static [&'static str]) -> Self {
        Self { name, side: Side::BelowTheLine, arrows }
    }

    const fn above_the_line(name: &'static str, arrows: &'static [&'static str]) -> Self {
        Self { name, side: Side::AboveTheLine, arrows }
    }

    fn named(name: &str) -> Option<&'static Self> {
        DRAWING.iter().find(|layer| layer.name == name)
    }

    fn may_use(&self, other: &Layer) -> bool {
        self.arrows.contains(&other.name)
            || (self.side == Side::AboveTheLine && other.side == Side::BelowTheLine)
    }
}

/// A workspace member and what it links.
struct Member {
    name: String,
    uses: Vec<String>,
}

impl Member {
    fn from_package(package: &Package) -> Self {
        let linked = package.dependencies.iter().filter(|dependency| match dependency.kind {
            DependencyKind::Development => false,
            DependencyKind::Normal | DependencyKind::Build | DependencyKind::Unknown => true,
        });
        Self {
            name: package.name.to_string(),
            uses: linked.map(|dependency| dependency.name.clone()).collect(),
        }
    }
}

pub(crate) fn perform(workspace: &Workspace, _: &Options) -> Result<ExitCode> {
    let members: Vec<Member> = workspace.members().into_iter().map(Member::from_package).collect();
    let violations = violations(&members);
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("layers: {} crates use each other as drawn", members.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// One sentence for every arrow that the drawing does not have.
fn violations(members: &[Member]) -> Vec<String> {
    let ours = |name: &str| members.iter().any(|member| member.name == name);
    let mut found = Vec::new();
    for member in members.iter().filter(|member| !TOOLS.contains(&member.name.as_str())) {
        let Some(layer) = Layer::named(&member.name) else {
            found.push(format!("{} has no place in the drawing", member.name));
            continue;
        };
        let complaints = member.uses.iter().filter_map(|used| match Layer::named(used) {
            Some(other) => (!layer.may_use(other))
                .then(|| format!("{} uses {used}, and the drawing has no such arrow", layer.name)),
            None if ours(used) => Some(format!("{} uses {used}, which is no layer", layer.name)),
            None => {
                (layer.side == Side::BelowTheLine && !OUTSIDE.contains(&used.as_str())).then(|| {
                    format!("{} uses {used}; below alloc only {OUTSIDE:?} may be", layer.name)
                })
            }
        });
        found.extend(complaints);
    }
    found
}

#[cfg(test)]
mod tests;
