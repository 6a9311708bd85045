//! What went back to the kernel, and what the background work did: what TCMalloc's report has no lines for.

use super::RULE;
use crate::{Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};

pub(super) fn render(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let (released, background) = (snapshot.heap.page_heap.released, snapshot.heap.background);
    writeln!(out)?;
    writeln!(out, "{RULE}")?;
    writeln!(out, "Memory given back since the start, and background work")?;
    writeln!(out, "{RULE}")?;
    for (bytes, reason) in [
        (released.call, "because the program asked"),
        (released.idle, "because nobody wanted it"),
        (released.policy, "at the release rate"),
        (released.soft_limit, "at the soft limit"),
        (released.hard_limit, "at the hard limit"),
        (background.swept_bytes, "inside of spans in use"),
    ] {
        writeln!(out, "RELEASED: {bytes:12} ({:7.1} MiB) {reason}", Mebibytes(bytes))?;
    }
    for (count, what) in [
        (u64::from(background.has_thread), "threads of the heap's own, now"),
        (background.thread_starts, "threads made"),
        (background.thread_failures, "times that no thread could be made"),
        (background.thread_runs, "runs of the thread"),
        (background.steps, "steps"),
        (background.sweeps, "walks for what is inside of spans"),
        (background.swept_hugepages, "hugepages that gave something on them"),
        (background.sweep_failures, "times that the kernel refused it"),
    ] {
        writeln!(out, "BACKGROUND: {count:10} {what}")?;
    }
    Ok(())
}
