//! What the background work did.

use strata_sync::atomic::{AtomicU64, Ordering};

/// What the background work of a heap did since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackgroundFigures {
    /// Steps done, by whomever.
    pub steps: u64,
}

/// The counters. Written by who does a step, read by figures.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) steps: AtomicU64,
}

impl Counters {
    pub(super) fn figures(&self) -> BackgroundFigures {
        BackgroundFigures { steps: self.steps.load(Ordering::Relaxed) }
    }
}
