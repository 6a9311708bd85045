//! What the background work did.

/// What the background work of a heap did since its start, in numbers unless named otherwise. (What went back to
/// the kernel, and why, the page heap counts.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct BackgroundFigures {
    /// Whether the heap has a thread of its own now.
    pub has_thread: bool,
    /// Whether somebody switched the work off while the heap ran.
    pub is_off: bool,
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
