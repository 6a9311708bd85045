//! Test programs and their compilers.

use crate::case::{Allocator, Case};
use crate::library::{shared_library, static_library};
use core::sync::atomic::{AtomicU32, Ordering};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the library gets into the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// By `LD_PRELOAD`, when it runs.
    Preloaded,
    /// Linked as `libstrata.a` into a dynamic program.
    Archive,
    /// Linked as `libstrata.a` into a program without shared libraries.
    Static,
    /// The same on musl, by `musl-gcc`. C programs alone.
    StaticMusl,
}

/// A compiled test program.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    linking: Linking,
    /// Cases of which nobody looks at the ledger.
    unaudited: Option<fn(&str) -> bool>,
}

/// Whether there is a compiler for C++ (`CXX`, or `c++`).
pub fn has_cxx() -> bool {
    answers(&cxx())
}

/// Whether there is a compiler for C on musl, `musl-gcc`.
pub fn has_musl() -> bool {
    answers(MUSL_CC)
}

const MUSL_CC: &str = "musl-gcc";

fn answers(compiler: &str) -> bool {
    let mut version = Command::new(compiler);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

impl Program {
    /// Compiles `programs/<source>`, a C or (`.cc`) C++ program.
    ///
    /// # Panics
    ///
    /// If it does not compile.
    pub fn compile(source: &str, linking: Linking) -> Self {
        Self::compile_with(source, linking, &[])
    }

    /// The same with more arguments for the compiler.
    ///
    /// # Panics
    ///
    /// If it does not compile.
    pub fn compile_with(source: &str, linking: Linking, arguments: &[&str]) -> Self {
        let path = output(source, linking);
        let mut compiler = compiler(source, linking);
        compiler.arg("-o").arg(&path).arg(programs().join(source));
        if let Some(directory) = env::var_os("STRATA_LIBC") {
            run_on_other_c_library(&mut compiler, linking, &PathBuf::from(directory));
        }
        match linking {
            Linking::Preloaded => &mut compiler,
            Linking::Archive => compiler.arg(static_library()),
            Linking::Static | Linking::StaticMusl => compiler.arg("-static").arg(static_library()),
        };
        compiler.args(arguments).args(["-ldl", "-lpthread"]);
        must_succeed(&mut compiler);
        Self { path, linking, unaudited: None }
    }

    /// The same program, of which the ledger is not looked at when those cases end: they may write no files, or do
    /// what makes it wrong.
    pub fn with_unaudited(self, cases: fn(&str) -> bool) -> Self {
        Self { unaudited: Some(cases), ..self }
    }

    /// Whether the ledger is looked at when that case ends.
    pub(crate) fn is_audited(&self, case: &str) -> bool {
        self.unaudited.is_none_or(|is_one| !is_one(case))
    }

    /// Compiles `programs/<source>` to a shared library; says where it is.
    ///
    /// # Panics
    ///
    /// If it does not compile.
    pub fn compile_library(source: &str) -> PathBuf {
        let path = output(source, Linking::Preloaded).with_extension("so");
        must_succeed(
            compiler(source, Linking::Preloaded)
                .args(["-shared", "-fPIC", "-o"])
                .arg(&path)
                .arg(programs().join(source)),
        );
        path
    }

    /// The cases that it has.
    ///
    /// # Panics
    ///
    /// If it does not list them.
    pub fn cases(&self) -> Vec<Case> {
        let output = self.command(Allocator::System).output().expect("the program can be started");
        assert!(output.status.success(), "{} does not list its cases", self.path.display());
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        list.lines().map(|line| Case::from_line(self, line)).collect()
    }

    /// The command that runs it.
    pub fn command(&self, allocator: Allocator) -> Command {
        let mut command = Command::new(&self.path);
        for variable in ["LD_PRELOAD", "STRATA_CONF", "STRATA_REPORT_PID", "MALLOC_CONF"] {
            command.env_remove(variable);
        }
        if allocator == Allocator::Strata && self.linking == Linking::Preloaded {
            command.env("LD_PRELOAD", shared_library());
        }
        command
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the library gets into it.
    pub fn linking(&self) -> Linking {
        self.linking
    }
}

/// What the compiler says of a program that includes one of the headers twice, in a language of its own
/// (`-std=c89`, `-std=c++98`), with all warnings on; empty if it has nothing to say.
pub fn complaints_about_header(header: &str, standard: &str) -> String {
    let is_cxx = standard.contains("++");
    let mut compiler = Command::new(if is_cxx { cxx() } else { cc() });
    compiler.args([standard, "-pedantic", "-Wall", "-Wextra", "-fsyntax-only"]);
    if !is_cxx {
        compiler.arg("-Wstrict-prototypes");
    }
    compiler.args(["-x", if is_cxx { "c++" } else { "c" }, "-"]);
    compiler.arg("-I").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../c/include"));
    compiler.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = compiler.spawn().expect("the compiler can be started");
    let program = format!("#include <strata/{header}>\n").repeat(2);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(program.as_bytes()).expect("the compiler reads");
    drop(input);
    let output = child.wait_with_output().expect("the compiler ends");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// A file of this test binary's and this call's own, under the target directory: tests run at the same time.
fn output(source: &str, linking: Linking) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let binary = env::current_exe().expect("the system says which binary this is");
    let name = binary.file_name().map(OsStr::to_owned).unwrap_or_default();
    let directory = binary.with_file_name("programs").join(name);
    fs::create_dir_all(&directory).expect("a directory can be made");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let stem = source.replace('.', "-");
    directory.join(format!("{stem}-{linking:?}-{number}").to_lowercase())
}

fn compiler(source: &str, linking: Linking) -> Command {
    let cxx_source = source.ends_with(".cc");
    let mut compiler = Command::new(match linking {
        Linking::StaticMusl => MUSL_CC.to_owned(),
        _ if cxx_source => cxx(),
        _ => cc(),
    });
    let standard = if cxx_source { "-std=c++17" } else { "-std=gnu11" };
    // The programs do on purpose what compilers warn of; and a pair of malloc and free that nobody looks
    // at must not be left out.
    compiler.args([standard, "-O1", "-g", "-w", "-fno-builtin", "-pthread"]);
    compiler.arg("-I").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../c/include"));
    compiler
}

/// Has the compiler name that directory's loader in the program, and that directory as the first place of its libraries.
fn run_on_other_c_library(compiler: &mut Command, linking: Linking, directory: &Path) {
    if matches!(linking, Linking::Preloaded | Linking::Archive) {
        let loader = directory.join("ld-linux-x86-64.so.2");
        compiler.arg(format!("-Wl,--dynamic-linker={}", loader.display()));
        compiler.arg(format!("-Wl,--disable-new-dtags,-rpath,{}", directory.display()));
    }
}

fn cc() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

fn cxx() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

fn must_succeed(command: &mut Command) {
    let output = command.output().expect("the compiler can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{errors}");
}
