//! `cargo xtask dist`: libraries, command and headers under `target/dist`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::run;
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::{Workspace, rust_flags_with};

/// Build the libraries for every page size, the command and the headers into target/dist.
///
/// libstrata.so and libstrata.a have 8 KiB pages; libstrata-4k, -32k and -256k stand beside them.
/// Each library comes from a cargo invocation of its own with --cfg strata_page_size, so that
/// nothing else in the workspace can switch a feature on in it.
#[derive(Args)]
pub(crate) struct Options {
    /// Build the libraries for these page sizes only
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = PageSizeName::ALL)]
    page_sizes: Vec<PageSizeName>,
}

/// The profile of the root manifest that everything here is built with.
const PROFILE: &str = "dist";

pub(crate) fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    build(workspace, &options.page_sizes)?;
    let mut table = Table::new([("file", Align::Left), ("KiB", Align::Right)]);
    for file in files_under(&workspace.dist())? {
        let kib = fs::metadata(&file)?.len().div_ceil(1024);
        let name = file.strip_prefix(workspace.dist()).unwrap_or(&file);
        table.push([name.display().to_string(), kib.to_string()]);
    }
    println!("{}\n\n{table}", workspace.dist().display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the libraries for `page_sizes`, and the command.
pub(crate) fn build(workspace: &Workspace, page_sizes: &[PageSizeName]) -> Result<()> {
    for &page_size in page_sizes {
        build_library(workspace, page_size)?;
    }
    build_command(workspace)?;
    copy_headers(workspace)
}

/// The shared library that a program is given by LD_PRELOAD.
pub(crate) fn shared_library(workspace: &Workspace, page_size: PageSizeName) -> PathBuf {
    workspace.dist().join("lib").join(format!("{}.so", page_size.library()))
}

/// The `strata` command.
pub(crate) fn command(workspace: &Workspace) -> PathBuf {
    workspace.dist().join("bin/strata")
}

/// Builds the shared and the static library for one page size.
pub(crate) fn build_library(workspace: &Workspace, page_size: PageSizeName) -> Result<()> {
    let target = workspace.target().join("dist-build").join(page_size.name());
    compile_library(workspace, workspace.root(), &target, page_size, "")?;
    let built = target.join(PROFILE);
    // Cargo's own file stays as it is: it is not made anew where nothing changed.
    let archive = target.join("libstrata.a");
    make_archive(&built.join("libstrata.a"), &archive)?;
    for (from, extension) in [(&built.join("libstrata.so"), "so"), (&archive, "a")] {
        let name = format!("{}.{extension}", page_size.library());
        replace(from, &workspace.dist().join("lib").join(name))?;
    }
    Ok(())
}

/// The archive for programs that are linked with it. A static program's start, its `fork`, `popen`, `dlopen` and
/// list of fork handlers are the C library's alone; and one that has operators new and delete of its own keeps
/// them, though all of the library is one object.
fn make_archive(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("objcopy")
        .args(["--localize-symbol", "__libc_start_main", "--localize-symbol", "fork"])
        .args(["--localize-symbol", "popen", "--localize-symbol", "dlopen"])
        .args(["--redefine-sym", "__register_atfork=strata_register_atfork"])
        .args(["--localize-symbol", "strata_register_atfork"])
        .arg("--wildcard")
        .args(["--weaken-symbol", "_Zn[wa]m*", "--weaken-symbol", "_Zd[la]Pv*"])
        .args([from, to]))?;
    // Whom the heap tells of its own handlers.
    run(Command::new("objcopy")
        .args(["--redefine-sym", "strata_register_atfork_of_libc=__register_atfork"])
        .arg(to))
}

/// Builds the shared library with pages of 8 KiB whose frees look at nothing; says where it is.
pub(crate) fn build_unchecked_library(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target().join("dist-build/unchecked");
    compile_library(
        workspace,
        workspace.root(),
        &target,
        PageSizeName::Eight,
        "--cfg strata_unchecked",
    )?;
    let library = workspace.target().join("unchecked/libstrata.so");
    replace(&target.join(PROFILE).join("libstrata.so"), &library)?;
    Ok(library)
}

/// Builds the shared library with pages of 8 KiB from another checkout, and puts it at `library`.
pub(crate) fn build_library_of(
    workspace: &Workspace,
    checkout: &Path,
    target: &Path,
    library: &Path,
) -> Result<()> {
    compile_library(workspace, checkout, target, PageSizeName::Eight, "")?;
    replace(&target.join(PROFILE).join("libstrata.so"), library)
}

fn compile_library(
    workspace: &Workspace,
    checkout: &Path,
    target: &Path,
    page_size: PageSizeName,
    more_flags: &str,
) -> Result<()> {
    let cfg = format!("--cfg strata_page_size=\"{}\" {more_flags}", page_size.name());
    run(workspace
        .cargo("rustc")
        .current_dir(checkout)
        .args(["--package", "strata-c", "--lib", "--profile", PROFILE])
        .args(["--crate-type", "cdylib,staticlib", "--target-dir"])
        .arg(target)
        .env("RUSTFLAGS", rust_flags_with(&cfg)))
}

fn build_command(workspace: &Workspace) -> Result<()> {
    let target = workspace.target().join("dist-build/command");
    run(workspace
        .cargo("build")
        .args(["--package", "strata-cli", "--profile", PROFILE, "--target-dir"])
        .arg(&target))?;
    replace(&target.join(PROFILE).join("strata"), &command(workspace))
}

fn copy_headers(workspace: &Workspace) -> Result<()> {
    let headers = workspace.root().join("crates/c/include");
    if !headers.is_dir() {
        return Ok(());
    }
    for header in files_under(&headers)? {
        let name = header.strip_prefix(&headers)?;
        replace(&header, &workspace.dist().join("include").join(name))?;
    }
    Ok(())
}

/// Puts a copy of `from` in the place of `to` by renaming: a program that runs on the old library
/// keeps it.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let directory = to.parent().context("a file lies in a directory")?;
    fs::create_dir_all(directory)?;
    let beside = to.with_extension("new");
    fs::copy(from, &beside).with_context(|| format!("copying {}", from.display()))?;
    fs::rename(&beside, to).with_context(|| format!("replacing {}", to.display()))
}

fn files_under(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_under(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
