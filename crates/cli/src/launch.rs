//! Becoming a program that runs under the library.

use crate::{library, preload};
use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode};
use strata_replay::PageSizeKind;

/// What this command ends with when it cannot do its own part, as `env` and `timeout` do.
pub(crate) const OWN_FAILURE: u8 = 125;

/// What a shell ends with when a command is there but cannot be run.
const CANNOT_RUN: u8 = 126;

/// What a shell ends with when there is no such command.
const NOT_FOUND: u8 = 127;

/// A program, and what it is told.
pub(crate) struct Launch<'a> {
    /// The program and its arguments.
    pub(crate) command: &'a [OsString],
    pub(crate) page_size: PageSizeKind,
    /// What is added to `STRATA_CONF`.
    pub(crate) pairs: Vec<OsString>,
    /// A variable that is to have the program's number: a process keeps it when it becomes another program, and its
    /// children have other ones.
    pub(crate) own_number: Option<&'static str>,
}

impl Launch<'_> {
    /// Becomes the program; comes back only if that failed.
    pub(crate) fn perform(self) -> ExitCode {
        let library = match library::find(self.page_size) {
            Ok(library) => library,
            Err(error) => {
                eprintln!("strata: {error}");
                return ExitCode::from(OWN_FAILURE);
            }
        };
        let Some((program, arguments)) = self.command.split_first() else {
            return ExitCode::from(OWN_FAILURE);
        };
        let mut command = Command::new(program);
        command.args(arguments).env(
            "LD_PRELOAD",
            preload::with_library(env::var_os("LD_PRELOAD").as_deref(), &library),
        );
        if !self.pairs.is_empty() {
            let conf = env::var_os("STRATA_CONF");
            command.env("STRATA_CONF", preload::with_pairs(conf.as_deref(), &self.pairs));
        }
        if let Some(variable) = self.own_number {
            command.env(variable, process::id().to_string());
        }
        let error = command.exec();
        eprintln!("strata: {}: {}", program.to_string_lossy(), reason(&error));
        ExitCode::from(status(&error))
    }
}

/// The reason in the words of a shell.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "command not found".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn status(error: &io::Error) -> u8 {
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}
