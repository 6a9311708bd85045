//! Threads that are idle lose their caches.

use super::Next;
use crate::{Core, FrontEnd, HeapConfig, background::INTERVAL_NS, own_cache::TakenCaches};
use strata_sync::atomic::Ordering;

/// Intervals between two looks while others are busy, as between two rounds of the caches of CPUs: who did not use its cache for so
/// long is idle. At half, threads that work once in a few seconds begin anew each time; at twice, what they hold lies for as
/// long.
const ROUND_INTERVALS: u64 = 5;

/// Intervals that passed.
#[derive(Debug)]
pub(in crate::background) struct Intervals(u64);

impl<C: HeapConfig> Core<C> {
    /// One look, at the end of which idle threads have lost their caches: time that is bounded by a few loads a thread and what
    /// sixteen caches hold. In a heap that is quiet, where nobody misses, at each interval.
    pub(super) fn take_thread_caches(
        &self,
        now_ns: u64,
        is_quiet: bool,
        passed: &mut Intervals,
    ) -> Next {
        if !matches!(self.front_end(), FrontEnd::PerThread(_)) {
            return Next::AtRest;
        }
        passed.0 += 1;
        if !is_quiet && !passed.0.is_multiple_of(ROUND_INTERVALS) {
            return Next::At(now_ns.saturating_add(INTERVAL_NS));
        }
        let TakenCaches { bytes, left } = self.take_idle_caches();
        self.background.counters.drained_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Threads that never miss keep theirs, and are looked at when somebody does.
        if is_quiet && (left == 0 || bytes == 0) {
            return Next::AtRest;
        }
        Next::At(now_ns.saturating_add(INTERVAL_NS))
    }
}
