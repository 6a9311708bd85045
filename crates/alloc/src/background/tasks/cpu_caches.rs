//! CPUs' caches are kept in shape.

use crate::{Core, HeapConfig, background::INTERVAL_NS};
use strata_span::Platform;

/// Intervals between two rounds: TCMalloc's. A cache in which nothing happened for as long is idle.
const ROUND_INTERVALS: u64 = 5;

/// Caches that a round stops for being idle, or roomy, at least: each costs system calls, and its objects go to other layers.
const LEAST_STOPS: u32 = 4;

impl<C: HeapConfig> Core<C> {
    /// One round: time that is bounded by an eighth of the CPUs that were used and what their caches hold. Does nothing while
    /// another thread stops caches.
    pub(super) fn shape_cpu_caches(&self, now_ns: u64) -> u64 {
        let (objects, pages) = (self.source_of_objects(), self.source());
        self.with_cpu_cache_stops(|cpu| {
            let most = (cpu.used_ids() / 8).max(LEAST_STOPS);
            cpu.shuffle(&objects);
            cpu.drain_idle(&objects, pages, most);
            cpu.shorten_roomy(&objects, pages, most);
        });
        now_ns.saturating_add(ROUND_INTERVALS * INTERVAL_NS)
    }
}
