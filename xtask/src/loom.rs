//! `cargo xtask loom`: every crate's interleavings.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use cargo_metadata::Package;
use clap::Args;
use serde::Deserialize;

use crate::command::run;
use crate::workspace::{Workspace, rust_flags_with};

/// Run the interleavings in tests/loom.rs of every crate that has one.
///
/// Built with --cfg strata_loom, or what the manifest says under package.metadata.loom, optimised, in a target
/// directory of its own.
#[derive(Args)]
pub(crate) struct Options {
    /// Bound preemptions at 2, so that it takes minutes at most
    #[arg(long)]
    short: bool,

    /// Run only these packages
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    package: Vec<String>,

    /// Run only tests whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// loom's own variable for the bound; with 2, most known defects are still found.
const PREEMPTIONS: (&str, &str) = ("LOOM_MAX_PREEMPTIONS", "2");

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let packages = chosen(workspace, &options.package)?;
    for package in packages {
        let mut command = cargo_test(workspace, package, options.short);
        command.args(&options.filter);
        run(&mut command)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The packages that have a tests/loom.rs.
pub(crate) fn packages(workspace: &Workspace) -> Vec<&Package> {
    let has_file = |package: &&Package| {
        package.manifest_path.with_file_name("tests").join("loom.rs").is_file()
    };
    workspace.members().into_iter().filter(has_file).collect()
}

/// How a package is built for its interleavings: `package.metadata.loom` in its manifest.
#[derive(Deserialize)]
#[serde(default)]
struct Build {
    /// Whose atomics are loom's.
    cfg: String,
    features: Vec<String>,
}

impl Default for Build {
    fn default() -> Self {
        Self { cfg: "strata_loom".into(), features: Vec::new() }
    }
}

impl Build {
    fn of(package: &Package) -> Self {
        let said = package.metadata.get("loom").cloned();
        said.and_then(|said| serde_json::from_value(said).ok()).unwrap_or_default()
    }
}

/// The command that builds and runs one package's interleavings; more arguments go to the tests.
pub(crate) fn cargo_test(workspace: &Workspace, package: &Package, short: bool) -> Command {
    let build = Build::of(package);
    let mut command = workspace.cargo("test");
    if !build.features.is_empty() {
        command.args(["--features", &build.features.join(",")]);
    }
    command
        .args(["--release", "--package", package.name.as_str(), "--test", "loom", "--target-dir"])
        .arg(workspace.target().join("loom"))
        .env("RUSTFLAGS", rust_flags_with(&format!("--cfg {}", build.cfg)))
        // Link-time optimisation of a model checker buys nothing and takes a minute a crate.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    if short {
        command.env(PREEMPTIONS.0, PREEMPTIONS.1);
    }
    command.arg("--");
    command
}

fn chosen<'a>(workspace: &'a Workspace, names: &[String]) -> Result<Vec<&'a Package>> {
    let all = packages(workspace);
    if names.is_empty() {
        return Ok(all);
    }
    let mut chosen = Vec::new();
    for name in names {
        match all.iter().find(|package| package.name.as_str() == name) {
            Some(package) => chosen.push(*package),
            None => bail!("{name} has no tests/loom.rs"),
        }
    }
    Ok(chosen)
}
