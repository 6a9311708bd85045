//! CPUs' caches are kept in shape.

use super::{Next, later};
use crate::Layers;
use strata_span::Platform;

/// Intervals between two rounds: TCMalloc's. A cache in which nothing happened for as long is idle.
const ROUND_INTERVALS: u64 = 5;

/// Caches that a round stops for being idle, or roomy, at least: each costs system calls, and its objects go to
/// other layers.
const LEAST_STOPS: u32 = 4;

/// Intervals that passed.
#[derive(Debug)]
pub(super) struct Intervals(u64);

impl Intervals {
    pub(super) const NONE: Self = Self(0);
}

/// One round: time that is bounded by an eighth of the CPUs that were used and what their caches hold. Does nothing while
/// another thread stops caches. In a heap that is quiet, where nobody misses, idle caches are drained at each interval.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn shape<L: Layers>(
    layers: &L,
    now_ns: u64,
    is_quiet: bool,
    passed: &mut Intervals,
) -> Next {
    let Some(caches) = layers.cpu_caches() else { return Next::AtRest };
    passed.0 += 1;
    let is_round = passed.0.is_multiple_of(ROUND_INTERVALS);
    let mut bytes = 0;
    if is_round || is_quiet {
        let objects = layers.middle().with(layers.platform(), layers.page_heap());
        let pages = layers.platform().metadata();
        layers.with_cpu_cache_stops(|cpu| {
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
    layers.counters().count_drained(bytes);
    let is_empty = || (0..caches.ids()).all(|id| caches.cpu_stats(id).held_bytes == 0);
    if is_quiet && bytes == 0 && is_empty() {
        return Next::AtRest;
    }
    later(now_ns)
}
