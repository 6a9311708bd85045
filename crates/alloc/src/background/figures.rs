//! What the background work did.

use strata_sync::atomic::{AtomicU64, Ordering};

/// What the background work of a heap did since its start, in numbers unless named otherwise. (What went back to the kernel, and
/// why, the page heap counts.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct BackgroundFigures {
    /// Whether the heap has a thread of its own now.
    pub has_thread: bool,
    /// Threads that were made: one, and one more after each fork that needed it.
    pub thread_starts: u64,
    /// Times that no thread could be made.
    pub thread_failures: u64,
    /// Steps done, by whomever.
    pub steps: u64,
    /// Times that the thread looked whether a step was due.
    pub thread_runs: u64,
    /// Walks over the heap for kernel pages inside of spans.
    pub sweeps: u64,
    /// Bytes of kernel pages inside of spans that went back to the kernel.
    pub swept_bytes: u64,
    /// Hugepages of which such went, each time that it was looked at.
    pub swept_hugepages: u64,
    /// Times that the kernel refused to take such.
    pub sweep_failures: u64,
    /// Bytes that idle caches of CPUs and of threads, and idle transfer caches, gave back.
    pub drained_bytes: u64,
}

/// The counters. Written by who does a step, read by figures.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) steps: AtomicU64,
    pub(super) thread_runs: AtomicU64,
    pub(super) drained_bytes: AtomicU64,
    pub(super) sweeps: AtomicU64,
    pub(super) swept_bytes: AtomicU64,
    pub(super) swept_hugepages: AtomicU64,
    pub(super) sweep_failures: AtomicU64,
}

impl Counters {
    pub(super) fn figures(&self) -> BackgroundFigures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BackgroundFigures {
            steps: load(&self.steps),
            thread_runs: load(&self.thread_runs),
            drained_bytes: load(&self.drained_bytes),
            sweeps: load(&self.sweeps),
            swept_bytes: load(&self.swept_bytes),
            swept_hugepages: load(&self.swept_hugepages),
            sweep_failures: load(&self.sweep_failures),
            ..BackgroundFigures::default()
        }
    }
}
