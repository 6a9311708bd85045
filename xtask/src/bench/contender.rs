//! The allocators that are compared, and how a program gets each.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::record::{Entry, Role};
use crate::command::run;
use crate::dist;
use crate::page_size::PageSizeName;
use crate::workspace::Workspace;

/// The allocator that all others are related to.
pub(crate) const BASE: &str = "system";

/// Strata, linked as a program's global allocator.
pub(crate) const STRATA: &str = "strata";

/// libstrata.so, preloaded.
pub(crate) const STRATA_PRELOADED: &str = "strata.so";

/// Debian's libtcmalloc-minimal4, preloaded.
const GPERFTOOLS: &str = "gperftools";

/// Builds to something several times slower than the same TCMalloc from its own sources.
const TCMALLOC_BETTER: &str = "tcmalloc-better";

/// All of them, in the order of the tables. Those that are linked are packages of their own.
const NAMES: [&str; 10] = [
    BASE,
    STRATA,
    STRATA_PRELOADED,
    "jemalloc",
    "mimalloc3",
    "mimalloc2",
    "snmalloc",
    "rpmalloc",
    GPERFTOOLS,
    TCMALLOC_BETTER,
];

/// A program of workloads and the allocator that it gets.
pub(crate) struct Contender {
    pub(crate) entry: Entry,
    program: PathBuf,
    preload: Option<PathBuf>,
    /// `STRATA_CONF`; empty for none.
    conf: &'static str,
}

impl Contender {
    /// A contender that is related to `base`.
    pub(crate) fn new(
        name: &str,
        base: &str,
        role: Role,
        program: PathBuf,
        preload: Option<PathBuf>,
    ) -> Self {
        let preloaded = preload.is_some();
        let entry = Entry { name: name.to_owned(), base: base.to_owned(), role, preloaded };
        Self { entry, program, preload, conf: "" }
    }

    /// The same with options in `STRATA_CONF`.
    pub(crate) fn with_conf(self, conf: &'static str) -> Self {
        Self { conf, ..self }
    }

    /// The program with its allocator; arguments are the caller's.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for variable in ["LD_PRELOAD", "STRATA_CONF", "MALLOC_CONF", "GLIBC_TUNABLES"] {
            command.env_remove(variable);
        }
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        if !self.conf.is_empty() {
            command.env("STRATA_CONF", self.conf);
        }
        if self.entry.name == TCMALLOC_BETTER {
            // Else the C library has registered for sequences, and it runs without its CPU caches.
            command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        }
        command
    }
}

/// The contenders that could be built, and why others could not.
pub(crate) struct Prepared {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) left_out: Vec<(String, String)>,
}

/// Builds those that are `wanted`, or all where that is empty. Only the base has to be there.
pub(crate) fn prepare(workspace: &Workspace, wanted: &[String]) -> Result<Prepared> {
    for name in wanted {
        ensure!(NAMES.contains(&name.as_str()), "{name} is none of {NAMES:?}");
    }
    let is_wanted =
        |name: &&str| *name == BASE || wanted.is_empty() || wanted.iter().any(|w| w == name);
    let base = build_linked(workspace, BASE)?;
    let mut prepared = Prepared { contenders: Vec::new(), left_out: Vec::new() };
    for name in NAMES.into_iter().filter(is_wanted) {
        match prepare_one(workspace, name, &base) {
            Ok(contender) => prepared.contenders.push(contender),
            Err(error) => prepared.left_out.push((name.to_owned(), format!("{error:#}"))),
        }
    }
    Ok(prepared)
}

fn prepare_one(workspace: &Workspace, name: &str, base: &Path) -> Result<Contender> {
    let role = match name {
        STRATA | STRATA_PRELOADED => Role::Ours,
        TCMALLOC_BETTER => Role::Shown,
        _ => Role::Peer,
    };
    let (program, preload) = match name {
        STRATA_PRELOADED => {
            dist::build_library(workspace, PageSizeName::Eight)?;
            (base.to_owned(), Some(dist::shared_library(workspace, PageSizeName::Eight)))
        }
        GPERFTOOLS => {
            let library = find_library("libtcmalloc_minimal.so.4")
                .context("no libtcmalloc_minimal.so.4 (Debian: libtcmalloc-minimal4)")?;
            (base.to_owned(), Some(library))
        }
        _ => (build_linked(workspace, name)?, None),
    };
    Ok(Contender::new(name, BASE, role, program, preload))
}

/// Builds the program of an allocator that is linked, and says where it lies.
pub(crate) fn build_linked(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    eprintln!("bench: building {name}");
    let manifest = workspace.root().join("benches/peers").join(name).join("Cargo.toml");
    build_program(workspace, name, &manifest, &workspace.target().join("peers"))
}

/// Builds the package `peer-NAME` of `manifest`.
pub(crate) fn build_program(
    workspace: &Workspace,
    name: &str,
    manifest: &Path,
    target: &Path,
) -> Result<PathBuf> {
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--quiet", "--manifest-path"]).arg(manifest);
    run(cargo.arg("--target-dir").arg(target))?;
    Ok(target.join("release").join(format!("peer-{name}")))
}

/// The file of that name where Linux distributions keep libraries.
fn find_library(name: &str) -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let places = [multiarch.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    places.into_iter().map(|place| Path::new(place).join(name)).find(|file| file.is_file())
}
