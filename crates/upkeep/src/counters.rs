//! What the background work did.

use strata_sync::{
    atomic::{AtomicU64, Ordering},
    const_fn,
};

/// Counts since the start. Written by who does a step, with nobody else in one; read by anybody, a moment late. All zero
/// bits are nothing yet.
#[derive(Debug)]
pub struct Counters {
    steps: AtomicU64,
    drained_bytes: AtomicU64,
    sweeps: AtomicU64,
    swept_bytes: AtomicU64,
    swept_hugepages: AtomicU64,
    sweep_failures: AtomicU64,
}

impl Counters {
    const_fn! {
        /// Nothing yet.
        pub const fn new() -> Self {
            Self {
                steps: AtomicU64::new(0),
                drained_bytes: AtomicU64::new(0),
                sweeps: AtomicU64::new(0),
                swept_bytes: AtomicU64::new(0),
                swept_hugepages: AtomicU64::new(0),
                sweep_failures: AtomicU64::new(0),
            }
        }
    }

    /// Steps done, by whomever.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Bytes that idle caches of CPUs and of threads, and idle transfer caches, gave back.
    pub fn drained_bytes(&self) -> u64 {
        self.drained_bytes.load(Ordering::Relaxed)
    }

    /// Walks over the heap for kernel pages inside of spans.
    pub fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::Relaxed)
    }

    /// Bytes of kernel pages inside of spans that went back to the kernel.
    pub fn swept_bytes(&self) -> u64 {
        self.swept_bytes.load(Ordering::Relaxed)
    }

    /// Hugepages of which such went, each time that it was looked at.
    pub fn swept_hugepages(&self) -> u64 {
        self.swept_hugepages.load(Ordering::Relaxed)
    }

    /// Times that the kernel refused to take such.
    pub fn sweep_failures(&self) -> u64 {
        self.sweep_failures.load(Ordering::Relaxed)
    }

    pub(crate) fn count_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_drained(&self, bytes: u64) {
        self.drained_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_sweep(&self) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_swept(&self, bytes: u64, refused: bool) {
        self.swept_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.swept_hugepages.fetch_add(u64::from(bytes > 0), Ordering::Relaxed);
        self.sweep_failures.fetch_add(u64::from(refused), Ordering::Relaxed);
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
