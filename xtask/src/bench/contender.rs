//! The allocators that are compared, and how a program gets each.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Options;
use crate::command::run;
use crate::dist;
use crate::page_size::PageSizeName;
use crate::workspace::Workspace;

/// The allocator that all others are related to.
pub(crate) const BASE: &str = "system";

/// Those that are linked as a program's global allocator; each is a package of its own.
const LINKED: [&str; 7] =
    [BASE, "strata", "jemalloc", "mimalloc3", "mimalloc2", "snmalloc", "rpmalloc"];

/// Builds to something four times slower than the same TCMalloc from its own sources.
const TCMALLOC_BETTER: &str = "tcmalloc-better";

/// libstrata.so, preloaded.
const STRATA_PRELOADED: &str = "strata.so";

/// Debian's libtcmalloc-minimal4, preloaded.
const GPERFTOOLS: &str = "gperftools";

/// A program of workloads and the allocator that it gets.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    pub(crate) preload: Option<PathBuf>,
}

impl Contender {
    /// The program with its allocator; arguments are the caller's.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.put_under(&mut command);
        command
    }

    /// Has `command` use this allocator, where it is one that can be preloaded.
    pub(crate) fn put_under(&self, command: &mut Command) {
        command.env_remove("LD_PRELOAD").env_remove("STRATA_CONF").env_remove("MALLOC_CONF");
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
    }
}

/// The contenders that could be built, and why others could not.
pub(crate) struct Prepared {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) left_out: Vec<(&'static str, String)>,
}

/// Builds what `options` ask for. Only the base has to be there.
pub(crate) fn prepare(workspace: &Workspace, options: &Options) -> Result<Prepared> {
    let mut names = LINKED.to_vec();
    names.extend([STRATA_PRELOADED, GPERFTOOLS]);
    if options.with_tcmalloc_better {
        names.push(TCMALLOC_BETTER);
    }
    for wanted in &options.allocators {
        ensure!(names.iter().any(|name| name == wanted), "{wanted} is none of {names:?}");
    }
    let is_wanted = |name: &&str| {
        *name == BASE
            || options.allocators.is_empty()
            || options.allocators.iter().any(|w| w == name)
    };
    let base = build_linked(workspace, BASE)?;
    let mut prepared = Prepared { contenders: Vec::new(), left_out: Vec::new() };
    for name in names.into_iter().filter(is_wanted) {
        match prepare_one(workspace, name, &base) {
            Ok(contender) => prepared.contenders.push(contender),
            Err(error) => prepared.left_out.push((name, format!("{error:#}"))),
        }
    }
    Ok(prepared)
}

fn prepare_one(workspace: &Workspace, name: &'static str, base: &Path) -> Result<Contender> {
    let preloaded = |library| Contender { name, program: base.to_owned(), preload: Some(library) };
    match name {
        STRATA_PRELOADED => {
            dist::build(workspace, &[PageSizeName::Eight])?;
            Ok(preloaded(dist::shared_library(workspace, PageSizeName::Eight)))
        }
        GPERFTOOLS => {
            let library = find_library("libtcmalloc_minimal.so.4")
                .context("no libtcmalloc_minimal.so.4 (Debian: libtcmalloc-minimal4)")?;
            Ok(preloaded(library))
        }
        _ => Ok(Contender { name, program: build_linked(workspace, name)?, preload: None }),
    }
}

fn build_linked(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let target = workspace.target().join("peers");
    let manifest = workspace.root().join("benches/peers").join(name).join("Cargo.toml");
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--quiet", "--manifest-path"]).arg(&manifest);
    eprintln!("bench: building {name}");
    run(cargo.arg("--target-dir").arg(&target))?;
    Ok(target.join("release").join(format!("peer-{name}")))
}

/// The file of that name where Linux distributions keep libraries.
fn find_library(name: &str) -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let places = [multiarch.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    places.into_iter().map(|place| Path::new(place).join(name)).find(|file| file.is_file())
}
