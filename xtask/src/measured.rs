//! A program run to its end under a time limit, with its output, time and memory.

use core::time::Duration;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use wait4::Wait4;

use crate::command::shown;

/// What came of a run.
pub(crate) struct Measured {
    pub(crate) status: ExitStatus,
    pub(crate) wall: Duration,
    /// Of user and system, with that of children that it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident set of the process or of one of its children that it waited for. The
    /// kernel starts the count at the size of the process that forked, which is xtask: about
    /// 8 MiB are the least that can be seen here.
    pub(crate) peak_rss_bytes: u64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The limit was reached, and the process was killed together with its group.
    pub(crate) timed_out: bool,
}

impl Measured {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        if self.timed_out {
            return format!("killed after {:.0} s", self.wall.as_secs_f64());
        }
        self.status.to_string()
    }
}

/// Runs `command` with nothing on its standard input, in a process group of its own.
pub(crate) fn run_measured(command: &mut Command, limit: Duration) -> Result<Measured> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());

    let group = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || kill_when_late(group, limit, &end));
    let used = child.wait4().with_context(|| format!("waiting for {}", shown(command)))?;
    let wall = started.elapsed();
    // Processes that it left behind hold the pipes open; the limit holds for them too.
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    drop(ended);

    Ok(Measured {
        status: used.status,
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak_rss_bytes: used.rusage.maxrss,
        stdout,
        stderr,
        timed_out: watchdog.join().unwrap_or(false),
    })
}

/// Reads a pipe to its end beside the process, so that it never blocks on a full one.
fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for `end` to be dropped; kills the process group if that takes longer than `limit`.
fn kill_when_late(group: u32, limit: Duration, end: &mpsc::Receiver<()>) -> bool {
    if end.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
        return false;
    }
    let group = format!("-{group}");
    Command::new("kill").args(["-KILL", "--", &group]).status().is_ok()
}

#[cfg(test)]
mod tests;
