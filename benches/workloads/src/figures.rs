//! What a workload reports about its run.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::time::Instant;

/// The measured part of one run: how many operations, and how long all of them took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Allocations with their frees, replacements, chains or threads, as the workload says.
    pub operations: usize,
    /// Wall time of the measured part.
    pub elapsed: Duration,
}

impl Figures {
    /// Runs `work` and takes its time; `operations` is what it is going to do.
    pub fn of(operations: usize, work: impl FnOnce()) -> Self {
        let started = Instant::now();
        work();
        Self { operations, elapsed: started.elapsed() }
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"operations\":{},\"ns\":{}", self.operations, self.elapsed.as_nanos())
    }
}
