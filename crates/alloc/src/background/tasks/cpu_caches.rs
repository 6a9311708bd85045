//! CPUs' caches are kept in shape.

use super::Next;
use crate::{Core, HeapConfig, background::INTERVAL_NS};
use strata_span::Platform;
use strata_sync::atomic::Ordering;

/// Intervals between two rounds: TCMalloc's. A cache in which nothing happened for as long is idle.
const ROUND_INTERVALS: u64 = 5;

/// Caches that a round stops for being idle, or roomy, at least: each costs system calls, and its objects go to other layers.
const LEAST_STOPS: u32 = 4;

/// Intervals that passed.
#[derive(Debug)]
pub(in crate::background) struct Intervals(u64);

impl<C: HeapConfig> Core<C> {
    /// One round: time that is bounded by an eighth of the CPUs that were used and what their caches hold. Does nothing while
    /// another thread stops caches. In a heap that is quiet, where nobody misses, idle caches are drained at each interval.
    pub(super) fn shape_cpu_caches(
        &self,
        now_ns: u64,
        is_quiet: bool,
        passed: &mut Intervals,
    ) -> Next {
        if self.per_cpu().is_none() {
            return Next::AtRest;
        }
        passed.0 += 1;
        let is_round = passed.0.is_multiple_of(ROUND_INTERVALS);
        let mut bytes = 0;
        if is_round || is_quiet {
            let (objects, pages) = (self.source_of_objects(), self.source());
            self.with_cpu_cache_stops(|cpu| {
                let most = (cpu.used_ids() / 8).max(LEAST_STOPS);
                if is_round {
                    cpu.shuffle(&objects);
                }
                bytes = cpu.drain_idle(&objects, pages, most);
                if is_round {
                    cpu.shorten_roomy(&objects, pages, most);
                }
            });
        }
        self.background.counters.drained_bytes.fetch_add(bytes, Ordering::Relaxed);
        if is_quiet && bytes == 0 && self.cpu_caches_are_empty() {
            return Next::AtRest;
        }
        Next::At(now_ns.saturating_add(INTERVAL_NS))
    }

    fn cpu_caches_are_empty(&self) -> bool {
        let cpu = self.cpu_cache();
        (0..cpu.ids()).all(|id| cpu.cpu_stats(id).held_bytes == 0)
    }
}
