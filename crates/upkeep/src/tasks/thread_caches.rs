//! Threads that are idle lose their caches.

use super::{Next, later};
use crate::{Layers, TakenCaches};

/// Intervals between two looks while others are busy, as between two rounds of the caches of CPUs: who did not use
/// its cache for so long is idle. At half, threads that work once in a few seconds begin anew each time; at twice,
/// what they hold lies for as long.
const ROUND_INTERVALS: u64 = 5;

/// Intervals that passed.
#[derive(Debug)]
pub(super) struct Intervals(u64);

impl Intervals {
    pub(super) const NONE: Self = Self(0);
}

/// One look, at the end of which idle threads have lost their caches. In a heap that is quiet, where nobody misses, at each
/// interval.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn take<L: Layers>(
    layers: &L,
    now_ns: u64,
    is_quiet: bool,
    passed: &mut Intervals,
) -> Next {
    passed.0 += 1;
    if !is_quiet && !passed.0.is_multiple_of(ROUND_INTERVALS) {
        return later(now_ns);
    }
    let Some(TakenCaches { bytes, left }) = layers.take_idle_thread_caches() else {
        return Next::AtRest;
    };
    layers.counters().count_drained(bytes);
    // Threads that never miss keep theirs, and are looked at when somebody does.
    if is_quiet && (left == 0 || bytes == 0) {
        return Next::AtRest;
    }
    later(now_ns)
}
