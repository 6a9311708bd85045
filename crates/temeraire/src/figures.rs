//! What a hugepage-aware heap tells about itself.

use crate::{
    advice::AdviceFigures,
    demand::{FillerHistory, SkipJudgement},
    filler::FillerCounters,
    huge_cache::HugeCacheFigures,
    state::State,
};
use strata_page_heap::AllocationFigures;
use strata_span::PageSize;

/// The figures that only the hugepage-aware page heap has: what its report prints.
#[derive(Clone, Debug)]
pub struct TemeraireFigures {
    /// The page size, in bytes.
    pub page_bytes: u64,
    /// What the filler did since the start.
    pub filler_counters: FillerCounters,
    /// The filler over the last five minutes.
    pub filler_history: FillerHistory,
    /// How decisions to keep memory turned out.
    pub skipped: SkipJudgement,
    /// The huge cache.
    pub cache: HugeCacheFigures,
    /// Advice about hugepages.
    pub advice: AdviceFigures,
    /// Counts of allocations by length.
    pub allocations: AllocationFigures,
}

impl TemeraireFigures {
    pub(crate) fn of<P: PageSize>(
        state: &mut State<P>,
        advice: AdviceFigures,
        clock_ns: u64,
    ) -> Self {
        let now_ns = state.time(clock_ns);
        let elapsed_ns = now_ns.saturating_sub(state.first_used_ns.unwrap_or(now_ns));
        Self {
            page_bytes: P::BYTES as u64,
            filler_counters: state.filler.counters,
            filler_history: state.filler.history.summary(now_ns),
            skipped: state.filler.demand.judgement(now_ns),
            cache: state.cache.figures(now_ns),
            advice,
            allocations: state.records.figures(elapsed_ns),
        }
    }
}
