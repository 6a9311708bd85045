//! What a case's heap says of itself at its end.

use crate::Program;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::path::PathBuf;
use std::process;
use strata_stats::Document;

/// The snapshot that a case leaves when it ends: each mapped byte in one place, and two counts of what is in use
/// that agree.
pub(crate) struct Audit {
    /// Where processes of the case write theirs; their numbers follow.
    prefix: PathBuf,
}

impl Audit {
    /// One of a single run of a program.
    pub(crate) fn of(program: &Program) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ledger-{}-{number}", process::id());
        Self { prefix: program.path().with_extension(name) }
    }

    /// What `STRATA_CONF` says for it, beside `more`.
    pub(crate) fn configuration(&self, more: &str) -> String {
        let separator = if more.is_empty() { "" } else { "," };
        let prefix = self.prefix.display();
        format!("{more}{separator}snapshot_file:{prefix}.%p,snapshot_detail:figures")
    }

    /// What is wrong with the books of the process that ended. A case that may write no files, or ends without its
    /// exit handlers, left none; of one that ended beside other threads of its own, or in a signal handler that
    /// interrupted the heap, nothing can be said.
    pub(crate) fn verdict(self, process: u32) -> Result<(), String> {
        let Ok(text) = fs::read(self.file_of(process)) else { return Ok(()) };
        let document = Document::read(&text).map_err(|error| format!("its snapshot: {error}"))?;
        let threads = document.snapshot.process.map_or(usize::MAX, |process| process.threads);
        let own = usize::from(document.snapshot.heap.background.has_thread);
        let ledger = document.figures().ledger();
        match (ledger.unexplained(), ledger.in_use_difference()) {
            (0, 0) => Ok(()),
            _ if threads > 1 + own || !document.snapshot.is_complete() => Ok(()),
            (unexplained, difference) => Err(format!(
                "at its end {unexplained} bytes were unexplained, and in use differed by {difference}"
            )),
        }
    }

    fn file_of(&self, process: u32) -> PathBuf {
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!(".{process}"));
        name.into()
    }
}

impl Drop for Audit {
    /// The files of its children, too, go.
    fn drop(&mut self) {
        let Some((directory, prefix)) = self.prefix.parent().zip(self.prefix.file_name()) else {
            return;
        };
        let prefix = format!("{}.", prefix.to_string_lossy());
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
